/**
 * One server: how it wants to be asked, and what its word on security is worth. Promises: a server on a trusted path is asked
 * without EDNS only after its self-test has shown that it takes none, never because one reply says so, which a forwarder may
 * have from anybody; and what it says insecurely since its last test is known, so that it can be tested before that is believed.
 */
import { exchange, type Exchanged } from './exchange'
import { limits } from './gate'
import { failure, failureWith, resolverOver, type Step } from './lookup'
import { interpret } from './reply'
import { room, type Room } from './room'
import { selfTest, type SelfTestNames } from './self-test'
import { serverText, type TrustedServer } from './servers'
import { turns } from './turns'
import type { FailureCause, Health, RecordType } from './types'
import { udpSockets, type UdpSockets } from './udp-sockets'
import type { Dialect, Question } from './wire'

export interface UpstreamOptions {
  /** For one try, milliseconds. */
  readonly timeoutMs: number
  /** A fresh unpredictable number from 0 to 65535. */
  readonly randomId: () => number
  readonly tcpOnly?: boolean
  /** Shared with other servers' questions; default: its own. */
  readonly sockets?: UdpSockets
  /** For replies over TCP that are being received; as `sockets`. */
  readonly room?: Room
  /** Default: the root alone. */
  readonly names?: SelfTestNames
  /** Told as soon as a test finds it blind that validated before, or the other way round. */
  readonly onTurn?: () => void
}

/** Octets of replies over TCP that are being received at a time: 64 of the largest, which come in milliseconds. */
const RECEIVED_AT_ONCE = 64 * 65_536

export function roomForReplies(): Room {
  return room(RECEIVED_AT_ONCE)
}

export interface Upstream {
  readonly server: TrustedServer
  /** Asks once; where an untrusted server may take no EDNS, once more without. */
  ask<T extends RecordType>(
    question: Question & { readonly type: T },
    signal: AbortSignal,
    options?: { readonly again: boolean },
  ): Promise<Step<T>>
  /** A self-test that begins after this call. Never rejects. */
  test(): Promise<Health>
  /** The result of a self-test that began after the latest insecure answer; undefined where there is nothing to doubt. */
  confirm(): Promise<Health> | undefined
  close(): void
}

/** A name that resolvers answer by themselves (RFC 6761 §6.3): one that refuses it refuses us. */
const LOCALHOST: Question = { name: 'localhost', type: 'A' }

/** A self-test asks for what any resolver has at hand; four tries in a row must not take longer than a quarter of a minute. */
const TEST_TIMEOUT_MS = 2500

