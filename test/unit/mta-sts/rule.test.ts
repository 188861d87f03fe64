import assert from 'node:assert/strict'
import { type Held, held } from '../../../plugins/mta-sts/conclude'
import type { TxtVerdict } from '../../../plugins/mta-sts/discover'
import { IN_USE_DAYS } from '../../../plugins/mta-sts/in-use'
import { nextStep } from '../../../plugins/mta-sts/rule'
import type { KnownPolicy, StsMode } from '../../../plugins/mta-sts/types'
import { MARK_DAYS } from '../../../plugins/store/record'

const HOUR = 3_600_000

function known(mode: StsMode): KnownPolicy {
  const policy = { mode, mx: ['mx.rcpt.test'], maxAge: 86_400, lines: [] }
  return { domain: 'rcpt.test', id: 'a', policy, fetchedAt: 0, expiresAt: 86_400_000 }
}

const CACHED = {
  policy: held(known('enforce')),
  'mode none': held(known('none')),
  none: held(undefined),
  unread: { kind: 'unread', detail: 'cut short' },
} satisfies Record<string, Held>

const TXT = {
  'failed at once': { kind: 'failed', detail: 'SERVFAIL', slow: false },
  'failed slowly': { kind: 'failed', detail: 'timeout', slow: true },
  'no record': { kind: 'none', detail: 'NXDOMAIN', ttlMs: HOUR },
  malformed: { kind: 'invalid', detail: 'no id', ttlMs: HOUR },
  'the same id': { kind: 'record', id: 'a', ttlMs: HOUR },
  'another id': { kind: 'record', id: 'b', ttlMs: HOUR },
} satisfies Record<string, TxtVerdict>

/** What is done; of an answer its kind, and for how many hours it may be repeated. */
type Row = Record<keyof typeof CACHED, string>
const RULES: Record<keyof typeof TXT, Row> = {
  'failed at once': { policy: 'policy', 'mode none': 'policy', none: 'unknown', unread: 'store-unread' },
  'failed slowly': { policy: 'policy for 5', 'mode none': 'policy for 5', none: 'unknown for 5', unread: 'store-unread for 5' },
  'no record': { policy: 'policy for 1', 'mode none': 'forget', none: 'none for 1', unread: 'none for 1' },
  malformed: { policy: 'policy for 1', 'mode none': 'forget', none: 'none for 1', unread: 'none for 1' },
  'the same id': { policy: 'keep', 'mode none': 'keep', none: 'fetch a', unread: 'fetch a' },
  'another id': { policy: 'fetch b', 'mode none': 'fetch b', none: 'fetch b', unread: 'fetch b' },
} // prettier-ignore

function inWords(cached: Held, txt: TxtVerdict): string {
  const step = nextStep(cached, txt, 5 * HOUR)
  switch (step.act) {
    case 'answer': {
      const hours = step.ttlMs === undefined ? '' : ` for ${step.ttlMs / HOUR}`
      return `${step.lookup.kind}${hours}`
    }
    case 'fetch':
      return `fetch ${step.id}`
    case 'keep':
    case 'forget':
      return step.act
  }
}

describe('what the TXT record means beside the cached policy (RFC 8461 §3.3, §5.1)', () => {
  for (const txt of Object.keys(TXT) as (keyof typeof TXT)[]) {
    it(`TXT: ${txt}`, () => {
      const cached = Object.entries(CACHED)
      const found = Object.fromEntries(cached.map(([name, one]) => [name, inWords(one, TXT[txt])]))
      assert.deepEqual(found, RULES[txt])
    })
  }

  it('a cached policy holds with its problem, whatever the TXT lookup says', () => {
    for (const txt of [TXT['failed at once'], TXT['no record'], TXT.malformed]) {
      const step = nextStep(CACHED.policy, txt, HOUR)
      assert.ok(step.act === 'answer' && step.lookup.kind === 'policy')
      assert.ok(step.lookup.problem !== undefined)
    }
  })
})

describe('domains in use', () => {
  it('the store keeps the mark of the last use for longer than it is asked for', () => {
    assert.ok(MARK_DAYS > IN_USE_DAYS)
  })
})
