/**
 * The process in which getdns lives: native code that must not be able to take its users down with it. Started by
 * getdns-process.ts, speaks getdns-protocol.ts, ends when its parent is gone. It judges nothing but what getdns says of
 * a reply's validity; anything that it does not know is a failure.
 */
import { createRequire } from 'node:module'
import type { Ask, FromChild, Open, ToChild, Validity } from './getdns-protocol'

/** What of getdns's interface is used here; its package brings no types. */
interface Getdns {
  readonly RESOLUTION_STUB: number
  readonly DNSSEC_SECURE: number
  readonly DNSSEC_BOGUS: number
  readonly DNSSEC_INDETERMINATE: number
  readonly DNSSEC_INSECURE: number
  readonly CALLBACK_TIMEOUT: number
  readonly RESPSTATUS_ALL_TIMEOUT: number
  createContext(options: object): Context
}

interface Context {
  general(name: string, code: number, extensions: object, done: Done): unknown
}

type Done = (error: unknown, result: unknown) => void

/** Bogus replies are shown too, as such: otherwise they cannot be told from silence. */
const EXTENSIONS = { dnssec_return_status: true, dnssec_return_all_statuses: true }

/**
 * How far clocks may differ (RFC 4034 §3.1.5 leaves it open; Unbound grants as much). Without it, getdns calls bogus what was
 * signed in this very second, or by a signer whose clock is ahead of ours.
 */
const SKEW_SECONDS = 3600

let opened: { getdns: Getdns; context: Context } | undefined
let whyNot = 'not opened yet'

process.on('disconnect', () => process.exit())
process.on('message', (message: ToChild) => {
  if (message.kind === 'open') open(message)
  else ask(message)
})

function open({ modulePath, upstreams, trustAnchor, timeoutMs }: Open): void {
  try {
    const getdns = createRequire(__filename)(modulePath) as Getdns
    const context = getdns.createContext({
      resolution_type: getdns.RESOLUTION_STUB,
      upstreams,
      timeout: timeoutMs,
      dnssecallowedskew: SKEW_SECONDS,
      ...(trustAnchor === undefined ? {} : { trustanchor: trustAnchor }),
    })
    opened = { getdns, context }
    tell({ kind: 'opened' })
  } catch (error: unknown) {
    whyNot = `getdns refuses: ${textOf(error)}`
    tell({ kind: 'unusable', why: whyNot })
  }
}

/**
 * getdns's JavaScript side turns octets that happen to look like a domain name into a string that cannot be turned
 * back; a whole message does so in one of some fifty cases, depending on its random id. Another id helps.
 */
const TRIES = 6

function ask(question: Ask, triesLeft = TRIES): void {
  const { id, name, code } = question
  if (opened === undefined) return tell({ kind: 'failed', id, cause: 'network', why: whyNot })
  const { getdns, context } = opened
  try {
    context.general(name, code, EXTENSIONS, (error, result) => {
      if (isUnreadable(result) && triesLeft > 1) ask(question, triesLeft - 1)
      else tell(verdict(getdns, id, error, result))
    })
  } catch (error: unknown) {
    tell({ kind: 'failed', id, cause: 'network', why: textOf(error) })
  }
}

function isUnreadable(result: unknown): boolean {
  return isRecord(result) && typeof listOf(result['replies_full'])[0] === 'string'
}

function verdict(getdns: Getdns, id: number, error: unknown, result: unknown): FromChild {
  if (!isRecord(result)) {
    const isTimeout = isRecord(error) && error['code'] === getdns.CALLBACK_TIMEOUT
    return { kind: 'failed', id, cause: isTimeout ? 'timeout' : 'network', why: textOf(error) }
  }
  const replies = listOf(result['replies_full'])
  const trees = listOf(result['replies_tree'])
  const [octets] = replies
  const [tree] = trees
  // One question was asked: what its one reply is judged to be must be about the octets handed on.
  if (replies.length !== 1 || trees.length !== 1 || !isOctets(octets) || !isRecord(tree)) {
    const isTimeout = result['status'] === getdns.RESPSTATUS_ALL_TIMEOUT
    const why = `no reply (getdns status ${String(result['status'])})`
    return { kind: 'failed', id, cause: isTimeout ? 'timeout' : 'network', why }
  }
  return { kind: 'reply', id, validity: validityOf(getdns, tree['dnssec_status']), octets }
}

function validityOf(getdns: Getdns, status: unknown): Validity {
  switch (status) {
    case getdns.DNSSEC_SECURE:
      return 'secure'
    case getdns.DNSSEC_INSECURE:
      return 'insecure'
    case getdns.DNSSEC_BOGUS:
      return 'bogus'
    default:
      return 'indeterminate'
  }
}

function tell(message: FromChild): void {
  process.send?.(message)
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function isOctets(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array
}

function textOf(error: unknown): string {
  if (error instanceof Error) return error.message
  if (isRecord(error) && typeof error['msg'] === 'string') return error['msg']
  return 'getdns gave no reason'
}
