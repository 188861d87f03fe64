/**
 * The `getdns` backend: getdns validates in a process of its own, from a trust anchor down, whatever servers it asks and
 * whatever lies on the way to them. What it judged is then read here, strictly, like any other reply. Promises: secure
 * and insecure are getdns's own proofs; bogus, indeterminate and everything that goes wrong is a failure.
 */
import { accessSync, constants } from 'node:fs'
import { createRequire } from 'node:module'
import { provesExistence } from './denial'
import { limits } from './gate'
import { getdnsProcess, type GetdnsProcessOptions, type Usable, type Word } from './getdns-process'
import {
  failure,
  failureWith,
  resolverOver,
  type Ask,
  type ClosableResolver,
  type Step,
} from './lookup'
import { RECORD_TYPES } from './rdata'
import { interpret } from './reply'
import type { Server } from './servers'
import type { LineClock } from './time-limit'
import type { RecordType } from './types'
import { answersQuestion, decodeMessage, type Question } from './wire'

export interface GetdnsOptions {
  readonly servers: readonly Server[]
  /** From findGetdns. */
  readonly modulePath: string
  /** A file with the root's DNSKEY or DS records; where absent, the system's. */
  readonly trustAnchor?: string
  /** For one question, milliseconds. */
  readonly timeoutMs: number
  /** For a whole lookup with all its aliases, milliseconds. */
  readonly deadlineMs: number
  readonly concurrency: number
  readonly now: () => number
  /** Told of the line. */
  readonly clock?: LineClock
  readonly start?: GetdnsProcessOptions['start']
}

export interface GetdnsResolver extends ClosableResolver {
  /** Whether the package and its library could be loaded; starts the child for it. */
  usable(): Promise<Usable>
}

/** Where distributions keep the root's keys; getdns's own default would fetch them from the network. */
const SYSTEM_ANCHORS: readonly string[] = ['/usr/share/dns/root.key', '/var/lib/unbound/root.key']

/** Each lookup is several questions to the servers at once; more of them abreast were seen to lose datagrams. */
const ABREAST = 32
/** A validation from scratch takes about as long. */
const ASIDE_MS = 100
/** Octets of a reply over TCP (RFC 1035 §4.2.2). */
const LARGEST_REPLY = 65_535
/** Each has sockets of its own in the child, which may have no more than 1024 descriptors. */
const MOST = 256

/**
 * Where the optional package is, without loading it.
 * @param folder of the package itself, in place of the one that `require` finds
 */
export function findGetdns(folder?: string): string | undefined {
  try {
    return createRequire(__filename).resolve(folder ?? 'getdns')
  } catch {
    // Not installed: an ordinary answer to this question.
    return undefined
  }
}

/** Makes the resolver; its child is started by the first lookup. */
export function getdnsResolver(options: GetdnsOptions): GetdnsResolver {
  const { servers, modulePath, timeoutMs, now, start } = options
  const trustAnchor = options.trustAnchor ?? SYSTEM_ANCHORS.find(isReadable)
  const child = getdnsProcess({
    modulePath,
    upstreams: servers.map(({ address, port }) => [address, port] as const),
    timeoutMs,
    now,
    ...(trustAnchor === undefined ? {} : { trustAnchor }),
    ...(start === undefined ? {} : { start }),
  })

  /** getdns itself does not ask again when a datagram is lost. */
  const askTwice = async (name: string, code: number, signal: AbortSignal): Promise<Word> => {
    const word = await child.ask(name, code, signal)
    const isLost = word.kind === 'failed' && word.cause === 'timeout' && !signal.aborted
    return isLost ? child.ask(name, code, signal) : word
  }

  const ask: Ask = async <T extends RecordType>(
    question: Question & { readonly type: T },
    signal: AbortSignal,
  ): Promise<Step<T>> => {
    const word = await askTwice(`${question.name}.`, RECORD_TYPES[question.type].code, signal)
    if (word.kind === 'failed') return failure(word.cause, `getdns: ${word.why}`)
    const { buffer, byteOffset, length } = word.octets
    if (length > LARGEST_REPLY)
      return failure('malformed', 'getdns: longer than a DNS message can be')
    const decoded = decodeMessage(Buffer.from(buffer, byteOffset, length))
    if (!decoded.ok) return failure('malformed', `getdns: ${decoded.why}`)
    const { message } = decoded
    if (word.validity === 'bogus') {
      return failureWith(message, 'bogus', `getdns: the data for ${question.name}. is bogus`)
    }
    if (word.validity === 'indeterminate') {
      return failureWith(message, 'servfail', 'getdns: cannot tell whether the data is secure')
    }
    if (!answersQuestion(message, question)) {
      return failure('malformed', 'getdns: answers another question')
    }
    const finding = interpret(message, question)
    if (finding.kind === 'failed') {
      return failureWith(message, finding.cause, `getdns: ${finding.why}`)
    }
    const last = finding.aliases.at(-1) ?? question.name
    if (
      finding.kind === 'nxdomain' &&
      word.validity === 'secure' &&
      provesExistence(message, last)
    ) {
      return failure('bogus', `getdns: NXDOMAIN for ${last}., which the reply proves to exist`)
    }
    return { ...finding, security: word.validity }
  }

  const resolver = resolverOver(ask, {
    deadlineMs: options.deadlineMs,
    limits: limits(Math.min(options.concurrency, MOST), {
      abreast: ABREAST,
      asideMs: ASIDE_MS,
      background: 8,
    }),
    now,
    ...(options.clock === undefined ? {} : { clock: options.clock }),
  })
  return {
    resolve: (name, type, resolveOptions) => resolver.resolve(name, type, resolveOptions),
    usable: () => child.usable(),
    close() {
      resolver.close()
      child.close()
    },
  }
}

/** Can this process read the file? */
export function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK)
    return true
  } catch {
    // Absent or not ours to read: the next one.
    return false
  }
}
