/**
 * SMTP replies out of bytes (RFC 5321 §4.2), for the time before TLS is up: everything here comes from whoever is on the path, and nothing
 * of it is believed. So it is read as leniently as Haraka reads it, which by itself would go on to TLS with such a server: any number of
 * CRs at the end of a line, codes that change within a reply (the last one counts), lines and replies of any length. Bounded in
 * octets, and it never loses sight of bytes behind a reply: after STARTTLS they are an attack (RFC 3207 §6).
 */

export interface Reply {
  readonly code: number
  /** Text of each line, printable ASCII only, of overlong ones the beginning. */
  readonly lines: readonly string[]
}

export type ReadResult =
  | { readonly kind: 'incomplete' }
  /** `rest`: octets that came behind the reply. */
  | { readonly kind: 'reply'; readonly reply: Reply; readonly rest: number }
  | { readonly kind: 'malformed'; readonly detail: string }

/** Octets of one reply. A dozen lines are usual, some servers are known to send hundreds. */
const LONGEST_REPLY = 65_536
const LINE_FEED = 0x0a

/** What Haraka's delivery takes for a line of a reply (hmail.js, smtp_regexp), and a bare code, which RFC 5321 §4.2 allows. */
const LINE = /^([2-5]\d\d)(?:([ -])([^\r]*)|\r*$)/

export class ReplyReader {
  /** Of the line that has not ended yet. */
  #pieces: Buffer[] = []
  #octets = 0
  #lines: string[] = []

  /** Feeds octets. After `reply`, the reader is empty again; after `malformed`, it must not be used any more. */
  push(chunk: Buffer): ReadResult {
    for (let at = 0; at < chunk.length;) {
      const feed = chunk.indexOf(LINE_FEED, at)
      const end = feed === -1 ? chunk.length : feed + 1
      this.#octets += end - at
      if (this.#octets > LONGEST_REPLY) return malformed('a reply is too long')
      this.#pieces.push(chunk.subarray(at, end))
      at = end
      if (feed === -1) break
      const line = Buffer.concat(this.#pieces).toString('latin1').slice(0, -1)
      this.#pieces = []
      const result = this.#line(line, chunk.length - at)
      if (result.kind !== 'incomplete') return result
    }
    return { kind: 'incomplete' }
  }

  #line(line: string, rest: number): ReadResult {
    const [, code, separator, text = ''] = LINE.exec(line) ?? []
    if (code === undefined) return malformed(`not an SMTP reply: ${printable(line)}`)
    this.#lines.push(printable(text))
    if (separator === '-') return { kind: 'incomplete' }
    const reply = { code: Number(code), lines: this.#lines }
    this.#lines = []
    this.#octets = 0
    return { kind: 'reply', reply, rest }
  }
}

/** What Haraka looks behind for a keyword: its own mark, and a status code in its place. */
const BEFORE_KEYWORD = /^#?(?:\d\.\d\.\d\s)?/

/** Whether an EHLO reply offers STARTTLS (RFC 3207 §4), on any of its lines, as Haraka looks for it. */
export function offersStartTls({ lines }: Reply): boolean {
  return lines.some((line) => line.replace(BEFORE_KEYWORD, '').trim().toUpperCase() === 'STARTTLS')
}

/** Whether an EHLO reply offers REQUIRETLS (RFC 8689 §2): a line of its own, behind the server's name, and nothing with it. */
export function offersRequireTls({ lines }: Reply): boolean {
  return lines.slice(1).some((line) => line.trim().toUpperCase() === 'REQUIRETLS')
}

function malformed(detail: string): ReadResult {
  return { kind: 'malformed', detail }
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 200)
}
