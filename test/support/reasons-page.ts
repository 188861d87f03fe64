/** docs/reasons.md, made from the catalogue: what operators read and what the code says are one. */
import { REASONS } from '../../plugins/reasons/catalogue'
import type { ReasonCode } from '../../plugins/reasons/codes'

const INTRODUCTION = `# Reasons

Every log line, deferral, bounce and metric of this plugin carries one of these codes. They are stable: you may match on them.
The status is the enhanced status code (RFC 3463) that mail held back for this reason gets: \`4.\` while it waits, \`5.\` in the
bounce at the end of the queue's patience. Codes without a status never hold mail back.

Mail that comes back tells its author first, in plain words, what happened and what to do; then follow the code, the status, and
what was expected and presented.

This page is written from the code (\`npx tsx test/run/reasons.ts\`).
`

export function reasonsPage(): string {
  const entries = Object.entries(REASONS) as [ReasonCode, (typeof REASONS)[ReasonCode]][]
  const sections = entries.map(([code, { meaning, rfc, status, sender, receiver }]) =>
    [
      `## ${code}`,
      '',
      meaning,
      '',
      `- Source: ${rfc}`,
      ...(status === undefined
        ? []
        : [`- Status: ${status.startsWith('1.') ? '5' : '4'}.${status}`]),
      `- You, the sender: ${sender}`,
      `- The receiver: ${receiver}`,
      '',
    ].join('\n'),
  )
  return [INTRODUCTION, ...sections].join('\n')
}
