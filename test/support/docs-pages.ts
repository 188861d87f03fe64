/** The pages of docs/ as tests read them: fenced blocks, tables, links. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export const docsFolder = join(__dirname, '..', '..', 'docs')

/** Names of the pages, such as `install.md`. */
export function pages(): readonly string[] {
  return readdirSync(docsFolder).filter((name) => name.endsWith('.md'))
}

export function readPage(name: string): string {
  return readFileSync(join(docsFolder, name), 'utf8')
}

interface Block {
  readonly fence: string
  readonly indent: number
  readonly lines: string[]
}

/** The texts of a page's fenced blocks whose fence says exactly this, such as `sh run`. */
export function blocks(name: string, fence: string): readonly string[] {
  const found: string[] = []
  let current: Block | undefined
  for (const line of readPage(name).split('\n')) {
    const mark = /^( *)```(.*)$/.exec(line)
    if (mark && current) {
      if (current.fence === fence) found.push(`${current.lines.join('\n')}\n`)
      current = undefined
    } else if (mark) current = { fence: mark[2] ?? '', indent: mark[1]?.length ?? 0, lines: [] }
    else current?.lines.push(line.slice(current.indent))
  }
  return found
}

/** The cells of each row of a text's tables, without their headings. */
export function tableRows(text: string): readonly (readonly string[])[] {
  const rows = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    )
  const isRule = (row: readonly string[] | undefined) => row?.every((cell) => /^-+$/.test(cell))
  return rows.filter((row, index) => !isRule(row) && !isRule(rows[index + 1]))
}

/** Without the backticks. */
export function plainText(cell: string): string {
  return cell.replace(/`/g, '')
}
