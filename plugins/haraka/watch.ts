/**
 * Mode observe: listens to a session that Haraka holds by itself, and says what enforcing would have done. Touches nothing: mail
 * goes as without the plugin.
 */
import { endOfLost, endOfPlan, endOfTried, endWithoutHost } from '../delivery/host-end'
import type { HostEnd, Met } from '../delivery/host-end'
import type { Plan, PlannedHost } from '../delivery/types'
import { errorText } from './attempt'
import { held } from './held'
import { listen } from './listen'
import type { ContextSettings } from './tls-context'
import type { HarakaMx, HarakaSocket } from './types'

export interface WatchOptions {
  readonly mx: HarakaMx
  readonly plan: Promise<Plan>
  readonly settings: ContextSettings
  readonly now: () => Date
  readonly ended: (end: HostEnd) => void
}

/** Call it once Haraka has its socket. */
export function watch(socket: HarakaSocket, options: WatchOptions): void {
  const { mx, settings, now } = options
  let told: Promise<HostEnd | undefined> | undefined
  listen(socket, addressOf(mx), {
    onHeard: (heard) => {
      const askedFor = mx.from_dns ?? mx.exchange
      told = tell(options, held(heard, { settings, now: now(), askedFor, judges: true }))
    },
    onLost: (detail) => {
      told
        ?.then((end) => {
          if (end !== undefined && end.verdict !== 'refused') options.ended(endOfLost(end, detail))
        })
        .catch(ignore)
    },
  })
}

/** There was no connection. */
export function watchFailure(
  err: unknown,
  options: Pick<WatchOptions, 'mx' | 'plan' | 'ended'>,
): void {
  const session = { stage: 'connect', peer: addressOf(options.mx) } as const
  const detail = errorText(err)
  tell(options, () => ({ kind: 'failed', reason: 'connect-failed', detail, session })).catch(ignore)
}

/** Never rejects. */
async function tell(
  { mx, plan, ended }: Pick<WatchOptions, 'mx' | 'plan' | 'ended'>,
  meet: (planned: PlannedHost) => Met,
): Promise<HostEnd | undefined> {
  try {
    const settled = await plan
    const planned = plannedFor(settled, mx)
    if (planned === undefined) return undefined
    const { nextHop: domain, facts } = settled
    const tried = { mode: 'observe', domain, facts, planned, address: addressOf(mx) } as const
    const end = endOfTried(tried, meet(planned))
    ended(end)
    return end
  } catch {
    // A plan that failed has been told of where it was asked for; and what is only watched must not end the process.
    return undefined
  }
}

function ignore(): void {
  // What is only watched may go untold, but must not end the process.
}

/** Says at once where enforcing would have opened no connection at all. Mail never waits for it. */
export function watchPlan(
  plan: Promise<Plan>,
  domain: string,
  ended: (end: HostEnd) => void,
): Promise<Plan> {
  plan
    .then(
      (settled) => {
        const { nextHop, outcome } = settled
        if (outcome.kind === 'hosts') return
        ended(endOfPlan({ ...settled, outcome }, { mode: 'observe', domain: nextHop }))
      },
      (err: unknown) => {
        const why = { reason: 'decision-failed', detail: errorText(err) } as const
        ended(endWithoutHost({ mode: 'observe', domain, facts: undefined }, why))
      },
    )
    .catch(ignore)
  return plan
}

function addressOf({ exchange, path }: HarakaMx): string {
  return exchange ?? String(path)
}

/** By its name, where Haraka tells one: hosts may share an address. */
export function plannedFor({ outcome }: Plan, mx: HarakaMx): PlannedHost | undefined {
  if (outcome.kind !== 'hosts') return undefined
  const names = [mx.from_dns, mx.exchange].map((name) => name?.toLowerCase())
  return (
    outcome.hosts.find(({ host }) => names.includes(host)) ??
    outcome.hosts.find(
      ({ addresses }) => mx.exchange !== undefined && addresses.includes(mx.exchange),
    )
  )
}
