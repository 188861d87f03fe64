import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { matrix, type MatrixCase } from './openssl-cases'
import { compareAll, type Comparison } from './openssl-oracle'

const SEED = 'tlsa'
const SAMPLE = 150
const PARALLEL = 3

const rank = ({ id }: MatrixCase): string =>
  createHash('sha256').update(`${SEED} ${id}`).digest('hex')

/** The same cases in every run: 150 of the whole grid, and two of each deliberate difference. */
function sample(cases: readonly MatrixCase[]): MatrixCase[] {
  const shuffled = cases
    .map((one) => ({ one, place: rank(one) }))
    .sort((left, right) => (left.place < right.place ? -1 : 1))
    .map(({ one }) => one)
  const alike = shuffled.filter(({ difference }) => difference === undefined)
  const seen = new Map<string, number>()
  const different = shuffled.filter(({ difference }) => {
    if (difference === undefined) return false
    const count = (seen.get(difference.name) ?? 0) + 1
    seen.set(difference.name, count)
    return count <= 2
  })
  return [...alike.slice(0, SAMPLE), ...different]
}

describe('dane: verdicts beside those of OpenSSL', () => {
  const cases = matrix()

  it(`AUTH-09 AUTH-12 AUTH-30 AUTH-38 ${SAMPLE} of ${cases.length} chains and record sets come out alike`, async function () {
    this.timeout(120_000)
    const wrong: Comparison[] = []
    const outcomes = new Set<string>()
    await compareAll(sample(cases), PARALLEL, (comparison) => {
      outcomes.add(comparison.openssl)
      if (!comparison.asExpected) wrong.push(comparison)
    })
    assert.deepEqual(wrong, [])
    assert.deepEqual([...outcomes].sort(), ['refused', 'unusable', 'verified'])
  })

  it('the grid has at least 2000 cases, none twice', () => {
    assert.ok(cases.length >= 2000)
    assert.equal(new Set(cases.map(({ id }) => id)).size, cases.length)
  })

  it('each deliberate difference is explained', () => {
    const text = readFileSync(join(__dirname, '../../../docs/dane-differences.md'), 'utf8')
    const explained = [...text.matchAll(/^## `([a-z-]+)`$/gm)].map(([, name]) => name)
    const used = new Set(cases.flatMap(({ difference }) => difference?.name ?? []))
    assert.deepEqual(explained.toSorted(), [...used].sort())
  })
})
