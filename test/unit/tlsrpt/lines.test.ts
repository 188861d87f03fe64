import assert from 'node:assert/strict'
import fc from 'fast-check'
import { memoryStore } from '../../../plugins/store/memory'
import { MOST_NAMES, partOf, TEXT_OCTETS } from '../../../plugins/store/tally'
import type { TallyAdd, TallyEntry } from '../../../plugins/store/types'
import { toAdds } from '../../../plugins/tlsrpt/lines'
import { readDomainDays } from '../../../plugins/tlsrpt/read'
import { RESULT_TYPES } from '../../../plugins/tlsrpt/types'
import type { Addition, Detail, DomainDay, Policy } from '../../../plugins/tlsrpt/types'

const DAY = 20_784

/** What is read of what was added, as one worker would do both. */
async function through(
  additions: readonly Addition[],
  domain = 'rcpt.test',
): Promise<{ readonly counted: DomainDay | undefined; readonly lost: number }> {
  const store = memoryStore({ now: () => DAY * 86_400_000 })
  const adds = additions.flatMap((addition) => toAdds(domain, addition))
  let lost = 0
  for (let n = 0; n * 50 < adds.length; n++) {
    const batch = adds.slice(n * 50, n * 50 + 50)
    lost += await added(store, domain, batch, n + 1)
  }
  const read = await store.readTally(DAY, partOf(domain))
  assert.ok(read.ok)
  return { counted: readDomainDays(DAY, read.value)[0], lost }
}

async function added(
  store: ReturnType<typeof memoryStore>,
  domain: string,
  adds: readonly TallyAdd[],
  sequence: number,
): Promise<number> {
  const part = partOf(domain)
  const outcome = await store.addToTally({ day: DAY, part, worker: 'w', sequence, adds })
  assert.ok(outcome.ok, outcome.ok ? '' : outcome.detail)
  return outcome.value
}

const none: Policy = { 'policy-type': 'no-policy-found', 'policy-domain': 'rcpt.test' }
const sts = (n: number): Policy => ({
  'policy-type': 'sts',
  'policy-string': ['version: STSv1', `max_age: ${n}`],
  'policy-domain': 'rcpt.test',
  'mx-host': ['*.rcpt.test'],
})
const success = (policy: Policy): Addition => ({ policy, success: 1, failure: 0 })
const failure = (policy: Policy, detail: Detail): Addition => ({
  policy,
  success: 0,
  failure: 1,
  detail,
})
const detail = (changes: Partial<Detail> = {}): Detail => ({
  'result-type': 'validation-failure',
  'receiving-mx-hostname': 'mx1.rcpt.test',
  ...changes,
})

interface Sums {
  readonly success: number
  readonly failure: number
  readonly details: number
}

function sums(counted: DomainDay | undefined): Sums {
  const results = counted?.policies ?? []
  const sum = (of: (result: (typeof results)[number]) => number) =>
    results.reduce((all, result) => all + of(result), 0)
  return {
    success: sum(({ summary }) => summary['total-successful-session-count']),
    failure: sum(({ summary }) => summary['total-failure-session-count']),
    details: sum(({ 'failure-details': details }) =>
      details.reduce((all, one) => all + one['failed-session-count'], 0),
    ),
  }
}

function expected(additions: readonly Addition[]): Sums {
  return {
    success: additions.reduce((sum, one) => sum + one.success, 0),
    failure: additions.reduce((sum, one) => sum + one.failure, 0),
    details: additions.filter((one) => one.detail !== undefined).length,
  }
}

const anyPolicy = fc.oneof(
  fc.constant(none),
  fc.integer({ min: 0, max: 40 }).map(sts),
  fc.integer({ min: 0, max: 40 }).map((n): Policy => ({
    'policy-type': 'tlsa',
    'policy-string': [`3 1 1 ${n}`],
    'policy-domain': 'mx1.rcpt.test',
  })),
)
const anyDetail = fc.record(
  {
    'result-type': fc.constantFrom(...RESULT_TYPES),
    'receiving-mx-helo': fc.integer({ min: 0, max: 60 }).map((n) => `mx.${n}`),
    'failure-reason-code': fc.integer({ min: 0, max: 60 }).map((n) => `code-${n}`),
  },
  { requiredKeys: ['result-type'] },
)
const anyAddition: fc.Arbitrary<Addition> = fc.oneof(
  anyPolicy.map(success),
  fc.tuple(anyPolicy, anyDetail).map(([policy, one]) => failure(policy, one)),
  fc.tuple(anyPolicy, anyDetail).map(([policy, one]) => ({
    policy,
    success: 0 as const,
    failure: 0 as const,
    detail: one,
  })),
)

