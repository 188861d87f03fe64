import assert from 'node:assert/strict'
import fc from 'fast-check'
import { demandOfMail, queueHandlers } from '../../../plugins/haraka/notification'
import type { HarakaTransaction, HMailItem } from '../../../plugins/haraka/types'

const queuedWith = (notes: unknown, fields: unknown, bounced?: HMailItem) => {
  const transaction: HarakaTransaction = { notes, header: { get_all: () => fields } }
  queueHandlers.queued(transaction, bounced)
  return transaction.notes
}
const mail = (notes: unknown, user: unknown = 'a') =>
  ({ todo: { notes, mail_from: { user }, rcpt_to: [], domain: 'x.test' } }) as unknown as HMailItem
const OURS = 'tls-policy'

describe('what a message asks, on its way into the queue', () => {
  it('NO-01 the header is noted, and read again from the notes', () => {
    const notes = queuedWith({}, ['No\n'])
    assert.equal(demandOfMail(mail(notes), true), 'tls-required-no')
    assert.equal(demandOfMail(mail(notes), false), undefined)
  })

  it('RQ-13 tls_required.honour=no takes nothing from REQUIRETLS', () => {
    const tagged = { [OURS]: { requiretls: true, tlsRequiredNo: true } }
    assert.equal(demandOfMail(mail(tagged), false), 'requiretls')
    assert.equal(demandOfMail(mail(tagged, ''), false), 'requiretls-if-possible')
  })

  it('TD-14 that of a report of ours is heeded, whatever the operator says of those of authors', () => {
    const notes = queuedWith({ [OURS]: { report: true, to: 'r@x.test' } }, ['No\n'])
    for (const honour of [true, false])
      assert.equal(demandOfMail(mail(notes), honour), 'tls-required-no')
    // Its own word only: nothing that another plugin has written.
    const others = queuedWith({ [OURS]: { report: 'yes' } }, ['No\n'])
    assert.equal(demandOfMail(mail(others), false), undefined)
  })

  it('NO-01 the notes of an injection stay as they are: the same ones may come with the next message', () => {
    const shared = Object.freeze({ skip_plugins: [], [OURS]: Object.freeze({ requiretls: true }) })
    const first = queuedWith(shared, ['No\n'])
    assert.notEqual(first, shared)
    assert.deepEqual(queuedWith(shared, []), shared)
    assert.equal(demandOfMail(mail(first), true), 'requiretls')
  })

  it('NO-02 a note of a No that the header does not bear is taken away; others stay', () => {
    const notes = queuedWith({ [OURS]: { tlsRequiredNo: true, report: true } }, [])
    assert.deepEqual(notes, { [OURS]: { tlsRequiredNo: false, report: true } })
  })

  it('RQ-15 a notification of a tagged message is tagged, and asks as one', () => {
    const notes = queuedWith(undefined, [], mail({ [OURS]: { requiretls: true } }))
    assert.equal(demandOfMail(mail(notes, ''), true), 'requiretls-if-possible')
    assert.equal(queuedWith(undefined, [], mail({})), undefined)
  })

  it('NO-13 its header is copied only where it counted', () => {
    const lines = ['Subject: x\r\n']
    queueHandlers.notified(mail({}), lines)
    queueHandlers.notified(mail({ [OURS]: { requiretls: true, tlsRequiredNo: true } }), lines)
    assert.deepEqual(lines, ['Subject: x\r\n'])
    queueHandlers.notified(mail({ [OURS]: { tlsRequiredNo: true } }), lines)
    assert.equal(lines[0], 'TLS-Required: No\r\n')
  })

  const statuses: readonly (readonly [object, string])[] = [
    [{ dsn_status: '5.1.1' }, '5.1.1'],
    [{ dsn_smtp_code: '550', dsn_smtp_response: '5.7.30 REQUIRETLS needed' }, '5.7.30'],
    [{ dsn_smtp_code: 550, dsn_smtp_response: 'no' }, '5.0.0'],
    [{ dsn_smtp_response: '5.7.30x' }, '5.0.0'],
    [{ dsn_code: 450 }, '4.0.0'],
    [{}, '5.0.0'],
  ]
  for (const [recipient, expected] of statuses) {
    it(`RQ-08 each recipient has a Status: ${JSON.stringify(recipient)} -> ${expected}`, () => {
      const hmail = { todo: { rcpt_to: [{ ...recipient }] } } as unknown as HMailItem
      queueHandlers.bouncing(hmail)
      assert.equal(hmail.todo.rcpt_to[0]?.dsn_status, expected)
    })
  }

  it('RQ-19 notes and headers of any form are no exception', () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), (notes, fields) => {
        const after = queuedWith(notes, fields)
        demandOfMail(mail(after), true)
      }),
    )
    // What another plugin gave for notes: what is written there must come through the JSON of the queue.
    for (const given of [[], ['x'], 'x', 1, null, undefined, () => undefined]) {
      const kept: unknown = JSON.parse(JSON.stringify(queuedWith(given, ['No\n'])))
      assert.equal(demandOfMail(mail(kept), true), 'tls-required-no')
    }
    const broken: HarakaTransaction = {
      header: {
        get_all: () => {
          throw new Error('x')
        },
      },
    }
    queueHandlers.queued(broken, undefined)
    assert.equal(broken.notes, undefined)
  })
})
