/** REQUIRETLS as clients meet it: the hooks, with a connection as Haraka gives it to them. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { deny } from 'haraka-constants'
import { createInbound } from '../../../plugins/haraka/inbound'
import type { Inbound, InboundConnection, InboundOptions } from '../../../plugins/haraka/inbound'
import { readNotes } from '../../../plugins/requiretls/demand'

type Said = readonly [number | undefined, { readonly code: number; readonly reply: string }?]

interface Client {
  readonly connection: InboundConnection
  /** Questions that were put to find out whether the promise can be kept. */
  readonly questions: () => number
  readonly logged: () => readonly string[]
  readonly inbound: Inbound
  readonly call: (hook: 'offer' | 'queue' | 'queueOutbound') => Said
  readonly mail: (parameters: unknown) => Said
  readonly rcpt: (domain: string) => Promise<Said>
}

function client(
  changes: Partial<InboundConnection> = {},
  options: Partial<InboundOptions> = {},
): Client {
  let questions = 0
  const logged: string[] = []
  const { obstacle = () => undefined, ...others } = options
  const inbound = createInbound({
    setting: () => 'relay',
    neverTaken: () => Promise.resolve(undefined),
    obstacle: () => {
      questions += 1
      return obstacle()
    },
    ...others,
  })
  const connection: InboundConnection = {
    transaction: { notes: {} },
    tls: { enabled: true },
    relaying: true,
    local: { port: 25 },
    capabilities: ['PIPELINING'],
    loginfo: (text) => logged.push(String(text)),
    ...changes,
  }
  const said = (hook: (next: (...words: unknown[]) => void) => void) => {
    const calls: unknown[][] = []
    hook((...words) => calls.push(words))
    assert.equal(calls.length, 1, 'next() once')
    return calls[0] as unknown as Said
  }
  return {
    connection,
    questions: () => questions,
    logged: () => logged,
    inbound,
    call: (hook) =>
      said((next) => {
        inbound[hook](next, connection)
      }),
    mail: (parameters) =>
      said((next) => {
        inbound.mail(next, connection, parameters)
      }),
    rcpt: (domain) =>
      new Promise((resolve) => {
        inbound.rcpt((...words) => resolve(words as unknown as Said), connection, domain)
      }),
  }
}

const tag = { REQUIRETLS: null }
const refused = ([retval, reply]: Said) => {
  assert.equal(retval, deny)
  assert.equal(reply?.constructor.name, 'DSN')
  return `${reply.code} ${reply.reply}`
}
const letPass = (said: Said) => {
  assert.deepEqual(said, [])
}

