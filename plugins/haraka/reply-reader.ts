/**
 * SMTP replies out of bytes (RFC 5321 §4.2), for the time before TLS is up: everything here comes from whoever is on the path.
 * Strict in form, bounded in size, and it never loses sight of bytes behind a reply: after STARTTLS they are an attack
 * (RFC 3207 §6).
 */

export interface Reply {
  readonly code: number
  /** Text of each line, printable ASCII only. */
  readonly lines: readonly string[]
}

export type ReadResult =
  | { readonly kind: 'incomplete' }
  /** `rest`: octets that came behind the reply. */
  | { readonly kind: 'reply'; readonly reply: Reply; readonly rest: number }
  | { readonly kind: 'malformed'; readonly detail: string }

/** RFC 5321 §4.5.3.1.5 says 512; servers are known to exceed it. */
const LONGEST_LINE = 2048
/** An EHLO reply has a dozen lines. */
const MOST_LINES = 128

const LINE = /^([2-5]\d\d)([ -]?)(.*)$/

export class ReplyReader {
  #buffer = Buffer.alloc(0)
  #code: number | undefined
  #lines: string[] = []

  /** Feeds octets. After `reply`, the reader is empty again; after `malformed`, it must not be used any more. */
  push(chunk: Buffer): ReadResult {
    this.#buffer = Buffer.concat([this.#buffer, chunk])
    for (;;) {
      const end = this.#buffer.indexOf(0x0a)
      if (end > LONGEST_LINE || (end === -1 && this.#buffer.length > LONGEST_LINE)) {
        return malformed('a line is too long')
      }
      if (end === -1) return { kind: 'incomplete' }
      const line = this.#buffer.subarray(0, end).toString('latin1').replace(/\r$/, '')
      this.#buffer = this.#buffer.subarray(end + 1)
      const result = this.#line(line)
      if (result.kind !== 'incomplete') return result
    }
  }

  #line(line: string): ReadResult {
    const match = LINE.exec(line)
    const [, digits, separator, text] = match ?? []
    const code = Number(digits)
    if (!match || text === undefined || (separator === '' && text !== '')) {
      return malformed(`not an SMTP reply: ${printable(line)}`)
    }
    if (this.#code !== undefined && this.#code !== code) {
      return malformed('the lines of a reply have different codes')
    }
    this.#code = code
    this.#lines.push(printable(text))
    if (separator === '-') {
      return this.#lines.length < MOST_LINES
        ? { kind: 'incomplete' }
        : malformed('a reply has too many lines')
    }
    const reply = { code, lines: this.#lines }
    const rest = this.#buffer.length
    this.#code = undefined
    this.#lines = []
    this.#buffer = Buffer.alloc(0)
    return { kind: 'reply', reply, rest }
  }
}

function malformed(detail: string): ReadResult {
  return { kind: 'malformed', detail }
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 200)
}
