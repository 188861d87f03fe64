/** What entries of a bounded map take of the heap, beside what the map counts for them. */
import assert from 'node:assert/strict'
import { boundedMap } from '../../../plugins/bounded/map'
import { own } from '../../../plugins/bounded/octets'
import { octetsAlive } from '../../support/heap'

describe('a map bounded in octets', function () {
  this.timeout(60_000)

  it('an entry takes no more of the heap than is counted for it', async () => {
    const map = boundedMap<string>({ mostOctets: 1e9, now: () => 0 })
    const before = await octetsAlive()
    // Just above a power of two, where the table has doubled.
    for (let n = 0; n < 35_000; n++) map.set(`domain-${n}.customer.example`, 'shared', 0, 1e12 + n)
    const taken = (await octetsAlive()) - before
    assert.ok(taken <= map.octets, `${taken} taken, ${map.octets} counted`)
    assert.ok(taken > map.octets / 3, `${taken} taken, ${map.octets} counted`)
  })

  it('a key holds on to no longer text that it was cut out of', async () => {
    const map = boundedMap<string>({ mostOctets: 1e9, now: () => 0 })
    const before = await octetsAlive()
    for (let n = 0; n < 1000; n++) {
      const line = own(`a-rather-long-domain-name-${n}.example ${'x'.repeat(10_000)}`)
      map.set(line.slice(0, line.indexOf(' ')), 'shared', 0)
    }
    const taken = (await octetsAlive()) - before
    assert.ok(taken < 1_000_000, `${taken} taken, ${map.octets} counted`)
  })
})
