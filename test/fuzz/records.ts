/** TLSA RDATA as the DNS reader would hand it on, and what must be true of each judgement on a set of it. */
import assert from 'node:assert/strict'
import { createPublicKey, X509Certificate } from 'node:crypto'
import type { Judgement } from '../../plugins/dane/tlsa'
import type { TlsaRecord } from '../../plugins/dane/types'
import { readData, RECORD_TYPES } from '../../plugins/dnssec-stub/rdata'
import type { TlsaData } from '../../plugins/dnssec-stub/types'
import { claimOneLine } from './target'

export const DIGESTS = ['sha512', 'sha256'] as const

export function read(rdata: Buffer): TlsaData {
  const known = readData(rdata, RECORD_TYPES.TLSA.code, 0, rdata.length)
  assert.ok(known?.type === 'TLSA')
  const { malformed, usage, selector, matchingType, data } = known.data
  assert.equal(malformed, rdata.length < 3)
  if (!malformed) assert.deepEqual(Buffer.from([usage, selector, matchingType, ...data]), rdata)
  return known.data
}

/** Every record is either usable, or set aside with a reason; and what is usable is so by rules written here once more. */
export function claimJudgement(judged: Judgement, set: readonly TlsaData[]): void {
  const { usable, presentation, unusable, overruled } = judged
  const aside = [...unusable, ...overruled].map(({ index }) => index)
  assert.equal(usable.length + aside.length, set.length)
  assert.equal(new Set(aside).size, aside.length)
  assert.equal(presentation.length, set.length)
  for (const text of presentation) assert.match(text, /^\d{1,3} \d{1,3} \d{1,3} ([0-9a-f]{2})*$/)
  for (const { why } of [...unusable, ...overruled]) claimOneLine(why, 200)
  usable.forEach(claimUsable)
  for (const record of usable) {
    if (record.matchingType === 0) continue
    const rivals = usable.filter(
      (other) => other.usage === record.usage && other.selector === record.selector,
    )
    assert.ok(
      rivals.every(
        ({ matchingType }) => matchingType === 0 || matchingType === record.matchingType,
      ),
      'two digests of one group',
    )
  }
}

function claimUsable({ usage, selector, matchingType, data }: TlsaRecord): void {
  assert.ok(usage === 2 || usage === 3)
  assert.ok(selector === 0 || selector === 1)
  if (matchingType !== 0) return assert.equal(data.length, matchingType === 1 ? 32 : 64)
  if (selector === 0) return assert.ok(new X509Certificate(data).raw.equals(data))
  createPublicKey({ key: data, format: 'der', type: 'spki' })
}
