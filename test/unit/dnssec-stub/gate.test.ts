import assert from 'node:assert/strict'
import { setMaxListeners } from 'node:events'
import {
  gate,
  limits,
  WAITING,
  type GateLimits,
  type Leave,
} from '../../../plugins/dnssec-stub/gate'
import { zoneOf } from '../../../plugins/dnssec-stub/line'
import { lineClock } from '../../../plugins/dnssec-stub/time-limit'

const never = new AbortController().signal
setMaxListeners(0, never)
const LIMITS: GateLimits = {
  abreast: 1000,
  asideMs: 10_000,
  most: 1000,
  inOrder: 1000,
  paceMs: 40,
  heldMs: 0,
  mostOfZone: 1000,
  mostInBackground: 1000,
  mostInLine: 1000 * WAITING,
}

function setUp(changes: Partial<GateLimits>) {
  const state = { time: 0 }
  const clock = lineClock(() => state.time)
  const entrance = gate({ ...LIMITS, ...changes }, clock, () => state.time)
  const inside: string[] = []
  /** Enters and says so; leaves when told. */
  async function enter(who: string, zone = who, background = false): Promise<Leave | undefined> {
    const leave = await entrance.enter(zone, never, background)
    assert.notEqual(leave, 'full')
    if (leave === 'full') return undefined
    if (leave !== undefined) inside.push(who)
    return leave
  }
  return { entrance, clock, state, inside, enter }
}

/** Until promises that have settled were heard of. */
const settled = () => new Promise((resolve) => setImmediate(resolve))
const outOfLine = (leave: Leave | undefined): void => leave?.()

