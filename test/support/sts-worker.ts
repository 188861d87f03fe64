/**
 * One worker of a cluster, as a process of its own: the policy cache on a real store and real HTTPS, with a DNS that says
 * that rcpt.test and its policy host are at the address given. It is told what to do by messages.
 */
import { fetchPolicy } from '../../plugins/mta-sts/fetch'
import { createStsPolicies } from '../../plugins/mta-sts/policies'
import { createStore } from '../../plugins/store'
import type { Logger, StoreSettings } from '../../plugins/store/types'
import { scriptedResolver, secure, txt } from './scripted-resolver'

export interface WorkerSettings {
  readonly store: StoreSettings
  readonly ca: string
  readonly port: number
  readonly leaseMs: number
}

export interface WorkerAnswer {
  readonly kind: string
  readonly mode?: string
  readonly problem?: string
  readonly ms: number
}

/** Moves the worker's clock on from the real time, and refreshes what is due then; the answer is the number of fetches. */
export interface RefreshRequest {
  readonly refreshAfterMs: number
}

async function main(settings: WorkerSettings): Promise<void> {
  const log: Logger = {
    info: () => undefined,
    notice: () => undefined,
    warn: (text) => console.error(`warn ${text}`),
    error: (text) => console.error(`error ${text}`),
  }
  const resolver = scriptedResolver({
    '_mta-sts.rcpt.test': { TXT: secure(txt('v=STSv1; id=1;')) },
    'mta-sts.rcpt.test': { A: secure('127.0.0.1') },
  })
  const { ca, port, leaseMs } = settings
  let moved = 0
  const clock = (): number => Date.now() + moved
  const store = await createStore(settings.store, { log, now: clock })
  const policies = createStsPolicies({
    resolver,
    store,
    fetch: (domain, signal) =>
      fetchPolicy({ domain, resolver, ca, port, signal, timeoutMs: 20_000, maxBody: 65_536, allowPrivate: true }),
    clock,
    random: Math.random,
    log,
    settings: { fetchTimeoutMs: 20_000, refreshIntervalMs: 86_400_000, leaseMs },
  }) // prettier-ignore
  const look = async (): Promise<WorkerAnswer> => {
    const started = Date.now()
    const lookup = await policies.lookup('rcpt.test')
    const ms = Date.now() - started
    const problem = 'problem' in lookup ? { problem: lookup.problem?.reason ?? '' } : {}
    if (lookup.kind !== 'policy') return { kind: lookup.kind, ms, ...problem }
    return { kind: lookup.kind, mode: lookup.known.policy.mode, ms, ...problem }
  }
  process.on('message', (count: number | RefreshRequest) => {
    if (typeof count !== 'number') {
      moved = count.refreshAfterMs
      void policies.refreshDue().then((fetched) => process.send?.(fetched))
      return
    }
    void Promise.all(Array.from({ length: count }, look)).then((answers) => process.send?.(answers))
  })
  process.on('disconnect', () => process.exit(0))
  process.send?.('ready')
}

if (require.main === module) {
  void main(JSON.parse(process.env['STS_WORKER'] ?? '') as WorkerSettings)
}
