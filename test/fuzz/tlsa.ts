/** Target `tlsa`: TLSA RDATA of all kinds, in sets from none to thousands, and what they say of a certificate that fits some. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { judgeRecords, MOST_WHOLE } from '../../plugins/dane/tlsa'
import { verifyDane } from '../../plugins/dane/verify'
import { chainOf, NOW, HOST, recordFor } from './certificate-shapes'
import { tlsaRdata } from './dns-shapes'
import { damage, unmarked } from './octets'
import type { Random } from './random'
import { claimJudgement, DIGESTS, read } from './records'
import { quickly, type Input, type Target } from './target'
import { claimVerdict } from './verdicts'

export function tlsaTarget(): Promise<Target> {
  return Promise.resolve({ make, check })
}

/** A message of the DNS holds no more. */
const LARGEST_SET = 65_535

/** How many certificates; these, leaf first; then the RDATA of each record. */
function make(random: Random): Input {
  const chain = chainOf(random).slice(0, 4)
  const count = random.percent(2) ? 1500 : random.below(7)
  const one = recordFor(random, chain)
  const isRepeated = count > 100 && random.percent(50)
  const records: Buffer[] = []
  for (let size = 0; records.length < count;) {
    const rdata = isRepeated
      ? one
      : random.percent(50)
        ? recordFor(random, chain)
        : tlsaRdata(random)
    size += rdata.length + 12
    if (size > LARGEST_SET) break
    records.push(random.percent(15) ? damage(random, unmarked(rdata)) : rdata)
  }
  return [Buffer.from([chain.length]), ...chain, ...records]
}

function check([count = Buffer.alloc(1), ...parts]: Input): string {
  const ders = parts.slice(0, count[0] ?? 0)
  const set = parts.slice(ders.length).map(read)
  const judged = quickly('judgeRecords', () => judgeRecords(set, { digests: DIGESTS }))
  claimJudgement(judged, set)
  // Where there are too many, their order says which of them count.
  if (set.length <= MOST_WHOLE) {
    const turned = judgeRecords([...set].reverse(), { digests: DIGESTS })
    assert.deepEqual([...turned.usable].reverse(), judged.usable, 'the order of records matters')
  }
  const junk = {
    malformed: true,
    usage: 255,
    selector: 255,
    matchingType: 255,
    data: Buffer.alloc(2),
  }
  assert.deepEqual(
    judgeRecords([junk, ...set], { digests: DIGESTS }).usable,
    judged.usable,
    'one bad record harms others',
  )
  const weak = judgeRecords(set, { digests: ['sha256'] })
  assert.ok(
    weak.usable.every(({ matchingType }) => matchingType !== 2),
    'a digest that is not allowed',
  )

  const chain = ders.map(parsed).filter((certificate) => certificate !== undefined)
  const question = { chain, records: judged.usable, references: [HOST], now: NOW }
  const verdict = quickly('verifyDane', () => verifyDane(question))
  const outcome = claimVerdict(verdict, question)
  return judged.usable.length > 0 ? outcome : 'no record is usable'
}

function parsed(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der)
  } catch {
    return undefined
  }
}
