/** SMTP replies read a second time, by one pattern over the whole of what was said (RFC 5321 §4.2), without the reader's limits. */

const REPLY = /(?:[2-5]\d\d-[^\n]*\n)*[2-5]\d\d(?: [^\n]*|\r*)\n/y

export interface PlainReply {
  readonly code: number
  /** What stands behind code and separator, line by line. */
  readonly lines: readonly string[]
}

/** @returns the whole replies at the start, and whether nothing is behind them */
export function readReplies(octets: Buffer): { replies: PlainReply[]; isAll: boolean } {
  const text = octets.toString('latin1')
  const replies: PlainReply[] = []
  let at = 0
  for (;;) {
    REPLY.lastIndex = at
    const found = REPLY.exec(text)?.[0]
    if (found === undefined) return { replies, isAll: at === text.length }
    const lines = found.split('\n').slice(0, -1)
    replies.push({
      code: Number(lines.at(-1)?.slice(0, 3)),
      lines: lines.map((line) =>
        line
          .slice(4)
          .replace(/\r[^]*/, '')
          .trim(),
      ),
    })
    at += found.length
  }
}

/** Of what a server says until TLS: a greeting, an EHLO reply with STARTTLS, and a success, with nothing between or behind them? */
export function leadsToTls(octets: Buffer): boolean {
  const { replies, isAll } = readReplies(octets)
  const [greeting, ehlo, ready, surplus] = replies
  if (greeting === undefined || ehlo === undefined || ready === undefined) return false
  const isPositive = ({ code }: PlainReply): boolean => code >= 200 && code < 300
  return (
    isAll &&
    surplus === undefined &&
    isPositive(greeting) &&
    isPositive(ehlo) &&
    ehlo.lines.some((line) => /^#?(\d\.\d\.\d\s)?\s*starttls$/i.test(line)) &&
    isPositive(ready)
  )
}