describe('dnssec-stub gate', () => {
  it('lets so many in, the next when one leaves, in the order in which they came', async () => {
    const { enter, inside } = setUp({ most: 2 })
    const first = await enter('first')
    await enter('second')
    const third = enter('third')
    void enter('fourth')
    await settled()
    assert.deepEqual(inside, ['first', 'second'])
    outOfLine(first)
    outOfLine(await third)
    await settled()
    assert.deepEqual(inside, ['first', 'second', 'third', 'fourth'])
  })

  it('one who gives up while waiting is not let in, and takes nobody’s place', async () => {
    const { entrance } = setUp({ most: 1 })
    const leave = await entrance.enter('a', never)
    const abort = new AbortController()
    const leaver = entrance.enter('a', abort.signal)
    const stayer = entrance.enter('a', never)
    abort.abort()
    assert.equal(await leaver, undefined)
    assert.ok(typeof leave === 'function')
    leave()
    assert.notEqual(await stayer, undefined)
    assert.equal(await entrance.enter('a', abort.signal), undefined)
  })

  it('XC-13 zones take turns: one name stands behind one of each other zone, not behind all their names', async () => {
    const { enter, inside } = setUp({ most: 1 })
    const first = await enter('first')
    const line = [
      ...['a1', 'a2', 'a3'].map((who) => enter(who, 'a.test')),
      ...['b1', 'b2'].map((who) => enter(who, 'b.test')),
      enter('c1', 'c.test'),
    ]
    for (const leaving of line) void leaving.then(outOfLine)
    outOfLine(first)
    await Promise.all(line)
    assert.deepEqual(inside, ['first', 'a1', 'b1', 'c1', 'a2', 'b2', 'a3'])
  })

  it('XC-13 one zone never has all places', async () => {
    const { enter, inside } = setUp({ most: 3, mostOfZone: 2 })
    await enter('a1', 'a.test')
    const a2 = await enter('a2', 'a.test')
    void enter('a3', 'a.test')
    await enter('b1', 'b.test')
    assert.deepEqual(inside, ['a1', 'a2', 'b1'])
    outOfLine(a2)
    await settled()
    assert.deepEqual(inside, ['a1', 'a2', 'b1', 'a3'])
  })

  it('XC-13 who has no answer after a while steps aside for the next, up to so many in all', async () => {
    const { enter, inside, state } = setUp({ abreast: 1, asideMs: 5, most: 2 })
    await enter('dead')
    const fresh = enter('fresh')
    void enter('one too many')
    await settled()
    assert.deepEqual(inside, ['dead'])
    state.time = 5
    await fresh
    state.time = 100
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.deepEqual(inside, ['dead', 'fresh'])
  })

  it('XC-13 what no mail waits for has few places, and none while mail stands in line', async () => {
    const { enter, inside } = setUp({ most: 3, mostInBackground: 1 })
    const first = await enter('refresh', 'a', true)
    void enter('refresh again', 'a', true)
    await enter('mail')
    const second = await enter('more mail')
    const third = enter('mail in line')
    outOfLine(first)
    await third
    assert.deepEqual(inside, ['refresh', 'mail', 'more mail', 'mail in line'])
    outOfLine(second)
    await settled()
    assert.deepEqual(inside.at(-1), 'refresh again')
  })

  it('XC-13 a question without an answer holds its place for as long as the resolver tries', async () => {
    const { enter, inside, state } = setUp({ most: 1, heldMs: 30 })
    const dead = await enter('dead')
    state.time = 10
    dead?.(false)
    const next = enter('next')
    await settled()
    assert.deepEqual(inside, ['dead'])
    outOfLine(await next)
    outOfLine(await enter('after an answer'))
    assert.equal(inside.at(-1), 'after an answer')
  })

  it('XC-13 the last places are for those who came last, one after the other', async () => {
    const { enter, inside, state } = setUp({ inOrder: 1 })
    await enter('in order')
    const saved = Array.from({ length: 8 }, (_, n) => enter(`saved ${n}`))
    await Promise.all(saved)
    const [old, newest] = [enter('old'), enter('newest')]
    await settled()
    assert.equal(inside.length, 9)
    state.time = 40
    const leave = await newest
    assert.deepEqual(inside.slice(9), ['newest'])
    // It was answered: the turn is given back.
    outOfLine(leave)
    await old
    assert.deepEqual(inside.slice(9), ['newest', 'old'])
  })

  it('XC-13 of those who came last a zone has few, so that each stands behind few of another', async () => {
    const { enter, inside, state } = setUp({ inOrder: 0, paceMs: 1 })
    for (let n = 0; n < 20; n += 1) {
      state.time += 1
      void enter(`a${n}`, 'a.test')
      await settled()
    }
    assert.equal(inside.length, 8)
    await enter('b', 'b.test')
  })

  it('XC-13 so many places, and their pace, are made to last until the first are free again', () => {
    for (const most of [96, 240, 960]) {
      const { inOrder, paceMs, heldMs } = limits(most, {
        abreast: 128,
        asideMs: 25,
        background: 32,
        heldMs: 12_000,
      })
      assert.ok(inOrder < most && inOrder + heldMs / paceMs <= most)
    }
    const { inOrder } = limits(256, { abreast: 32, asideMs: 100, background: 8 })
    assert.equal(inOrder, 256)
  })

  it('XC-13 what was lost is asked again at once where few are inside, or the zone has just answered', async () => {
    const { entrance, enter, state } = setUp({ heldMs: 100 })
    await Promise.all(Array.from({ length: 31 }, (_, n) => enter(`dead ${n}`)))
    assert.equal(entrance.restMs('a.test', 0), 0)
    await enter('one more')
    state.time = 30
    assert.equal(entrance.restMs('a.test', 0), 70)
    outOfLine(await enter('alive', 'a.test'))
    assert.equal(entrance.restMs('a.test', 0), 0)
    state.time = 200
    assert.equal(entrance.restMs('b.test', 0), 0)
  })

  it('XC-13 the line is bounded: turned away are those of the zones that have most in it', async () => {
    const { entrance } = setUp({ most: 0, mostInLine: 64 * WAITING })
    const full = async (zone: string) => {
      const entered = entrance.enter(zone, never)
      return (await Promise.race([entered, settled()])) === 'full'
    }
    for (let n = 0; n < 32; n += 1) assert.equal(await full('many.test'), false)
    assert.equal(await full('many.test'), true)
    for (let n = 0; n < 32; n += 1) assert.equal(await full(`one${n}.test`), false)
    assert.equal(await full('last.test'), true)
  })

  it('tells how long mail stood in line, and counts no background', async () => {
    const { enter, clock, state } = setUp({ most: 1 })
    const first = await enter('first')
    void enter('refresh', 'r', true)
    state.time = 5
    assert.equal(clock.stoodMs(), 0)
    const second = enter('second')
    state.time = 12
    assert.equal(clock.stoodMs(), 7)
    outOfLine(first)
    await second
    state.time = 50
    assert.equal(clock.stoodMs(), 7)
  })

  for (const [name, zone] of [
    ['mx1.example.com', 'example.com'],
    ['_25._tcp.mx1.example.com', 'example.com'],
    ['_mta-sts.example.co.uk', 'example.co.uk'],
    ['mail.example.com.au', 'example.com.au'],
    ['a.b.bund.de', 'bund.de'],
    ['example.com', 'example.com'],
    ['test', 'test'],
    ['', ''],
  ] as const) {
    it(`"${name}" has its turn with ${zone === '' ? 'the root' : zone}`, () => {
      assert.equal(zoneOf(name), zone)
    })
  }
})
