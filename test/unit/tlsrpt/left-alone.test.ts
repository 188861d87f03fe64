/** Addresses to which a report came back: for how long they are left alone, by a moved clock. */
import assert from 'node:assert/strict'
import { memoryStore } from '../../../plugins/store/memory'
import { createLeftAlone } from '../../../plugins/tlsrpt/left-alone'
import { fault } from '../../support/faults-page'

const DAY = 86_400_000
const ADDRESS = 'tls@rcpt.test'

describe('addresses that are left alone', () => {
  let now: number
  let store: ReturnType<typeof memoryStore>
  beforeEach(() => {
    now = 1_800_000_000_000
    store = memoryStore({ now: () => now })
  })
  const leftAlone = () => createLeftAlone(store, () => now)
  const isAlone = async (address = ADDRESS) => {
    const found = await leftAlone().isLeftAlone(address)
    return found.ok ? found.value : assert.fail(found.detail)
  }
  /** Goes through a period to its end. */
  const lasts = async (days: number) => {
    assert.equal(await isAlone(), true)
    now += days * DAY - 1
    assert.equal(await isAlone(), true, `${days} days less a millisecond`)
    now += 1
    assert.equal(await isAlone(), false, `${days} days`)
  }

  it(`TD-26 ${fault('Reports come back from an address')}: for 7 days, then 14, then 28, and 28 from then on`, async () => {
    assert.equal(await isAlone(), false)
    for (const days of [7, 14, 28, 28]) {
      await leftAlone().cameBack(ADDRESS)
      await lasts(days)
    }
  })
  it('TD-26 reports that come back together are one; other addresses have nothing to do with it', async () => {
    for (let n = 0; n < 3; n++) await leftAlone().cameBack(ADDRESS)
    assert.equal(await isAlone('other@rcpt.test'), false)
    await lasts(7)
  })
  it('TD-26 sixty days after the end of a period all begins anew, and not before', async () => {
    await leftAlone().cameBack(ADDRESS)
    now += (7 + 60) * DAY - 1
    await leftAlone().cameBack(ADDRESS)
    await lasts(14)
    now += 60 * DAY + 1
    await leftAlone().cameBack(ADDRESS)
    await lasts(7)
  })
  it('TD-26 a store that cannot be read says so, and what others wrote there counts as nothing', async () => {
    const away = () => Promise.resolve({ ok: false, detail: 'Redis is away' } as const)
    const found = await createLeftAlone({ ...store, getNote: away }, () => now).isLeftAlone(ADDRESS)
    assert.deepEqual(found, { ok: false, detail: 'Redis is away' })
    const odd = () => Promise.resolve({ ok: true, value: '1 x' } as const)
    const other = await createLeftAlone({ ...store, getNote: odd }, () => now).isLeftAlone(ADDRESS)
    assert.deepEqual(other, { ok: true, value: false })
  })
})
