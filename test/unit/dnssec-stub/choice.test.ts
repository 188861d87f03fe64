import assert from 'node:assert/strict'
import { bestOf, type Backend, type ValidatingBackend } from '../../../plugins/dnssec-stub/choice'
import type { Usable } from '../../../plugins/dnssec-stub/getdns-process'
import type { Health } from '../../../plugins/dnssec-stub/types'
import { scriptedResolver, secure } from '../../support/scripted-resolver'

type State = Health['state']

/** A backend that answers with its own mark, and is as healthy as told. */
function backend(
  name: 'ad' | 'getdns',
  mark: string,
  states: State[],
): Backend & { isClosed: boolean } {
  const dns = scriptedResolver({ 'a.test': { A: secure(mark) } })
  const one: Backend & { isClosed: boolean } = {
    name,
    isClosed: false,
    resolver: {
      resolve: (name, type, options) => dns.resolve(name, type, options),
      close: () => void (one.isClosed = true),
    },
    test: () =>
      Promise.resolve({
        state: states.length > 1 ? (states.shift() ?? 'blind') : (states[0] ?? 'blind'),
        detail: mark,
      }),
  }
  return one
}

function validating(states: State[], usable: Usable[] = [{ ok: true }]): ValidatingBackend {
  return {
    ...backend('getdns', 'getdns', states),
    usable: () => Promise.resolve(usable.shift() ?? { ok: true }),
  }
}

describe('dnssec-stub choice under auto', () => {
  const cases: [
    what: string,
    trusting: State | undefined,
    getdns: State | 'unusable' | undefined,
    asked: string,
    state: State,
  ][] = [
    ['all servers trusted and validating', 'validating', 'validating', 'ad', 'validating'],
    ['all servers trusted, down', 'unreachable', 'validating', 'ad', 'unreachable'],
    ['all servers trusted, blind', 'blind', 'validating', 'getdns', 'validating'],
    ['all servers trusted, blind, getdns failing', 'blind', 'unreachable', 'getdns', 'unreachable'],
    ['all servers trusted, blind, no getdns', 'blind', undefined, 'ad', 'blind'],
    ['all servers trusted, blind, getdns not usable', 'blind', 'unusable', 'ad', 'blind'],
    ['untrusted servers', undefined, 'validating', 'getdns', 'validating'],
    [
      'untrusted servers, getdns failing: not left for a weaker one',
      undefined,
      'unreachable',
      'getdns',
      'unreachable',
    ],
    ['DNS-01 untrusted servers, no getdns', undefined, undefined, 'blind', 'blind'],
    ['DNS-01 untrusted servers, getdns not usable', undefined, 'unusable', 'blind', 'blind'],
  ]
  for (const [what, trusting, getdns, asked, state] of cases) {
    it(`${what}: asks ${asked}, is ${state}`, async () => {
      const choice = bestOf({
        ...(trusting === undefined ? {} : { trusting: backend('ad', 'ad', [trusting]) }),
        ...(getdns === undefined
          ? {}
          : {
              validating:
                getdns === 'unusable'
                  ? validating([], [{ ok: false, why: 'libgetdns is not there' }])
                  : validating([getdns]),
            }),
        blind: backend('ad', 'blind', ['blind']),
      })
      const pending = choice.resolve('a.test', 'A')
      const { health } = await choice.make()
      const outcome = await pending
      assert.ok(outcome.kind === 'answer')
      assert.deepEqual(outcome.records, [asked])
      assert.equal(health.state, state)
      if (getdns === undefined && state === 'blind')
        assert.match(health.detail, /getdns is not installed/)
      if (getdns === 'unusable') assert.match(health.detail, /libgetdns is not there/)
    })
  }

  it('servers that take no EDNS are not left for getdns, which would get no signatures through them', async () => {
    const trusting = {
      ...backend('ad', 'ad', ['blind']),
      test: () => Promise.resolve({ state: 'blind', cause: 'no-edns', detail: '' } as const),
    }
    const choice = bestOf({
      trusting,
      validating: validating(['unreachable']),
      blind: backend('ad', 'blind', ['blind']),
    })
    assert.equal((await choice.make()).health.state, 'blind')
    assert.equal(choice.current(), trusting)
  })

  it('XC-12 insecure answers are confirmed by the backend that gave them; those of getdns are proofs', async () => {
    const good: Health = { state: 'validating', detail: '' }
    const trusting = {
      ...backend('ad', 'ad', ['validating', 'blind']),
      confirm: () => Promise.resolve([good]),
    }
    const choice = bestOf({
      trusting,
      validating: validating(['validating']),
      blind: backend('ad', 'blind', ['blind']),
    })
    assert.deepEqual(await choice.confirm(), [], 'nobody was asked yet')
    await choice.make()
    assert.deepEqual(await choice.confirm(), [good])
    await choice.make()
    assert.equal(choice.current()?.name, 'getdns')
    assert.deepEqual(await choice.confirm(), [])
  })

  it('getdns that was usable once is not given up because its process is down at the next test', async () => {
    const choice = bestOf({
      validating: validating(
        ['validating', 'unreachable'],
        [{ ok: true }, { ok: false, why: 'crashed' }],
      ),
      blind: backend('ad', 'blind', ['blind']),
    })
    assert.equal((await choice.make()).health.state, 'validating')
    const again = await choice.make()
    assert.equal(again.health.state, 'unreachable')
    assert.equal(again.hasChanged, false)
    assert.equal(choice.current()?.name, 'getdns')
  })

  it('a server that goes blind is left for getdns, and taken again when it validates', async () => {
    const choice = bestOf({
      trusting: backend('ad', 'ad', ['validating', 'blind', 'validating']),
      validating: validating(['validating']),
      blind: backend('ad', 'blind', ['blind']),
    })
    const asked: string[] = []
    for (let round = 0; round < 3; round++) {
      const { hasChanged } = await choice.make()
      asked.push(`${choice.current()?.name ?? ''} ${hasChanged ? 'changed' : 'same'}`)
    }
    assert.deepEqual(asked, ['ad same', 'getdns changed', 'ad changed'])
  })

  it('a lookup that waits for the first choice ends at its signal', async () => {
    const choice = bestOf({ blind: backend('ad', 'blind', ['blind']) })
    const abort = new AbortController()
    const pending = choice.resolve('a.test', 'A', { signal: abort.signal })
    abort.abort()
    const outcome = await pending
    assert.ok(outcome.kind === 'failed' && outcome.cause === 'aborted')
  })

  it('closing closes them all', () => {
    const blind = backend('ad', 'blind', ['blind'])
    const trusting = backend('ad', 'ad', ['validating'])
    bestOf({ trusting, blind }).close()
    assert.ok(blind.isClosed && trusting.isClosed)
  })
})