describe('REQUIRETLS in the hooks', () => {
  it('RQ-05 in the EHLO reply inside TLS, and in no other', () => {
    const inside = client()
    letPass(inside.call('offer'))
    assert.deepEqual(inside.connection.capabilities, ['PIPELINING', 'REQUIRETLS'])
    for (const changes of [
      { tls: { enabled: false } },
      { tls: {} },
      { tls: undefined },
      { relaying: false },
      { relaying: undefined },
    ]) {
      const other = client(changes as Partial<InboundConnection>)
      letPass(other.call('offer'))
      assert.deepEqual(other.connection.capabilities, ['PIPELINING'], JSON.stringify(changes))
    }
    for (const capabilities of [null, undefined]) {
      letPass(client({ capabilities } as Partial<InboundConnection>).call('offer'))
    }
  })

  it('RQ-05 not where the promise cannot be kept', () => {
    for (const options of [{ obstacle: () => 'x' }, { setting: () => 'no' as const }]) {
      const { call, mail, connection } = client({}, options)
      call('offer')
      assert.deepEqual(connection.capabilities, ['PIPELINING'])
      assert.match(refused(mail(tag)), /^555 5\.5\.4 /)
    }
  })

  it('RQ-01 a tag that is taken is in the notes, and the message is queued', () => {
    const { connection, mail, call } = client()
    letPass(mail({ SIZE: '400', ...tag }))
    assert.deepEqual(connection.transaction?.notes['tls-policy'], { requiretls: true })
    letPass(call('queueOutbound'))
  })

  it('RQ-01 a refused tag is in the notes all the same: no other plugin can make a success of it', () => {
    for (const [parameters, changes, words] of [
      [{ REQUIRETLS: 'x' }, {}, /^501 5\.5\.4 /],
      [tag, { tls: { enabled: false } }, /^530 5\.7\.10 /],
      [tag, { relaying: false }, /^555 5\.5\.4 /],
    ] as const) {
      const { mail, call, connection } = client(changes, { setting: () => 'relay' })
      assert.match(refused(mail(parameters)), words)
      assert.deepEqual(readNotes(connection.transaction?.notes), {
        requiretls: true,
        refused: true,
      })
      assert.match(refused(call('queueOutbound')), /^550 5\.7\.30 /)
      assert.match(refused(call('queue')), /^550 5\.7\.30 /)
    }
    const vouched = client({}, { setting: () => 'all' })
    vouched.mail({ REQUIRETLS: '' })
    assert.match(refused(vouched.call('queue')), /^550 5\.7\.30 /)
  })

  it('RQ-22 a plugin is given a tagged message only where the operator vouches for it', () => {
    const given = (options: Partial<InboundOptions>) => {
      const notes = { 'tls-policy': { requiretls: true } }
      return client({ transaction: { notes } }, options).call('queue')
    }
    assert.match(refused(given({})), /^550 5\.7\.30 /)
    assert.match(refused(given({ setting: () => 'no' })), /^550 5\.7\.30 /)
    assert.match(refused(given({ setting: () => 'all', obstacle: () => 'x' })), /^550 5\.7\.30 /)
    letPass(given({ setting: () => 'all' }))
  })

  it('RQ-01 an obstacle that came after the offer: the message is refused, not forgotten', () => {
    const obstacles: string[] = []
    const { mail, call } = client({}, { obstacle: () => obstacles[0] })
    letPass(mail(tag))
    obstacles.push('outbound.ini says enable_tls=false')
    assert.match(refused(call('queueOutbound')), /^550 5\.7\.30 /)
  })

  it('RQ-17 untagged mail passes, and nobody is asked whether a promise could be kept', async () => {
    for (const obstacle of [() => 'x', () => undefined]) {
      const { mail, call, rcpt, connection, questions } = client(
        {},
        { obstacle, setting: () => 'all' },
      )
      letPass(mail({ SIZE: '400' }))
      letPass(call('queue'))
      letPass(call('queueOutbound'))
      letPass(await rcpt('x.test'))
      assert.deepEqual(connection.transaction?.notes, {})
      assert.equal(questions(), 0)
      client({ tls: { enabled: false } }, { obstacle: () => assert.fail('in cleartext') }).call(
        'offer',
      )
    }
  })

  it('RQ-02 a recipient whom no host could ever take it for is refused; where it is not known, the delivery looks', async () => {
    const asked: string[] = []
    const neverTaken = (domain: string) => {
      asked.push(domain)
      return domain === 'never.test'
        ? Promise.resolve('no host')
        : domain === 'late.test'
          ? Promise.reject(new Error('too late'))
          : Promise.resolve(undefined)
    }
    const { mail, rcpt, logged } = client({}, { neverTaken })
    mail(tag)
    assert.equal(refused(await rcpt('never.test')), '550 5.7.10 no host')
    letPass(await rcpt('good.test'))
    letPass(await rcpt('late.test'))
    assert.match(logged().join(), /no word on late\.test before the queue: .*too late/)
    const stranger = client({ relaying: false }, { neverTaken, setting: () => 'all' })
    letPass(stranger.mail(tag))
    letPass(await stranger.rcpt('never.test'))
    assert.equal(asked.length, 3, 'mail for this server has no plan')
  })

  it('RQ-19 without a transaction, and with notes of any form: an answer, and no exception', () => {
    for (const transaction of [null, undefined]) {
      const { mail, call } = client({ transaction } as Partial<InboundConnection>)
      letPass(mail(tag))
      letPass(call('queue'))
      letPass(call('queueOutbound'))
    }
    fc.assert(
      fc.property(fc.anything(), fc.constantFrom('queue', 'queueOutbound'), (own, hook) => {
        const { call } = client(
          { transaction: { notes: { 'tls-policy': own } } },
          { obstacle: () => 'x' },
        )
        const said = call(hook)
        // Only what is plainly no tag goes on its way.
        if (readNotes({ 'tls-policy': own }).requiretls)
          assert.match(refused(said), /^550 5\.7\.30 /)
        else letPass(said)
      }),
    )
  })
})
