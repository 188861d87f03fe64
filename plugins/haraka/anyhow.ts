/**
 * Mail that rather goes with less than not at all: notifications of tagged messages, and what says `TLS-Required: No` (RFC 8689
 * §4.2.2, §5). When the first round has found no host, this says whom there is to try once more, and how. Never more than
 * once an attempt, never for hosts that another plugin names, and with them never for credentials.
 */
import type { HostEnd, SessionEnd } from '../delivery/host-end'
import { isRefused } from '../delivery/host-end'
import type { Plan, PlannedHost } from '../delivery/types'
import { offersStartTls } from './reply-reader'
import type { HarakaSocket } from './types'

/** What of a host's end counts here. */
export type FirstEnd = Pick<HostEnd, 'host' | 'address' | 'verdict' | 'require' | 'reason'> & {
  readonly session?: Pick<SessionEnd, 'stage'>
}

/** @param ends of the first round */
export function secondRound(
  { outcome, facts }: Pick<Plan, 'outcome' | 'facts'>,
  ends: readonly FirstEnd[],
): readonly PlannedHost[] {
  if (outcome.kind !== 'hosts' || outcome.then === undefined || facts.mx.kind === 'route') return []
  return outcome.then
    .filter((planned) => !isRefused(planned))
    .map((planned) => {
      const addresses = planned.addresses.filter((address) => isWorthIt(planned, address, ends))
      return { ...planned, addresses }
    })
    .filter(({ addresses }) => addresses.length > 0)
}

function isWorthIt(planned: PlannedHost, address: string, ends: readonly FirstEnd[]): boolean {
  const { host, requirement } = planned
  const end = ends.findLast((one) => one.host === host && one.address === address)
  return requirement.level === 'opportunistic' && requirement.withoutTls
    ? end !== undefined && failedForTls(end)
    : end?.reason !== 'connect-failed'
}

/** TLS itself failed, in a session that asked for no more: without it the host may take the message. */
function failedForTls({ verdict, require, reason, session }: FirstEnd): boolean {
  if (verdict !== 'refused' || require !== 'encrypt') return false
  const stage = session?.stage
  return reason === 'starttls-not-offered' || stage === 'starttls' || stage === 'handshake'
}

/** STARTTLS has failed here: Haraka must not try it again, for a refusal would end the attempt, or the message. */
export function hideStartTls(socket: HarakaSocket): void {
  const realEmit = socket.emit.bind(socket)
  socket.emit = (name: string | symbol, ...args: unknown[]): boolean => {
    if (name !== 'line') return realEmit(name, ...args)
    const [line, ...more] = args
    return realEmit(name, hidden(String(line)), ...more)
  }
}

function hidden(line: string): string {
  const [, code, text] = /^(\d{3}[ -])([^\r\n]*)/.exec(line) ?? []
  if (code === undefined || text === undefined) return line
  return offersStartTls({ code: 250, lines: [text] }) ? `${code}X-STARTTLS-FAILED\r\n` : line
}
