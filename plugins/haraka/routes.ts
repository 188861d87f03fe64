/**
 * Hosts that another plugin names for a message, in any of the forms that Haraka takes: which of them have a policy of their own,
 * and what it demands.
 */
import { isIP } from 'node:net'
import type { RouteHost } from '../delivery/gather'
import type { Treatment } from '../delivery/planner'
import type { Plan } from '../delivery/types'
import type { Mark } from './attempt'
import type { HarakaMx, HarakaMxClass, HMailItem } from './types'

export interface RoutesOptions {
  readonly harakaMx: HarakaMxClass
  readonly treatment: (host: string) => Treatment
  readonly planForRoute: (route: RouteHost) => Promise<Plan>
  /** Rejects where a decision for which mail waits takes too long. */
  readonly inTime: (plan: Promise<Plan>) => Promise<Plan>
  /** In mode observe: says what enforcing would have done. */
  readonly lookedAt: (hmail: HMailItem, plan: Promise<Plan>) => Promise<Plan>
}

export interface Routes {
  /** @param answer What the other plugin gave to Haraka. */
  read(answer: unknown): {
    readonly kind: 'hosts' | 'null-mx'
    readonly list: readonly HarakaMx[]
  }
  /** What is owed to one of the hosts; with a mark, it is left to Haraka. */
  plan(hmail: HMailItem, mx: HarakaMx): Promise<Route>
}

export interface Route {
  readonly mx: HarakaMx
  readonly plan?: Plan
  readonly mark?: Mark
}

const SMTP_PORT = 25

export function createRoutes(options: RoutesOptions): Routes {
  const { planForRoute, inTime, lookedAt } = options

  return {
    read(answer) {
      const list = (Array.isArray(answer) ? (answer as unknown[]) : [answer]).map(
        (mx) => new options.harakaMx(mx as HarakaMx | string),
      )
      const isNullMx = list.length === 1 && list[0]?.exchange === '' && !list[0].path
      return { kind: isNullMx ? 'null-mx' : 'hosts', list }
    },
    async plan(hmail, mx) {
      const { exchange } = mx
      if (!exchange || mx.path || mx.using_lmtp || isIP(exchange) !== 0) {
        return { mx, mark: { kind: 'untouched' } }
      }
      const route = { host: exchange, port: mx.port ?? SMTP_PORT }
      switch (options.treatment(exchange)) {
        case 'off':
          return { mx, mark: { kind: 'untouched' } }
        case 'observe':
          return { mx, mark: { kind: 'watched', plan: lookedAt(hmail, planForRoute(route)) } }
        case 'enforce':
          return { mx, plan: await inTime(planForRoute(route)) }
      }
    },
  }
}
