import assert from 'node:assert/strict'
import { readArguments } from '../../../plugins/cli/arguments'
import { waiting, waitingFindings, waitingText } from '../../../plugins/cli/waiting'
import { styleFor } from '../../../plugins/cli/words'
import { readConfig } from '../../../plugins/config'
import { memoryStore } from '../../../plugins/store/memory'
import { MOST_MARKS, waitingPart } from '../../../plugins/store/waiting'
import type { PolicyKind } from '../../../plugins/delivery/types'
import { writeKeptBack } from '../../../plugins/waiting/kept-back'
import { readPage } from '../../support/docs-pages'

const NOW = Date.UTC(2026, 10, 27, 12)
const HOUR = 3_600_000

function config(destinations: Readonly<Record<string, string>> = {}) {
  const read = readConfig({ destinations }, () => undefined)
  assert.ok(read.ok)
  return read.config
}

function world() {
  const store = memoryStore({ now: () => NOW })
  const keep = async (
    domain: string,
    more: { policy?: PolicyKind; messages?: number; hours?: number } = {},
  ): Promise<void> => {
    const { policy = 'dane', messages = 1, hours = 2 } = more
    const host = `mx1.${domain}`
    const text = writeKeptBack({ host, policy, reason: 'dane-no-match', detail: 'a b?[2J' })
    const marks = Array.from({ length: messages }, (_, n) => n.toString(16).padStart(8, '0'))
    const held = { since: NOW - hours * HOUR, last: NOW - HOUR, marks, text }
    const noted = await store.noteWaiting(waitingPart(domain), [{ domain, held }])
    assert.ok(noted.ok)
  }
  return {
    keep,
    report: (domain?: string, rules = {}) => waiting(store, config(rules), new Date(NOW), domain),
  }
}

const plain = styleFor(false)

describe('waiting', () => {
  it('is understood, with a domain and without', () => {
    const command = (...argv: readonly string[]) => {
      const read = readArguments(argv)
      return read.kind === 'command' ? read.command : read
    }
    assert.deepEqual(command('waiting'), { kind: 'waiting' })
    assert.deepEqual(command('waiting', 'a.test'), { kind: 'waiting', domain: 'a.test' })
    for (const wrong of [['a.test', 'b.test'], ['a/b']]) {
      assert.equal(command('waiting', ...wrong).kind, 'wrong')
    }
  })

  it('tells host, reason, since when, how many, and what is to be done; the oldest first', async () => {
    const { keep, report } = world()
    await keep('late.test')
    await keep('early.test', { hours: 5, messages: 3 })
    const found = await report()
    assert.equal(found.exitCode, 1)
    assert.deepEqual(
      found.destinations.map(({ domain, messages }) => [domain, messages]),
      [
        ['early.test', 3],
        ['late.test', 1],
      ],
    )
    const text = waitingText(found, NOW, plain)
    assert.ok(text.every((line) => line.length <= 80 && /^\P{Cc}*$/u.test(line)))
    const [first = ''] = text.join('\n').split('\n\n')
    for (const pattern of [
      /^early\.test\n/,
      /host {6}mx1\.early\.test/,
      /reason {4}dane-no-match: .*\(RFC 7672/s,
      /detail {4}a b\?\[2J/,
      /messages {2}3/,
      /since {5}2026-11-27 07:00:00 UTC \(5 hours ago\)/,
      /last {6}2026-11-27 11:00:00 UTC/,
      /receiver {2}\S/,
      /here {6}Tell the receiver/,
    ]) {
      assert.match(first, pattern)
    }
  })

  it('of one domain, as it is written', async () => {
    const { keep, report } = world()
    await keep('xn--bcher-kva.test')
    await keep('other.test')
    for (const domain of ['bücher.test', 'XN--bcher-KVA.test.']) {
      const found = await report(domain)
      assert.deepEqual(
        found.destinations.map((one) => one.domain),
        ['xn--bcher-kva.test'],
      )
    }
    const none = await report('third.test')
    assert.equal(none.exitCode, 0)
    assert.deepEqual(waitingText(none, NOW, plain), ['No mail waits because of a policy.'])
  })

  it('more messages than are counted one by one are about so many', async () => {
    const { keep, report } = world()
    await keep('many.test', { messages: MOST_MARKS })
    const found = await report()
    assert.equal(found.destinations[0]?.messagesExact, false)
    assert.match(waitingText(found, NOW, plain).join('\n'), /messages {2}about \d+/)
  })

  it('what the operator has let go since waits no more, but for what authors ask', async () => {
    const { keep, report } = world()
    await keep('off.test')
    await keep('observe.test')
    await keep('over.test')
    await keep('asked.off.test', { policy: 'requiretls' })
    const rules = {
      ...{ 'off.test': 'off', 'observe.test': 'observe', '.off.test': 'off' },
      'over.test': 'off until 2026-11-26',
    }
    const found = await report(undefined, rules)
    const names = found.destinations.map(({ domain }) => domain)
    assert.deepEqual([...names].sort(), ['asked.off.test', 'over.test'])
  })

  it('doctor has a note where mail waits, and nothing where none does', async () => {
    const { keep, report } = world()
    assert.deepEqual(waitingFindings(await report()), [])
    await keep('a.test')
    const [one, ...others] = waitingFindings(await report())
    assert.ok(one?.level === 'note' && others.length === 0)
    assert.match(one.text, /^mail to a\.test waits.*\(dane-no-match\)$/)
    await keep('b.test')
    assert.match(waitingFindings(await report())[0]?.text ?? '', /^mail to 2 destinations/)
  })

  it('a store that cannot be read is a problem, and not "none"', async () => {
    const store = { readWaiting: () => Promise.resolve({ ok: false, detail: 'away' } as const) }
    const found = await waiting(store, config(), new Date(NOW), undefined)
    assert.equal(found.exitCode, 2)
    assert.match(waitingText(found, NOW, plain).join(' '), /Problem: .*away/)
  })

  it('docs/command.md names every field of the JSON, and no other', async () => {
    const { keep, report } = world()
    await keep('a.test')
    const found = await report()
    const [one = {}] = found.destinations
    const fields = [
      ...Object.keys(found).map((key) => (key === 'destinations' ? 'destinations[]' : key)),
      ...Object.keys(one).map((key) => `destinations[].${key}`),
    ]
    const [, section = ''] = /\n### waiting\n([^]*?)\n### /.exec(readPage('command.md')) ?? []
    const documented = [...section.matchAll(/^\| `([^`]+)`/gm)].map(([, field]) => field)
    assert.deepEqual(documented.sort(), fields.sort())
  })
})