export function upstream(server: TrustedServer, options: UpstreamOptions): Upstream {
  const { randomId, tcpOnly = false, names = { signedName: '.' }, onTurn } = options
  const { sockets = udpSockets(), room: forReplies = roomForReplies() } = options
  const testTimeoutMs = Math.min(options.timeoutMs, TEST_TIMEOUT_MS)
  let dialect: Dialect = 'edns'
  let lastAnswered: Question | undefined
  let isDoubted = false
  let validated: boolean | undefined

  const once = async <T extends RecordType>(
    question: Question & { readonly type: T },
    signal: AbortSignal,
    { by, timeoutMs }: { readonly by: Dialect; readonly timeoutMs: number },
  ): Promise<Step<T>> => {
    const how = { timeoutMs, signal, randomId, sockets, room: forReplies, dialect: by, tcpOnly }
    return judge(server, await exchange(server, question, how), question)
  }

  const ask = async <T extends RecordType>(
    question: Question & { readonly type: T },
    signal: AbortSignal,
    { again = false } = {},
  ): Promise<Step<T>> => {
    const { timeoutMs } = options
    let by = again && !server.trusted ? 'plain' : dialect
    let step = await once(question, signal, { by, timeoutMs })
    if (!server.trusted && by === 'edns' && mayBeForEdns(step)) {
      const plain = await once(question, signal, { by: 'plain', timeoutMs })
      if (plain.kind !== 'failed') [step, by] = [plain, 'plain']
    }
    if (step.kind === 'failed') return step
    if (!server.trusted) dialect = by
    lastAnswered = question
    if (step.security === 'insecure') isDoubted = true
    return step
  }

  /** By a resolver, so that the signed name may be an alias. */
  const tester = (by: Dialect, tries: number) =>
    resolverOver(
      async (question, signal) => {
        const how = { by, timeoutMs: testTimeoutMs }
        let step = await once(question, signal, how)
        for (let left = tries - 1; left > 0 && isLost(step); left--)
          step = await once(question, signal, how)
        return step
      },
      {
        deadlineMs: 2 * tries * testTimeoutMs,
        limits: limits(1, { abreast: 1, asideMs: testTimeoutMs, background: 1 }),
      },
    )
  const [overEdns, plainly, usually] = [tester('edns', 2), tester('plain', 1), tester('edns', 1)]

  /** Whether it has an answer for a name other than the signed one. */
  const answersOthers = async (cause: FailureCause | undefined): Promise<boolean> => {
    const refuses = cause === 'refused' || cause === 'rcode'
    const other = lastAnswered ?? (refuses ? LOCALHOST : undefined)
    if (other === undefined) return false
    const asks = dialect === 'plain' ? plainly : usually
    return (await asks.resolve(other.name, other.type)).kind !== 'failed'
  }

  const findOut = async (): Promise<Health> => {
    const name = serverText(server)
    const usual = await selfTest(overEdns, names)
    if (usual.state !== 'unreachable') {
      dialect = 'edns'
      return { ...usual, detail: `${name}: ${usual.detail}` }
    }
    const plain = await selfTest(plainly, names)
    if (plain.state !== 'unreachable') {
      dialect = 'plain'
      if (plain.state === 'validating') return { ...plain, detail: `${name}: ${plain.detail}` }
      return {
        state: 'blind',
        cause: 'no-edns',
        detail: `${usual.detail}; without EDNS it answers`,
      }
    }
    if (!(await answersOthers(usual.cause))) return usual
    return { state: 'blind', cause: 'untestable', detail: usual.detail }
  }

  const tests = turns(async (): Promise<Health> => {
    isDoubted = false
    const health = await findOut()
    const { state } = health
    if (state !== 'unreachable') {
      const hasTurned = validated !== undefined && validated !== (state === 'validating')
      validated = state === 'validating'
      if (hasTurned) onTurn?.()
    }
    return health
  })

  return {
    server,
    ask,
    test: () => tests.anew(),
    confirm() {
      if (!server.trusted) return undefined
      return isDoubted ? tests.anew() : tests.pending()
    },
    close() {
      for (const one of [overEdns, plainly, usually]) one.close()
    },
  }
}

/** What this server's reply, or its silence, says to the question. */
function judge<T extends RecordType>(
  server: TrustedServer,
  exchanged: Exchanged,
  question: Question & { readonly type: T },
): Step<T> {
  if (exchanged.kind === 'failed') {
    return failure(exchanged.cause, `${serverText(server)}: ${exchanged.why}`)
  }
  const { message } = exchanged
  const finding = interpret(message, question)
  if (finding.kind !== 'failed') {
    const isSecure = server.trusted && message.head.authenticData && message.leftOver === 0
    return { ...finding, security: isSecure ? 'secure' : 'insecure' }
  }
  return failureWith(message, finding.cause, `${serverText(server)}: ${finding.why}`)
}

/** RFC 6891 §7: FORMERR, NOTIMP and, seen in the wild, SERVFAIL and replies that make no sense. */
function mayBeForEdns(step: Step<RecordType>): boolean {
  return step.kind === 'failed' && ['rcode', 'servfail', 'malformed'].includes(step.cause)
}

function isLost(step: Step<RecordType>): boolean {
  return step.kind === 'failed' && ['timeout', 'malformed'].includes(step.cause)
}
