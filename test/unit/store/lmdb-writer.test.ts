/** The line of writes before an LMDB file that is slow to take them. */
import assert from 'node:assert/strict'
import type { LmdbFile } from '../../../plugins/store/lmdb/file'
import { Busy, createWriter } from '../../../plugins/store/lmdb/writer'

const MIB = 1_048_576

/** A file whose first transaction ends when it is let go. */
function heldFile() {
  let letGo: () => void = () => undefined
  const held = new Promise<void>((resolve) => (letGo = resolve))
  let transactions = 0
  const file = {
    makeRoom: () => undefined,
    root: {
      async transaction<T>(act: () => T): Promise<T> {
        if (transactions++ === 0) await held
        return act()
      },
    },
  }
  return { file: file as unknown as LmdbFile, letGo: () => letGo() }
}

describe('store: the line of writes to LMDB', () => {
  it('XC-13 is bounded in octets of memory: past them a write is told so at once, and taken again when the disk is', async () => {
    const { file, letGo } = heldFile()
    const writer = createWriter(file)
    const underWay = writer.write(1, () => 'first', MIB)
    await new Promise(setImmediate)
    const waiting = Array.from({ length: 7 }, (_, n) => writer.write(1, () => n, MIB))
    await assert.rejects(
      writer.write(1, () => 'too many', MIB),
      Busy,
    )
    const small = writer.write(1, () => 'small')
    letGo()
    assert.equal(await underWay, 'first')
    assert.deepEqual(await Promise.all(waiting), [0, 1, 2, 3, 4, 5, 6])
    assert.equal(await small, 'small')
    assert.equal(await writer.write(1, () => 'again', MIB), 'again')
  })

  it('XC-13 thousands of small ones that wait are few enough', async () => {
    const { file, letGo } = heldFile()
    const writer = createWriter(file)
    const writes = Array.from({ length: 5000 }, (_, n) => writer.write(1, () => n, 400))
    letGo()
    assert.equal((await Promise.all(writes)).length, 5000)
  })
})
