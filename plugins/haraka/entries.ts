/**
 * Entries of Haraka's MX list: out of a plan, one for each address of each host, marked with what the host must fulfil; hosts that
 * are not used are told instead.
 */
import { isIP } from 'node:net'
import { endOfPlan, endOfRefused, endWithoutHost, isRefused } from '../delivery/host-end'
import type { Plan, PlannedHost } from '../delivery/types'
import { MARK } from './attempt'
import type { Mark, MarkedMx, PlannedAttempt } from './attempt'
import type { Endings } from './endings'
import type { Route } from './routes'
import type { HarakaMx, HarakaMxClass, HMailItem } from './types'

export interface EntriesOptions {
  readonly harakaMx: HarakaMxClass
  readonly endings: Pick<Endings, 'ofHost'>
}

export interface Entries {
  /** @param template What another plugin named the host with: bind, credentials. */
  ofHosts(
    hmail: HMailItem,
    attempt: PlannedAttempt,
    plan: Plan,
    hosts: readonly PlannedHost[],
    template?: HarakaMx,
  ): readonly HarakaMx[]
  ofRoutes(hmail: HMailItem, attempt: PlannedAttempt, routes: readonly Route[]): readonly HarakaMx[]
}

export function createEntries({ harakaMx, endings }: EntriesOptions): Entries {
  const ofHosts: Entries['ofHosts'] = (hmail, attempt, plan, hosts, template = {}) =>
    hosts.flatMap((planned) => {
      const { host, port, preference } = planned
      if (isRefused(planned)) {
        const { domain } = attempt
        const { facts } = plan
        endings.ofHost(hmail, attempt, endOfRefused({ mode: 'enforce', domain, facts }, planned))
        return []
      }
      const mark: Mark = { kind: 'planned', hmail, attempt, plan, planned, forced: false }
      return planned.addresses.map((address) => {
        const entry = new harakaMx({
          priority: preference,
          ...template,
          exchange: address,
          // Haraka makes SNI of it, which is never an address (RFC 6066 section 3).
          ...(isIP(host) === 0 ? { from_dns: host } : {}),
          port,
        })
        return marked(entry, mark)
      })
    })

  function ofRoute(hmail: HMailItem, attempt: PlannedAttempt, route: Route): readonly HarakaMx[] {
    switch (route.kind) {
      case 'left':
        return [marked(route.mx, route.mark)]
      case 'refused':
        refuse(hmail, attempt, route)
        return []
      case 'planned': {
        const { plan } = route
        const { outcome, nextHop: host } = plan
        if (outcome.kind === 'hosts') return ofHosts(hmail, attempt, plan, outcome.hosts, route.mx)
        // Whatever is wrong with a relay, mail does not go back for it.
        const where = { mode: 'enforce', domain: attempt.domain, host } as const
        endings.ofHost(hmail, attempt, endOfPlan({ ...plan, outcome }, where))
        return []
      }
    }
  }

  function refuse(
    hmail: HMailItem,
    attempt: PlannedAttempt,
    { host, detail, reason = 'bad-route' }: Omit<Extract<Route, { kind: 'refused' }>, 'kind'>,
  ): void {
    const where = { mode: 'enforce', domain: attempt.domain, facts: undefined } as const
    endings.ofHost(hmail, attempt, endWithoutHost(where, { host, reason, detail }))
  }

  return {
    ofHosts,
    ofRoutes(hmail, attempt, routes) {
      if (routes.length === 0) {
        const detail = "another plugin's route names no host"
        refuse(hmail, attempt, { host: undefined, detail })
      }
      return routes.flatMap((route) => ofRoute(hmail, attempt, route))
    },
  }
}

function marked(mx: HarakaMx, mark: Mark): HarakaMx {
  const entry: MarkedMx = mx
  entry[MARK] = mark
  return entry
}
