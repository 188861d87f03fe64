/**
 * A DNSSEC-aware stub resolver for Node: lookups that say secure, insecure or failed. Imports nothing else of this
 * package; docs/dnssec-stub.md tells how to use it in other projects.
 */
export {
  createResolver,
  MOST_UNDER_WAY,
  type ManagedResolver,
  type ResolverOptions,
} from './create'
export { cached, type CachedResolver, type CacheOptions } from './cache'
export { canonicalName } from './names'
export {
  monitor,
  selfTest,
  type Monitor,
  type MonitorOptions,
  type SelfTestNames,
} from './self-test'
export { systemServers, type SystemServers } from './resolv-conf'
export { parseServer, serverText, type Server, type TrustAd } from './servers'
export { timeLimit, type TimeLimit } from './time-limit'
export type * from './types'