describe('counts in the store, and out of it', () => {
  it('TJ-23 the same policy is one entry, and the same failure one detail with a sum', async () => {
    const { counted } = await through([
      success(sts(1)),
      success({ ...sts(1) }),
      failure(sts(1), detail()),
      failure(sts(1), detail()),
      failure(sts(1), detail({ 'failure-reason-code': 'smtp-closed' })),
    ])
    assert.deepEqual(counted?.policies, [
      {
        policy: sts(1),
        summary: { 'total-successful-session-count': 2, 'total-failure-session-count': 3 },
        'failure-details': [
          { ...detail(), 'failed-session-count': 2 },
          { ...detail({ 'failure-reason-code': 'smtp-closed' }), 'failed-session-count': 1 },
        ],
      },
    ])
  })

  it('TJ-23 a policy that changed in the day is two entries', async () => {
    const { counted } = await through([success(sts(1)), success(sts(2)), success(none)])
    assert.deepEqual(
      counted?.policies.map(({ policy }) => policy),
      [sts(1), sts(2), none],
    )
  })

  it('TT-08 what was added is what is read, in sums, whatever was added', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyAddition, { maxLength: 400 }), async (additions) => {
        const { counted, lost } = await through(additions)
        assert.equal(lost, 0)
        assert.deepEqual(sums(counted), expected(additions))
      }),
      { numRuns: 30 },
    )
  })

  it('TD-25 a hundred policies and ten thousand kinds of failures fit into a bounded report, and none is lost', async () => {
    const additions = [
      ...Array.from({ length: 100 }, (_, n) => success(sts(n))),
      ...Array.from({ length: 10_000 }, (_, n) =>
        failure(none, detail({ 'receiving-mx-helo': `mx.${n}`, 'failure-reason-code': `c${n}` })),
      ),
    ]
    const { counted, lost } = await through(additions)
    assert.equal(lost, 0)
    assert.deepEqual(sums(counted), expected(additions))
    assert.equal(counted?.policies.length, (MOST_NAMES['P'] ?? 0) + 2)
    const details = counted.policies.at(-1)?.['failure-details'] ?? []
    assert.equal(details.length, (MOST_NAMES['E'] ?? 0) + (MOST_NAMES['D'] ?? 0) + 1)
    assert.ok(JSON.stringify(counted).length < 60_000)
  })

  it('a server that gives itself another name each time makes ten details, and then one', async () => {
    const additions = Array.from({ length: 50 }, (_, n) =>
      failure(none, detail({ 'receiving-mx-helo': `mx${n}.rcpt.test` })),
    )
    const { counted } = await through(additions)
    const details = counted?.policies[0]?.['failure-details'] ?? []
    const nameless = details.filter((one) => one['receiving-mx-helo'] === undefined)
    assert.equal(details.length, 11)
    assert.deepEqual(nameless, [{ ...detail(), 'failed-session-count': 40 }])
  })

  it('a policy of 64 KiB is cut by whole lines', async () => {
    const lines = Array.from({ length: 2000 }, (_, n) => `mx: host${n}.${'x'.repeat(20)}.test`)
    const { counted } = await through([
      success({ ...sts(1), 'policy-string': lines, 'mx-host': lines.map((one) => one.slice(4)) }),
    ])
    const policy = counted?.policies[0]?.policy
    const kept = policy?.['policy-string'] ?? []
    assert.ok(kept.length > 50 && kept.length < lines.length)
    assert.ok(kept.every((line) => lines.includes(line)))
    assert.ok(Buffer.byteLength(JSON.stringify(policy)) <= TEXT_OCTETS)
  })

  it('a record that is longer than any text is counted without it', async () => {
    const long = { 'policy-type': 'tlsa', 'policy-string': ['3 0 0 ' + 'ab'.repeat(9000)] } as const
    const { counted } = await through([success({ ...long, 'policy-domain': 'mx1.rcpt.test' })])
    assert.deepEqual(counted?.policies[0]?.policy['policy-string'], [])
    assert.equal(sums(counted).success, 1)
  })

  it('TJ-24 what others wrote into the store gets into no report', async () => {
    const { counted } = await through([failure(sts(1), detail())])
    assert.ok(counted !== undefined)
    const [policyName = '', detailName = ''] = ['P', 'T'].map(
      (kind) => counted.names.find((name) => name.startsWith(kind))?.slice(2) ?? '',
    )
    const texts: readonly string[] = [
      '',
      'null',
      '[]',
      '{',
      '{"policy-type":"x","policy-domain":"a"}',
      '{"policy-type":"sts","policy-domain":5}',
      '{"policy-type":"sts","policy-domain":"a","policy-string":[5]}',
      '{"result-type":"made-up"}',
      '{"result-type":"validation-failure","receiving-ip":{}}',
    ]
    for (const text of texts) {
      const entry = (name: string, value: string): TallyEntry => ({
        domain: 'rcpt.test',
        name,
        value,
      })
      const read = readDomainDays(DAY, [
        entry(`S ${policyName}`, '1'),
        entry(`P ${policyName}`, text),
        entry('F n', 'NaN'),
        entry('S n', '1'),
        entry('D n x', '99999999999999'),
        entry(`D n ${detailName}`, '1'),
        entry(`T ${detailName}`, text),
        entry('C n made-up', '1'),
        entry('X', '1'),
        entry('S', '1'),
      ])
      assert.deepEqual(
        read.map(({ policies }) => policies),
        [
          [
            {
              policy: none,
              summary: { 'total-successful-session-count': 1, 'total-failure-session-count': 0 },
              'failure-details': [],
            },
          ],
        ],
        text,
      )
    }
  })
})
