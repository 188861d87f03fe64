import assert from 'node:assert/strict'
import fc from 'fast-check'
import { boundedMap, type BoundedMapOptions } from '../../../plugins/bounded/map'

/** What the map itself counts for an entry with a key of one letter. */
const ENTRY = 193

describe('a map bounded in octets', () => {
  let time = 0
  const make = (options: Partial<BoundedMapOptions> = {}) => {
    time = 0
    return boundedMap<string>({ mostOctets: 1000, now: () => time, ...options })
  }
  const keys = (map: ReturnType<typeof make>) => [...map.entries()].map(([key]) => key).sort()

  it('counts keys, values and entries, and what goes is counted off', () => {
    const map = make()
    map.set('a', 'x', 100)
    map.set('a', 'y', 50)
    map.set('b', 'y', 50)
    assert.equal(map.octets, 2 * (ENTRY + 50))
    map.delete('a')
    map.delete('a')
    assert.equal(map.octets, ENTRY + 50)
    map.clear()
    assert.equal(map.octets, 0)
    assert.equal(map.size, 0)
  })

  it('what was not used for longest goes first', () => {
    const map = make({ mostOctets: 3 * (ENTRY + 10) })
    for (const key of ['a', 'b', 'c']) map.set(key, key, 10)
    map.get('a')
    map.set('d', 'd', 10)
    assert.deepEqual(keys(map), ['a', 'c', 'd'])
    map.set('e', 'e', 10)
    assert.deepEqual(keys(map), ['a', 'd', 'e'])
  })

  it('what was put in last is in, also where all the others are in use', () => {
    const map = make({ mostOctets: 3 * (ENTRY + 10) })
    for (const key of ['a', 'b', 'c']) map.set(key, key, 10)
    for (const key of ['a', 'b', 'c']) map.get(key)
    map.set('d', 'd', 10)
    assert.deepEqual(keys(map), ['b', 'c', 'd'])
  })

  it('what is larger than all the room is not kept, nor what it should have replaced', () => {
    const map = make()
    map.set('a', 'old', 10)
    map.set('b', 'other', 10)
    map.set('a', 'new', 1000)
    assert.equal(map.get('a'), undefined)
    assert.deepEqual(keys(map), ['b'])
  })

  it('large entries push out large ones only', () => {
    const map = make({ mostOctets: 4 * ENTRY, large: { above: 400, mostOctets: 1200 } })
    for (const key of ['a', 'b', 'c']) map.set(key, key, 10)
    for (const key of ['t', 'u', 'v', 'w']) map.set(key, key, 300)
    assert.deepEqual(keys(map), ['a', 'b', 'c', 'v', 'w'])
    assert.ok(map.octets <= 4 * ENTRY + 1200)
    // An entry that becomes a large one is in one place, not in two.
    map.set('a', 'now large', 300)
    assert.equal(map.get('a'), 'now large')
    map.delete('a')
    assert.equal(map.get('a'), undefined)
  })

  it('what is over is not given out, and is dropped without being asked for', () => {
    const map = make({ mostOctets: 100_000 })
    for (let n = 0; n < 100; n++) map.set(`k${n}`, '', 10, 5000)
    map.set('stays', '', 10)
    time = 4999
    assert.equal(map.get('k1'), '')
    time = 5000
    assert.equal(map.get('k1'), undefined)
    assert.equal(map.size, 100)
    time = 60_000
    map.set('another', '', 10)
    assert.deepEqual(keys(map), ['another', 'stays'])
  })

  it('a clock that was set back puts nothing off for long', () => {
    const map = make({ mostOctets: 100_000 })
    time = 1_000_000_000
    map.set('a', '', 10, time + 1000)
    map.set('b', '', 10)
    time = 0
    map.set('c', '', 10, 1000)
    time = 60_000
    map.set('d', '', 10)
    assert.deepEqual(keys(map), ['a', 'b', 'd'])
  })

  it('never holds more than it may, whatever is done to it', () => {
    const step = fc.record({
      key: fc.constantFrom(...'abcdefgh'),
      octets: fc.integer({ min: 0, max: 900 }),
      lives: fc.integer({ min: 0, max: 100_000 }),
      passes: fc.integer({ min: 0, max: 70_000 }),
      act: fc.constantFrom('set', 'set', 'set', 'get', 'delete'),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const map = make({ mostOctets: 1500, large: { above: 600, mostOctets: 1100 } })
        const last = new Map<string, { octets: number; expires: number }>()
        for (const { key, octets, lives, passes, act } of steps) {
          time += passes
          if (act === 'set') {
            map.set(key, `${octets}`, octets, time + lives)
            last.set(key, { octets, expires: time + lives })
          } else if (act === 'delete') {
            map.delete(key)
            last.delete(key)
          } else {
            const found = map.get(key)
            const known = last.get(key)
            if (found !== undefined) assert.equal(found, `${known?.octets}`)
            if (known === undefined || time >= known.expires) assert.equal(found, undefined)
          }
          assert.ok(map.octets <= 2600)
          const counted = keys(map).map((each) => ENTRY + (last.get(each)?.octets ?? NaN))
          assert.equal(
            map.octets,
            counted.reduce((sum, each) => sum + each, 0),
          )
        }
      }),
    )
  })
})
