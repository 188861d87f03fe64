/** How the store calls its keys and its channel in Redis. Each begins with the prefix; those of a domain are on one node of a Cluster. */

export interface Keys {
  /** Of the messages that a policy has changed. */
  readonly channel: string
  /** The sorted set of all domains with a policy, by the time of their next look. */
  readonly index: string
  of(domain: string, kind: string): string
  lease(name: string): string
  /** Of a part of a day. */
  tally(day: number, part: number): string
  /** Of a part of the destinations whose mail is kept back. */
  waiting(part: number): string
  /** Of the name of all who share this store. */
  readonly cluster: string
}

export function keysWith(prefix: string): Keys {
  return {
    channel: `${prefix}:changed`,
    index: `${prefix}:domains`,
    of: (domain, kind) => `${prefix}:{${domain}}:${kind}`,
    lease: (name) => `${prefix}:lease:${name}`,
    tally: (day, part) => `${prefix}:tally:${day}:${part}`,
    waiting: (part) => `${prefix}:waiting:${part}`,
    cluster: `${prefix}:cluster`,
  }
}

/** @param ms lifetime */
export function px(ms: number): { expiration: { type: 'PX'; value: number } } {
  return { expiration: { type: 'PX', value: lifetime(ms) } }
}

/** Redis refuses a lifetime of nothing, and fractions. */
export function lifetime(ms: number): number {
  return Math.max(1, Math.round(ms))
}
