/** Target `sts`: TXT records and policy files of MTA-STS. Typed outcomes, in linear time; differences to mailauth are looked for elsewhere. */
import assert from 'node:assert/strict'
import { matchesMx } from '../../plugins/mta-sts/match'
import { MAX_AGE_LIMIT, parsePolicy } from '../../plugins/mta-sts/policy'
import { parseRecords } from '../../plugins/mta-sts/record'
import { damage, splice, unmarked, type Marked } from './octets'
import type { Random } from './random'
import { claimOneLine, quickly, type Input, type Target } from './target'

export function stsTarget(): Promise<Target> {
  return Promise.resolve({ make, check })
}

const POLICY_LINES = [
  'version: STSv1', 'mode: enforce', 'mode: testing', 'mode: none', 'mode:', 'max_age: 86400', 'max_age: 99999999999',
  'max_age: -1', 'mx: mx1.rcpt.test', 'mx: *.rcpt.test', 'mx: *.test', 'mx: *', 'mx: *.*.test', 'mx: 192.0.2.1', 'mx: K.test', 'mx: \u212a.test',
  'x-y: z', ': x', 'mx', '', ' ', '\t\t', 'version : STSv1', '\ufeffversion: STSv1', '<html>',
] as const // prettier-ignore
const RECORDS = [
  'v=STSv1; id=20260801T000000;', 'v=STSv1;id=1', 'v=STSv1 ; id=a; x=y', 'v=STSv1; id=; ', 'v=STSv1', 'v=spf1 -all',
  'v=STSv1; id=1; id=2', 'v=stsv1; id=1', 'v=STSv1;;;;', `v=STSv1; id=${'9'.repeat(33)}`,
] as const // prettier-ignore
/** What makes patterns go back over the same text again and again. */
const RUNS = [
  ' ',
  '\t',
  ';',
  '=',
  '\r',
  '\n',
  '.',
  'a.',
  '-',
  '*.',
  'a: b\n',
  'mx: a.b\n',
  '\u00e9',
  '\u0000',
  ' ;',
] as const

function policyFile(random: Random): Marked {
  const eol = random.pick(['\n', '\r\n'])
  const whole = ['version: STSv1', 'mode: enforce', 'mx: mx1.rcpt.test', 'max_age: 86400']
  const extra = Array.from({ length: random.below(8) }, () => random.pick(POLICY_LINES))
  const lines = random.percent(70) ? [...whole, ...extra] : extra
  return withRun(random, lines.map((line) => line + eol).join(''))
}

function withRun(random: Random, text: string): Marked {
  if (!random.percent(10)) return unmarked(Buffer.from(text))
  const at = random.below(text.length + 1)
  const repeated = random.pick(RUNS)
  const times = random.pick([10, 1000, Math.floor(65_536 / repeated.length)])
  return unmarked(Buffer.from(text.slice(0, at) + repeated.repeat(times) + text.slice(at)))
}

/** The policy, a host name, and the TXT records. */
function make(random: Random): Input {
  const policy = policyFile(random)
  const records = Array.from({ length: random.below(3) }, () => {
    const record = withRun(random, random.pick(RECORDS))
    return random.percent(60) ? damage(random, record) : record.octets
  })
  const host = unmarked(
    Buffer.from(random.pick(['mx1.rcpt.test', '*.rcpt.test', 'a.b.rcpt.test.', '', '192.0.2.1'])),
  )
  return [
    random.percent(70)
      ? damage(random, policy)
      : splice(random, policy.octets, policyFile(random).octets),
    random.percent(30) ? damage(random, host) : host.octets,
    ...records,
  ]
}

function check([policy = Buffer.alloc(0), host = Buffer.alloc(0), ...records]: Input): string {
  const record = quickly('parseRecords', () => parseRecords(records))
  if (record.kind === 'record') assert.match(record.id, /^[A-Za-z0-9]{1,32}$/)
  if (record.kind === 'invalid') claimOneLine(record.detail, 300)
  if (record.kind !== 'none')
    assert.ok(records.some((octets) => octets.toString('latin1').startsWith('v=STSv1')))

  const parsed = quickly('parsePolicy', () => parsePolicy(policy))
  if (!parsed.ok) {
    claimOneLine(parsed.detail, 300)
    return `${record.kind}, no policy`
  }
  const { mode, mx, maxAge, lines } = parsed.policy
  assert.ok(['enforce', 'testing', 'none'].includes(mode))
  assert.ok(Number.isInteger(maxAge) && maxAge >= 0 && maxAge <= MAX_AGE_LIMIT)
  assert.ok(mx.length > 0 || mode === 'none', 'a policy that no host fits')
  for (const pattern of mx) {
    assert.match(
      pattern,
      /^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    )
  }
  assert.deepEqual(
    parsePolicy(Buffer.from(lines.join('\n'))),
    parsed,
    'its own lines say something else',
  )
  const name = host.toString('latin1')
  const matches = quickly('matchesMx', () => matchesMx(parsed.policy, name))
  const [, ...parent] = name.toLowerCase().replace(/\.$/, '').split('.')
  const expected = [name.toLowerCase().replace(/\.$/, ''), ['*', ...parent].join('.')]
  if (matches) assert.ok(mx.some((pattern) => expected.includes(pattern)))
  return `${record.kind}, policy that ${matches ? 'names' : 'does not name'} the host`
}
