/**
 * The same message through two relays, one after the other, against the same hosts: same result, same words, same connections,
 * same octets.
 */
import assert from 'node:assert/strict'
import {
  type Haraka,
  type HarakaVersion,
  type Lab,
  type Outcome,
  type Receiver,
  type Session,
} from './index'

/** What one relay made of one message, and what the hosts saw of it. */
export interface Run {
  readonly outcomes: readonly unknown[]
  readonly sessions: readonly (readonly unknown[])[]
}

export interface Pair {
  readonly plain: Haraka
  readonly haraka: Haraka
}

/**
 * Plain Haraka, and Haraka with the plugin.
 * @param files of both; @param own of the one with the plugin
 */
export async function startPair(
  lab: Lab,
  version: HarakaVersion,
  files: Readonly<Record<string, string>> = {},
  own: Readonly<Record<string, string>> = {},
): Promise<Pair> {
  const config = { 'outbound.ini': 'connect_timeout=2', ...files }
  const others = 'meddler.json' in files ? ['lab-meddler'] : []
  const plain = await lab.haraka({ version, plugins: others, port: 2526, config })
  const haraka = await lab.haraka({
    version,
    plugins: [...others, 'tls-policy'],
    config: { ...config, ...own },
  })
  return { plain, haraka }
}

async function runThrough(
  relay: Haraka,
  recipients: readonly string[],
  receivers: readonly Receiver[],
): Promise<Run> {
  const before = receivers.map(({ sessions }) => sessions.entries.length)
  await relay.send({ from: 'sender@sender.test', to: recipients })
  const outcomes = await Promise.all(
    recipients.map((recipient) => relay.outcome(recipient, { timeout: 20_000 })),
  )
  const sessions = await Promise.all(
    receivers.map(async (receiver, index) => {
      const from = before[index] ?? 0
      const made = receiver.sessions.entries.slice(from)
      for (const session of made) {
        await receiver.sessions.waitFor('the end', () => session.closed)
      }
      return made.map(comparable)
    }),
  )
  return { outcomes: outcomes.map(comparableOutcome), sessions }
}

/** All of it, but for what differs from message to message. */
function comparable({ cleartext, secured, tls, greetings }: Session): unknown {
  const [commands] = cleartext.split(HANDSHAKE)
  const handshake = tls && { servername: tls.servername, protocol: tls.protocol }
  return { commands: steady(commands ?? ''), secured: steady(secured), handshake, greetings }
}

/** How a TLS record of type handshake begins (RFC 8446 section 5.1). */
const HANDSHAKE = String.fromCharCode(0x16, 0x03)

function comparableOutcome({ message: _message, file: _file, ...rest }: Outcome): unknown {
  return JSON.parse(steady(JSON.stringify(rest))) as unknown
}

/** Without identifiers and times. */
function steady(text: string): string {
  return text
    .replace(/[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}(\.\d+)*/gi, 'ID')
    .replace(/[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} [\d:]{8} [+-]\d{4}/g, 'DATE')
    .replace(/error:[0-9A-F]+:|[0-9A-F]{12,16}:error/g, 'ERROR')
}

export async function assertSame(
  { plain, haraka }: Pair,
  recipients: readonly string[],
  receivers: readonly Receiver[],
): Promise<Run> {
  const expected = await runThrough(plain, recipients, receivers)
  const actual = await runThrough(haraka, recipients, receivers)
  assert.deepEqual(actual, expected)
  return actual
}
