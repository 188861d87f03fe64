import assert from 'node:assert/strict'
import { createSelf } from '../../../plugins/delivery/self'
import type { SelfOptions } from '../../../plugins/delivery/self'
import { insecure, scriptedResolver } from '../../support/scripted-resolver'

function setUp(changes: Partial<SelfOptions> = {}) {
  const resolver = scriptedResolver({
    'sender.test': { A: insecure('192.0.2.1'), AAAA: insecure('2001:db8::1') },
  })
  const state = { time: 0, localMxOk: false }
  const self = createSelf({
    localMxOk: () => state.localMxOk,
    name: () => 'sender.test',
    publicIp: () => Promise.resolve('192.0.2.2'),
    interfaces: () => ['192.0.2.3'],
    resolver,
    deadlineMs: () => 1000,
    now: () => state.time,
    ...changes,
  })
  return { self, resolver, state }
}

/** Until what is under way has settled. */
const settled = () => new Promise((resolve) => setImmediate(resolve))

describe('what this server is', () => {
  it('is what the DNS says of its name, its public address, and its interfaces', async () => {
    const { self } = setUp()
    assert.deepEqual(await self(), {
      name: 'sender.test',
      addresses: ['2001:db8::1', '192.0.2.1', '192.0.2.2', '192.0.2.3'],
      private: [],
    })
  })

  it('XC-13 is looked up once a minute, one look for all who ask', async () => {
    const { self, resolver, state } = setUp()
    await Promise.all(Array.from({ length: 100 }, self))
    state.time = 59_999
    await self()
    assert.equal(resolver.asked('sender.test', 'A'), 1)
    state.time = 60_000
    await Promise.all(Array.from({ length: 100 }, self))
    assert.equal(resolver.asked('sender.test', 'A'), 2)
  })

  it('XC-13 serves what is known while a later look is under way, then what that found', async () => {
    let interfaces = ['192.0.2.3']
    const { self, state } = setUp({ interfaces: () => interfaces })
    await self()
    interfaces = ['192.0.2.4']
    state.time = 60_000
    assert.ok((await self())?.addresses.includes('192.0.2.3'))
    await settled()
    assert.ok((await self())?.addresses.includes('192.0.2.4'))
  })

  it('XC-13 waits for no STUN server', async () => {
    const { self } = setUp({ publicIp: () => new Promise(() => undefined) })
    assert.deepEqual((await self())?.addresses, ['2001:db8::1', '192.0.2.1', '192.0.2.3'])
  })

  it('never rejects: what cannot be found out is left out', async () => {
    const fail = () => {
      throw new Error('not today')
    }
    const { self } = setUp({ publicIp: fail, interfaces: fail, name: fail })
    assert.deepEqual(await self(), { name: '', addresses: [], private: [] })
  })

  it('is nothing at all with local_mx_ok=true, and nothing is looked up', async () => {
    const { self, resolver, state } = setUp()
    state.localMxOk = true
    assert.equal(await self(), undefined)
    assert.equal(resolver.asked('sender.test', 'A'), 0)
  })
})
