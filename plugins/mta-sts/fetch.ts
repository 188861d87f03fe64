/**
 * Fetches the policy of a domain over HTTPS (RFC 8461 §3.3).
 *
 * Promises: one total deadline over DNS, TCP, TLS and HTTP; the addresses come from our resolver, are judged, and are the
 * ones connected to (a second lookup could be answered differently); every address gets its share of the time, so that
 * a dead IPv6 does not cost the policy. Never throws, never rejects.
 * Refuses: addresses that are not public, unless the operator allows them; and what https/open.ts and https-get.ts refuse.
 */
import net from 'node:net'
import type { TLSSocket } from 'node:tls'
import { timeLimit } from '../dnssec-stub'
import type { Resolver } from '../dnssec-stub/types'
import { addressesOf } from '../https/addresses'
import { openWithin, type TrustIn, trustIn } from '../https/open'
import { failure, getPolicy, type PolicyTarget } from './https-get'
import { oneLine } from './one-line'
import { parsePolicy } from './policy'
import type { StsPolicy, StsProblem } from './types'

export interface FetchOptions {
  /** The policy domain: lower case A-labels, no trailing dot. */
  readonly domain: string
  readonly resolver: Resolver
  /** PEM roots; left out: Node's own. */
  readonly ca?: string | undefined
  /** For many fetches: rememberTrust of https/open.ts. */
  readonly trust?: TrustIn
  /** Milliseconds for everything (RFC 8461 §3.3 suggests a minute). */
  readonly timeoutMs: number
  /** Octets of the body (RFC 8461 §3.3 suggests 64 KiB). */
  readonly maxBody: number
  /** Also connect to private, loopback and documentation addresses. */
  readonly allowPrivate: boolean
  readonly signal?: AbortSignal
  /** No mail waits for it. */
  readonly inBackground?: boolean | undefined
  /** Milliseconds, in all, in which lookups stood in line, which do not count; default: none. */
  readonly stoodInLineMs?: () => number
  /** 443 outside of tests. */
  readonly port?: number
  readonly connect?: PolicyTarget['connect']
}

export type FetchOutcome =
  /** `body` is what `policy` was parsed from. */
  | { readonly ok: true; readonly policy: StsPolicy; readonly body: Buffer }
  /** Treat as if the domain had no MTA-STS, unless an unexpired policy is cached (RFC 8461 §3.3). */
  | { readonly ok: false; readonly problem: StsProblem }

/** Milliseconds for TCP and TLS to one address while another one is left to try. */
const MAX_OPENING = 10_000

export async function fetchPolicy(options: FetchOptions): Promise<FetchOutcome> {
  const deadline = new AbortController()
  const abort = (): void => deadline.abort()
  const limit = timeLimit(options.timeoutMs, options.stoodInLineMs ?? (() => 0))
  limit.signal.addEventListener('abort', abort, { once: true })
  let timer: NodeJS.Timeout | undefined
  options.signal?.addEventListener('abort', abort, { once: true })
  if (options.signal?.aborted === true) abort()
  try {
    return await fetchWithin(options, deadline.signal, () => {
      // Nothing of it stands in line any more.
      timer = setTimeout(abort, options.timeoutMs)
    })
  } finally {
    limit.stop()
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', abort)
    abort()
  }
}

async function fetchWithin(
  options: FetchOptions,
  signal: AbortSignal,
  addressesFound: () => void,
): Promise<FetchOutcome> {
  const host = `mta-sts.${options.domain}`
  const found = await addressesOf(host, options, signal)
  addressesFound()
  if (!found.ok) return { ok: false, problem: fetchError(found.detail) }
  let problem = fetchError(`${host}: no time left`)
  for (const [index, address] of found.addresses.entries()) {
    if (signal.aborted) break
    const target: PolicyTarget = {
      host,
      address,
      port: options.port ?? 443,
      ca: options.ca,
      trust: options.trust ?? trustIn,
      maxBody: options.maxBody,
      connect: options.connect ?? ((to, port) => net.connect({ host: to, port })),
    }
    const left = found.addresses.length - index
    const share = left === 1 ? options.timeoutMs : options.timeoutMs / found.addresses.length
    const opened = await openWithin(
      target,
      left === 1 ? share : Math.min(share, MAX_OPENING),
      signal,
    )
    if (opened.ok) return read(opened.socket, target, signal)
    const reason = opened.kind === 'untrusted' ? 'sts-webpki-invalid' : 'sts-policy-fetch-error'
    problem = failure(reason, target, opened.detail).problem
  }
  return { ok: false, problem }
}

async function read(
  socket: TLSSocket,
  target: PolicyTarget,
  signal: AbortSignal,
): Promise<FetchOutcome> {
  const fetched = await getPolicy(socket, target, signal)
  if (!fetched.ok) return fetched
  const parsed = parsePolicy(fetched.body)
  if (parsed.ok) return { ok: true, policy: parsed.policy, body: fetched.body }
  return { ok: false, problem: { reason: 'sts-policy-invalid', detail: parsed.detail } }
}

function fetchError(detail: string): StsProblem {
  return { reason: 'sts-policy-fetch-error', detail: oneLine(detail) }
}
