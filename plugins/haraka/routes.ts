/**
 * Hosts that another plugin names for a message, in any of the forms that Haraka takes: which of them have a policy of their own,
 * and what it demands. An entry that cannot be dialled is told instead of tried.
 */
import { isIP } from 'node:net'
import type { RouteHost } from '../delivery/gather'
import type { Treatment } from '../delivery/planner'
import type { Plan } from '../delivery/types'
import type { PlanReason } from '../reasons/codes'
import type { MessageDemand } from '../requiretls/demand'
import { withoutName } from './without-name'
import type { HopRule } from './without-name'
import { errorText } from './attempt'
import type { Mark } from './attempt'
import { settleDial, shown, textOf } from './dial'
import type { HarakaMx, HarakaMxClass, HMailItem } from './types'

type TagDemand = Exclude<MessageDemand, 'tls-required-no'>

export interface RoutesOptions {
  readonly harakaMx: HarakaMxClass
  readonly treatment: (host: string) => Treatment
  readonly planForRoute: (route: RouteHost, demand: MessageDemand | undefined) => Promise<Plan>
  /** The operator's word on REQUIRETLS at a host or address (`[requiretls_hops]`). */
  readonly requiretlsHop: (host: string) => HopRule | undefined
  /** Rejects where a decision for which mail waits takes too long. */
  readonly inTime: (plan: Promise<Plan>) => Promise<Plan>
  /** In mode observe: says what enforcing would have done. */
  readonly lookedAt: (hmail: HMailItem, plan: Promise<Plan>) => Promise<Plan>
  /** In mode observe: says of an entry that enforcing would have refused it. */
  readonly wouldRefuse: (hmail: HMailItem, detail: string) => void
}

/** What is to be done about one entry. */
export type Route =
  /** Haraka's business alone, or watched. */
  | { readonly kind: 'left'; readonly mx: HarakaMx; readonly mark: Mark }
  | { readonly kind: 'planned'; readonly mx: HarakaMx; readonly plan: Plan }
  /** `host`: where the entry names one. */
  | {
      readonly kind: 'refused'
      readonly host: string | undefined
      readonly detail: string
      /** Left out: it cannot be dialled. */
      readonly reason?: PlanReason
    }

export interface Routes {
  /**
   * @param answer What the other plugin gave to Haraka.
   * @param demand Of the message. `TLS-Required: No` takes nothing from a host that the operator has named.
   * @returns undefined for a null MX, which is Haraka's to bounce
   */
  plan(
    hmail: HMailItem,
    answer: unknown,
    demand?: MessageDemand,
  ): Promise<readonly Route[] | undefined>
}

export function createRoutes(options: RoutesOptions): Routes {
  const { planForRoute, inTime, lookedAt, wouldRefuse } = options

  /** An entry of our own: a plugin may give the same one for each message. */
  function read(item: unknown): HarakaMx {
    if (item === null || item === undefined) throw new Error('it names no host')
    const mx = new options.harakaMx(textOf(item) ?? item)
    return Object.assign(Object.create(Object.getPrototypeOf(mx) as object) as HarakaMx, mx)
  }

  async function planItem(
    hmail: HMailItem,
    item: unknown,
    tag: TagDemand | undefined,
  ): Promise<Route> {
    let mx: HarakaMx
    try {
      mx = read(item)
    } catch (err: unknown) {
      const detail = `${shown(item)}, which another plugin gave, cannot be dialled: ${errorText(err)}`
      return { kind: 'refused', host: undefined, detail }
    }
    const host = textOf(mx.exchange)
    const treatment = tag ? 'enforce' : options.treatment(host ?? '')
    const why = settleDial(mx)
    if (why === undefined) return planEntry(hmail, mx, treatment, tag)
    const detail = `another plugin's route cannot be dialled: ${why}`
    if (treatment === 'enforce') return { kind: 'refused', host: host || undefined, detail }
    if (treatment === 'observe') wouldRefuse(hmail, detail)
    return { kind: 'left', mx, mark: { kind: 'untouched', hmail } }
  }

  async function planEntry(
    hmail: HMailItem,
    mx: HarakaMx,
    treatment: Treatment,
    tag: TagDemand | undefined,
  ): Promise<Route> {
    const { exchange, port } = mx
    if (!exchange || !port || mx.path || mx.using_lmtp || isIP(exchange) !== 0) {
      const left = { kind: 'left', mx, mark: { kind: 'untouched', hmail } } as const
      return tag === 'requiretls' ? withoutName(left, options.requiretlsHop) : left
    }
    const route = { host: exchange, port }
    switch (treatment) {
      case 'off':
        return { kind: 'left', mx, mark: { kind: 'untouched', hmail } }
      case 'observe': {
        const plan = lookedAt(hmail, planForRoute(route, undefined))
        return { kind: 'left', mx, mark: { kind: 'watched', hmail, plan } }
      }
      case 'enforce':
        return { kind: 'planned', mx, plan: await inTime(planForRoute(route, tag)) }
    }
  }

  return {
    plan(hmail, answer, demand) {
      const tag = demand === 'tls-required-no' ? undefined : demand
      const items = Array.isArray(answer) ? (answer as unknown[]) : [answer]
      if (items.length === 1 && isNullMx(items[0])) return Promise.resolve(undefined)
      return Promise.all(items.map((item) => planItem(hmail, item, tag)))
    },
  }

  /** As Haraka has it (RFC 7505): any other entry without a host it would take for this very machine. */
  function isNullMx(item: unknown): boolean {
    try {
      const { exchange, priority, path } = read(item)
      return exchange === '' && priority === 0 && !path
    } catch {
      return false
    }
  }
}
