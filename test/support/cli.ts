/** Runs the built command as an operator does. */
import { execFile } from 'node:child_process'
import { resolve } from 'node:path'

export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export const COMMAND = resolve(__dirname, '../../dist/cli/main.js')

/** @param folder Haraka's. */
export function runCommand(folder: string, ...args: readonly string[]): Promise<Ran> {
  return runCommandIn({}, folder, ...args)
}

/** As `runCommand`, with more in the environment. */
export function runCommandIn(
  env: Readonly<Record<string, string>>,
  folder: string,
  ...args: readonly string[]
): Promise<Ran> {
  return new Promise((done, fail) => {
    execFile(
      process.execPath,
      [COMMAND, '-c', folder, ...args],
      { env: { ...process.env, ...env }, maxBuffer: 8_388_608 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : error.code
        if (typeof code === 'number') done({ code, stdout, stderr })
        else fail(new Error(`the command did not end by itself: ${stderr}`, { cause: error }))
      },
    )
  })
}
