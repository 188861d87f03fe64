/**
 * Entries of Haraka's MX list: out of a plan, one for each address of each host, marked with what the host must fulfil; hosts that
 * are not used are told instead.
 */
import { isIP } from 'node:net'
import { mxIsSecure } from '../delivery/decide'
import type { Plan, PlannedHost } from '../delivery/types'
import { MARK, policyOf } from './attempt'
import type { Mark, PlannedAttempt } from './attempt'
import type { Endings } from './endings'
import type { Route } from './routes'
import type { HarakaMx, HarakaMxClass, HMailItem } from './types'

export type MarkedMx = HarakaMx & { [MARK]?: Mark }

export interface EntriesOptions {
  readonly harakaMx: HarakaMxClass
  readonly endings: Pick<Endings, 'noteFailure'>
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
      const { host, requirement, policy, port, preference } = planned
      if (requirement.level === 'refuse') {
        const { reason, detail } = requirement
        endings.noteFailure(hmail, attempt, { host, policy, require: 'refuse', reason, detail })
        return []
      }
      const mark: Mark = { kind: 'planned', attempt, planned, mxSecure: mxIsSecure(plan.facts) }
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
        refuse(hmail, attempt, route.detail, route.host)
        return []
      case 'planned': {
        const { outcome, nextHop } = route.plan
        if (outcome.kind === 'hosts') {
          return ofHosts(hmail, attempt, route.plan, outcome.hosts, route.mx)
        }
        // Whatever is wrong with a relay, mail does not go back for it.
        const { reason, detail } = outcome
        const policy = policyOf(outcome)
        endings.noteFailure(hmail, attempt, {
          host: nextHop,
          policy,
          require: 'refuse',
          reason,
          detail,
        })
        return []
      }
    }
  }

  function refuse(hmail: HMailItem, attempt: PlannedAttempt, detail: string, host?: string): void {
    endings.noteFailure(hmail, attempt, {
      ...(host === undefined ? {} : { host }),
      policy: 'none',
      require: 'refuse',
      reason: 'bad-route',
      detail,
    })
  }

  return {
    ofHosts,
    ofRoutes(hmail, attempt, routes) {
      if (routes.length === 0) refuse(hmail, attempt, "another plugin's route names no host")
      return routes.flatMap((route) => ofRoute(hmail, attempt, route))
    },
  }
}

function marked(mx: HarakaMx, mark: Mark): HarakaMx {
  const entry: MarkedMx = mx
  entry[MARK] = mark
  return entry
}
