import assert from 'node:assert/strict'
import { gate, type GateLimits, type Leave } from '../../../plugins/dnssec-stub/gate'
import { zoneOf } from '../../../plugins/dnssec-stub/line'
import { lineClock } from '../../../plugins/dnssec-stub/time-limit'

const never = new AbortController().signal
const LIMITS: GateLimits = {
  abreast: 1000,
  asideMs: 10_000,
  most: 1000,
  mostOfZone: 1000,
  mostInBackground: 1000,
}

function setUp(changes: Partial<GateLimits>) {
  const state = { time: 0 }
  const clock = lineClock(() => state.time)
  const entrance = gate({ ...LIMITS, ...changes }, clock, () => state.time)
  const inside: string[] = []
  /** Enters and says so; leaves when told. */
  async function enter(who: string, zone = who, background = false): Promise<Leave | undefined> {
    const leave = await entrance.enter(zone, never, background)
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
    leave?.()
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
