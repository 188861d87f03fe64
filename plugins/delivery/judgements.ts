/**
 * The judgements of one delivery attempt. A host with twenty addresses shows the same certificates at each of them, and a domain may
 * have twenty such hosts: the same evidence is judged once, and all judgements together have one purse, so that nobody
 * can make an attempt hold up other mail. Past it, whatever needs signatures checked is refused (`dane-ta-too-costly`).
 */
import { createHash } from 'node:crypto'
import { MOST_EFFORT } from '../x509/chain'
import { Effort } from '../x509/effort'
import { judge, type Judge, type Judged, type SessionEvidence } from './judge'
import type { Verdict } from './types'

/** Microseconds, as x509/key.ts estimates them: four of the costliest judgements, hundreds of common ones. */
const MOST_EFFORT_AN_ATTEMPT = 4 * MOST_EFFORT
/** An attempt ends within minutes, and so may the validity of a certificate. */
const KEPT_MS = 60_000
const MOST_KEPT = 8

interface Judgement {
  readonly requirement: Judged
  /** Of the evidence. */
  readonly digest: string
  readonly at: number
  readonly verdict: Verdict
}

/** A judge for one attempt; it remembers its last few judgements. */
export function createJudge(): Judge {
  const purse = new Effort(MOST_EFFORT_AN_ATTEMPT)
  const known: Judgement[] = []

  return (requirement, evidence, now) => {
    const at = now.getTime()
    const digest = digestOf(evidence)
    const same = known.find(
      (one) =>
        one.requirement === requirement && one.digest === digest && Math.abs(at - one.at) < KEPT_MS,
    )
    if (same !== undefined) return same.verdict
    const verdict = judge(requirement, evidence, now, new Effort(MOST_EFFORT, purse))
    if (known.length === MOST_KEPT) known.shift()
    known.push({ requirement, digest, at, verdict })
    return verdict
  }
}

function digestOf({ chain, pkix }: SessionEvidence): string {
  const hash = createHash('sha256').update(`${pkix.ok ? '' : pkix.code}\n${chain.length}\n`)
  for (const { raw } of chain) hash.update(raw)
  return hash.digest('hex')
}
