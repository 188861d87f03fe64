/**
 * A DNSSEC-aware stub resolver for Node: lookups that say secure, insecure or failed. A package of its own, which imports
 * nothing else of this repository but `bounded`; README.md tells how to use it.
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
export { timeLimit, type TimeLimit, whenOver } from './time-limit'
export type * from './types'
