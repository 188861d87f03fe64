/** Steps that must not be divided, in Lua; each script names its keys, so that a Cluster knows where it goes. */

/** Takes a lease that is free, or the owner's already. */
export const ACQUIRE = `local holder = redis.call('get', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1`
/** Deletes a lease if it is still the owner's. */
export const RELEASE = `if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0`

/**
 * Sets a policy, or the mark that it was purged, and tells; one step, so that a listener cannot find the old one any more,
 * also in a Cluster, where the message may go by another node.
 */
export const SET_AND_TELL = `redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('publish', ARGV[3], ARGV[4]) return 1`

/** Takes due domains off the agenda, by planning it for later; one step for all workers of the cluster. */
export const TAKE_DUE = `local due = redis.call('zrangebyscore', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[4])
for _, domain in ipairs(redis.call('zrangebyscore', KEYS[1], '(' .. ARGV[2], '+inf', 'LIMIT', 0, ARGV[4])) do due[#due + 1] = domain end
for _, domain in ipairs(due) do redis.call('zadd', KEYS[1], ARGV[3], domain) end
return due`
