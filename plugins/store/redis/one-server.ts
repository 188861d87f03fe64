/**
 * The connections to one server, which may be another one later: one over which is asked, and one over which changes are heard of.
 */
import type { Connection } from './connection'
import { keepClient, type KeptClient, PING, type Target } from './kept-client'
import { inWords } from '../outcome'

/** Milliseconds between two looks whether a master is to be found where a replica was. */
const REDIAL = 60_000

/**
 * @param where the server is; asked before each attempt to connect
 * @param check called now and then with the clients in use
 */
export function toServer(
  where: () => Target | Promise<Target>,
  check?: (clients: readonly KeptClient[]) => Promise<void>,
): Connection {
  const main = keepClient({ where })
  const ticks = () => performance.now()
  let redialled = -Infinity
  const clients = [main]
  const watch = check && setInterval(() => void check(clients).catch(() => undefined), PING).unref()
  return {
    async ask(call) {
      await main.firstTry
      const client = main.client()
      if (client === undefined) throw asError(main.trouble() ?? 'no connection yet')
      try {
        return await call(client)
      } catch (err) {
        // It has become a replica: the master is elsewhere, perhaps under the same name.
        if (/^READONLY/.test(inWords(err)) && ticks() - redialled >= REDIAL) {
          redialled = ticks()
          main.redial()
        }
        throw asError(client.isReady ? err : (main.trouble() ?? err))
      }
    },
    isWhole: () => main.client() !== undefined,
    listen: (onReady) => void clients.push(keepClient({ where, onReady })),
    leave() {
      clearInterval(watch)
      for (const client of clients) client.leave()
    },
  }
}

export function asError(err: unknown): Error {
  return err instanceof Error ? err : new Error(inWords(err))
}
