/** What every store must do with destinations whose mail is kept back, whichever it is; a part of the contract. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Store, Stored, WaitingNote } from '../../plugins/store/types'
import {
  applyNotes,
  type Held,
  MOST_MARKS,
  MOST_NOTES,
  MOST_WAITING,
  readRecords,
  WAITING_LIFE,
  WAITING_OCTETS,
  waitingPart,
} from '../../plugins/store/waiting'

export interface WaitingContractTools {
  readonly store: () => Store
  /** Another on the same state, where it is shared. */
  readonly another: () => Promise<Store>
  readonly isShared: () => boolean
  readonly now: () => number
  readonly advance: (ms: number) => void
}

async function value<T>(call: Promise<Stored<T>>): Promise<T> {
  const outcome = await call
  assert.ok(outcome.ok, outcome.ok ? '' : outcome.detail)
  return outcome.value
}

const DOMAIN = 'rcpt.test'
const PART = waitingPart(DOMAIN)
/** Of the same part as DOMAIN. */
const NEIGHBOURS = Array.from({ length: 20_000 }, (_, n) => `n${n}.test`).filter(
  (domain) => waitingPart(domain) === PART,
)
const mark = (n: number) => n.toString(16).padStart(8, '0')

export function waitingContract(tools: WaitingContractTools): void {
  const { store, another, isShared, now, advance } = tools
  const held = (changes: Partial<Held> = {}): Held => ({
    ...{ since: now(), last: now(), marks: [mark(1)], text: 'why' },
    ...changes,
  })
  const note = (changes: Partial<WaitingNote> = {}): WaitingNote => ({ domain: DOMAIN, ...changes })
  const tell = (...notes: readonly WaitingNote[]) => value(store().noteWaiting(PART, notes))
  const read = async (from = store()) => value(from.readWaiting(PART))

  describe('destinations that wait', () => {
    it('one record of all workers: the first time, the last one, and each message once', async () => {
      const began = now()
      const other = isShared() ? await another() : store()
      await tell(note({ held: held({ marks: [mark(1), mark(5)] }) }))
      advance(1_000)
      const again = note({ held: held({ marks: [mark(1), mark(3)], text: 'later' }) })
      for (let n = 0; n < 2; n++) await value(other.noteWaiting(PART, [again]))
      assert.deepEqual(await read(), [
        {
          ...{ domain: DOMAIN, since: began, last: now(), text: 'later' },
          marks: [mark(1), mark(3), mark(5)],
        },
      ])
    })
    it('ends with a success, but not with an older one, and begins anew', async () => {
      await tell(note({ held: held() }))
      await tell(note({ endedAt: now() - 1 }))
      assert.equal((await read()).length, 1)
      await tell(note({ endedAt: now() }))
      assert.deepEqual(await read(), [])
      await tell(note({ held: held() }))
      advance(5)
      await tell(note({ endedAt: now(), held: held({ marks: [mark(9)] }) }))
      const fresh = { domain: DOMAIN, ...held({ marks: [mark(9)] }) }
      assert.deepEqual(await read(), [fresh])
    })
    it('ends by itself', async () => {
      await tell(note({ held: held() }))
      advance(WAITING_LIFE - 1)
      assert.equal((await read()).length, 1)
      advance(1)
      assert.deepEqual(await read(), [])
      await tell(note({ held: held({ marks: [mark(2)] }) }))
      assert.deepEqual(await read(), [{ domain: DOMAIN, ...held({ marks: [mark(2)] }) }])
    })
    it('what a clock of the future has written is over once it is right again', async () => {
      advance(30 * 86_400_000)
      await tell(note({ held: held() }))
      advance(-30 * 86_400_000)
      assert.deepEqual(await read(), [])
    })
    it('of many messages the smallest marks are kept', async () => {
      const all = Array.from({ length: 3 * MOST_MARKS }, (_, n) => mark(1_000 - n)).sort()
      for (let from = 0; from < all.length; from += MOST_MARKS) {
        await tell(note({ held: held({ marks: all.slice(from, from + MOST_MARKS) }) }))
      }
      assert.deepEqual((await read())[0]?.marks, all.slice(0, MOST_MARKS))
    })
    it('there are only so many; what is over makes room', async () => {
      const many = NEIGHBOURS.slice(0, MOST_WAITING)
      for (let from = 0; from < many.length; from += MOST_NOTES) {
        const some = many.slice(from, from + MOST_NOTES)
        assert.equal(await tell(...some.map((domain) => ({ domain, held: held() }))), 0)
      }
      advance(1_000)
      assert.equal(await tell(note({ held: held() })), 1)
      assert.equal((await read()).length, MOST_WAITING)
      const [kept = ''] = many
      assert.equal(await tell({ domain: kept, held: held() }), 0)
      advance(WAITING_LIFE - 500)
      assert.equal(await tell(note({ held: held() })), 0)
      assert.deepEqual((await read()).map(({ domain }) => domain).sort(), [kept, DOMAIN].sort())
    })
    it('a success where nothing waits leaves nothing', async () => {
      assert.equal(await tell(note({ endedAt: now() })), 0)
      assert.deepEqual(await read(), [])
    })
    it('refuses what is no note', async () => {
      const bad: readonly Partial<WaitingNote>[] = [
        ...['', 'Rcpt.Test', 'a b', '{x}', NEIGHBOURS[0]?.replace('n', 'nn') ?? ''].map(
          (domain) => ({ domain, held: held() }),
        ),
        ...[-1, 1.5, NaN, 1e16].map((endedAt) => ({ endedAt })),
        ...[
          { since: -1 },
          { since: now() + 1 },
          { marks: [] },
          { marks: ['x'] },
          { marks: ['0000000A'] },
          { marks: [mark(2), mark(1)] },
          { marks: [mark(1), mark(1)] },
          { marks: Array.from({ length: MOST_MARKS + 1 }, (_, n) => mark(n)) },
          { text: 'x'.repeat(WAITING_OCTETS + 1) },
          { text: 'a\nb' },
          { text: 'ü' },
        ].map((changes) => ({ held: held(changes) })),
      ]
      for (const changes of bad) {
        const outcome = await store().noteWaiting(PART, [note(changes)])
        const isOfAnotherPart = changes.domain !== undefined && waitingPart(changes.domain) === PART
        assert.equal(outcome.ok, false, JSON.stringify({ changes, isOfAnotherPart }).slice(0, 200))
      }
      const many = Array.from({ length: MOST_NOTES + 1 }, () => note({ held: held() }))
      assert.equal((await store().noteWaiting(PART, many)).ok, false)
      assert.equal((await store().noteWaiting(-1, [])).ok, false)
      assert.equal((await store().readWaiting(16)).ok, false)
      assert.deepEqual(await read(), [])
    })
    it('every store does as the rule says, whatever is noted', async () => {
      const time = fc.nat(20).map((n) => now() + n * 3_600_000)
      const marks = fc
        .uniqueArray(fc.nat(90), { minLength: 1, maxLength: MOST_MARKS })
        .map((all) => all.map(mark).sort())
      const anyHeld = fc
        .tuple(time, time, marks, fc.constantFrom('', 'a b', '~'))
        .map(([one, other, all, text]) => ({
          ...{ since: Math.min(one, other), last: Math.max(one, other), marks: all, text },
        }))
      const some = fc.constantFrom(DOMAIN, ...NEIGHBOURS.slice(0, 3))
      const anyNote = fc.oneof(
        fc.record({ domain: some, endedAt: time }),
        fc.record({ domain: some, held: anyHeld }),
        fc.record({ domain: some, endedAt: time, held: anyHeld }),
      )
      const fields = new Map<string, string>()
      const rule = {
        get: (domain: string) => fields.get(domain),
        put: (domain: string, text: string | undefined) => {
          if (text === undefined) fields.delete(domain)
          else fields.set(domain, text)
        },
        entries: () => fields.entries(),
      }
      await fc.assert(
        fc.asyncProperty(fc.array(anyNote, { minLength: 1, maxLength: 20 }), async (notes) => {
          assert.equal(await tell(...notes), applyNotes(rule, notes, now()))
          const sorted = (records: readonly unknown[]) =>
            records.map((one) => JSON.stringify(one)).sort()
          assert.deepEqual(sorted(await read()), sorted(readRecords(fields, now())))
        }),
        { numRuns: 40 },
      )
    })
    it('ends with the store', async () => {
      const other = await another()
      await other.close()
      assert.equal((await other.noteWaiting(PART, [note({ held: held() })])).ok, false)
      assert.equal((await other.readWaiting(PART)).ok, false)
    })
  })
}
