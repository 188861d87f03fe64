/**
 * One page with the counts of all workers. Haraka's workers share their HTTP port, so whoever asks is answered by any of
 * them: that one asks the master, the master asks each worker, and the answers go back the same way.
 *
 * Promises: a worker that is starting, busy or gone costs a second and its own lines, never the page. Never rejects.
 */
import type { Cluster, Worker } from 'node:cluster'
import type { Snapshot } from './metrics-prometheus'

/** A worker to its master: what has everybody counted? */
interface Wanted {
  readonly event: 'tls-policy.metrics.wanted'
  readonly question: number
}
/** The master to each worker. */
interface Ask {
  readonly event: 'tls-policy.metrics.ask'
  readonly question: number
}
/** A worker's answer to its master. */
interface Told {
  readonly event: 'tls-policy.metrics.told'
  readonly question: number
  readonly snapshot: Snapshot
}
/** The master's answer to the worker that wanted to know. */
interface All {
  readonly event: 'tls-policy.metrics.all'
  readonly question: number
  readonly snapshots: readonly Snapshot[]
}
type Message = Wanted | Ask | Told | All

/** Milliseconds for the workers' answers, the census of policies (one second) among them. */
const PATIENCE = 2500
/** Milliseconds more until a worker believes that its master will not answer. */
const GRACE = 1000

/** In the master of a cluster: passes questions and answers on. @returns ends it */
export function relayMetrics(cluster: Cluster, patienceMs = PATIENCE): () => void {
  interface Question {
    readonly snapshots: Snapshot[]
    readonly open: Set<number>
    readonly finish: () => void
  }
  const questions = new Map<number, Question>()
  let count = 0

  const ask = (asker: Worker, theirs: number): void => {
    const ours = ++count
    const open = new Set<number>()
    const snapshots: Snapshot[] = []
    const finish = () => {
      clearTimeout(timer)
      questions.delete(ours)
      send(asker, { event: 'tls-policy.metrics.all', question: theirs, snapshots })
    }
    const timer = setTimeout(finish, patienceMs)
    questions.set(ours, { snapshots, open, finish })
    for (const worker of Object.values(cluster.workers ?? {})) {
      if (worker === undefined) continue
      open.add(worker.id)
      send(worker, { event: 'tls-policy.metrics.ask', question: ours })
    }
  }

  const settle = (worker: Worker, question: Question | undefined, snapshot?: Snapshot): void => {
    if (question?.open.delete(worker.id) !== true) return
    if (snapshot !== undefined) question.snapshots.push(snapshot)
    if (question.open.size === 0) question.finish()
  }

  const onMessage = (worker: Worker, message: unknown): void => {
    if (!isOurs(message)) return
    if (message.event === 'tls-policy.metrics.wanted') ask(worker, message.question)
    if (message.event === 'tls-policy.metrics.told') {
      settle(worker, questions.get(message.question), message.snapshot)
    }
  }
  const onExit = (worker: Worker): void => {
    for (const question of [...questions.values()]) settle(worker, question)
  }
  cluster.on('message', onMessage)
  cluster.on('exit', onExit)
  return () => {
    cluster.off('message', onMessage)
    cluster.off('exit', onExit)
    for (const { finish } of [...questions.values()]) finish()
  }
}

export interface Gathering {
  /** What each worker has counted, this one among them. */
  gather(): Promise<readonly Snapshot[]>
}

/** In a worker: answers for itself, and asks for all. One question at a time; who asks meanwhile shares its answer. */
export function gatherMetrics(
  channel: Pick<NodeJS.Process, 'on' | 'send'>,
  own: () => Promise<Snapshot>,
  patienceMs = PATIENCE + GRACE,
): Gathering {
  const waiting = new Map<number, (snapshots: readonly Snapshot[]) => void>()
  let count = 0
  let current: Promise<readonly Snapshot[]> | undefined

  const onMessage = (message: unknown): void => {
    if (!isOurs(message)) return
    const { question } = message
    if (message.event === 'tls-policy.metrics.ask') {
      own().then(
        (snapshot) => {
          send(channel, { event: 'tls-policy.metrics.told', question, snapshot })
        },
        () => undefined,
      )
    }
    if (message.event === 'tls-policy.metrics.all') waiting.get(question)?.(message.snapshots)
  }
  channel.on('message', onMessage)

  const ask = (): Promise<readonly Snapshot[]> => {
    const question = ++count
    const answer = new Promise<readonly Snapshot[]>((resolve) => {
      const timer = setTimeout(() => {
        resolve([])
      }, patienceMs)
      waiting.set(question, (snapshots) => {
        clearTimeout(timer)
        resolve(snapshots)
      })
    })
    send(channel, { event: 'tls-policy.metrics.wanted', question })
    return answer
      .then(async (snapshots) => (snapshots.length > 0 ? snapshots : [await own()]))
      .finally(() => {
        waiting.delete(question)
        current = undefined
      })
  }

  return {
    gather: () => (current ??= ask()),
  }
}

/** A process that is gone is no error: its answer does not come, and that is provided for. */
function send(to: Pick<NodeJS.Process, 'send'> | Worker, message: Message): void {
  try {
    to.send?.(message, undefined, undefined, () => undefined)
  } catch {
    // As above.
  }
}

function isOurs(message: unknown): message is Message {
  return (
    typeof message === 'object' &&
    message !== null &&
    'event' in message &&
    typeof message.event === 'string' &&
    message.event.startsWith('tls-policy.metrics.') &&
    'question' in message &&
    typeof message.question === 'number'
  )
}
