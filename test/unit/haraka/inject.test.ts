import assert from 'node:assert/strict'
import {
  createInjector,
  hasWaitedEnough,
  isReport,
  type OutboundModule,
  reportTo,
} from '../../../plugins/haraka/inject'

const mail = { from: 'tlsrpt@sender.test', to: 'r@rcpt.test', message: 'Subject: x\r\n\r\nx\r\n' }
const HOUR = 3_600_000

function injecting(send_email: OutboundModule['send_email']) {
  return createInjector({ send_email }, 'tls-policy')(mail)
}

describe('a message of ours in the queue', () => {
  it('TD-16 TD-26 TD-27 is from the address of the settings, and carries the notes that mark it', async () => {
    let given: unknown[] = []
    const result = await injecting((...args) => {
      given = args
      args[3](906, 'Message Queued')
    })
    assert.deepEqual(result, { ok: true })
    const [from, to, contents, , options] = given
    assert.deepEqual([from, to, contents], ['<tlsrpt@sender.test>', '<r@rcpt.test>', mail.message])
    const { notes } = options as { notes: Record<string, unknown> }
    // As it comes back from the queue's file.
    const hmail = { todo: { notes: JSON.parse(JSON.stringify(notes)) as unknown } }
    assert.equal(isReport(hmail), true)
    assert.equal(reportTo(hmail), 'r@rcpt.test')
    assert.equal(notes['dkim_signed'], true)
    assert.deepEqual(notes['skip_plugins'], [])
  })
  it('TD-27 a queue that refuses, or throws: an outcome, no exception', async () => {
    const refused = await injecting((...args) => {
      args[3](902, 'disk full')
    })
    assert.deepEqual(refused, { ok: false, detail: 'the queue did not take it: disk full' })
    const thrown = await injecting(() => {
      throw new Error('no such thing')
    })
    assert.deepEqual(thrown, { ok: false, detail: 'no such thing' })
  })
  it('TD-16 mail of others is never taken for one', () => {
    const todos: unknown[] = [undefined, null, {}, { notes: null }, { notes: 'x' }, { notes: {} }, { notes: { 'tls-policy': true } }, { notes: { 'tls-policy': { report: 'true' } } }, { notes: { report: true } }]
    for (const todo of todos) {
      const hmail = { todo } as Parameters<typeof isReport>[0]
      assert.equal(isReport(hmail), false)
      assert.equal(reportTo(hmail), undefined)
      assert.equal(hasWaitedEnough(hmail, 1e9, 1e15), false)
    }
  }) // prettier-ignore
  it('TD-21 waits for a day and no longer', () => {
    const notes = { 'tls-policy': { report: true, to: 'r@rcpt.test' } }
    const hmail = { todo: { notes, queue_time: 1_000 } }
    assert.equal(hasWaitedEnough(hmail, 3600, 1_000 + 22 * HOUR), false)
    assert.equal(hasWaitedEnough(hmail, 3600, 1_001 + 23 * HOUR), true)
    assert.equal(hasWaitedEnough(hmail, undefined, 1_001 + 24 * HOUR), true)
  })
})
