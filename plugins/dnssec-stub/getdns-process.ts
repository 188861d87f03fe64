/**
 * Keeps the process in which getdns lives. Promises: every question that goes in gets exactly one word back, whatever
 * happens to the child; a child that dies is started again, later each time it dies soon; one that hangs is killed.
 * Never keeps its own process alive, and leaves no child behind when closed.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { extname, join } from 'node:path'
import type { FromChild, Open } from './getdns-protocol'

export type Word =
  | Extract<FromChild, { kind: 'reply' }>
  | Pick<Extract<FromChild, { kind: 'failed' }>, 'kind' | 'cause' | 'why'>

export interface GetdnsProcessOptions extends Omit<Open, 'kind'> {
  /** Milliseconds of a clock that never steps. */
  readonly now: () => number
  /** Starts the child; another one in tests. */
  readonly start?: () => ChildProcess
}

export type Usable = { readonly ok: true } | { readonly ok: false; readonly why: string }

export interface GetdnsProcess {
  /** @param name absolute, with trailing dot; `code` is IANA's number of the type */
  ask(name: string, code: number, signal: AbortSignal): Promise<Word>
  /** Whether getdns could be loaded; why not otherwise. */
  usable(): Promise<Usable>
  close(): void
}

interface Running {
  readonly child: ChildProcess
  readonly since: number
  /** How many words came from it. */
  heard: number
  readonly opened: Promise<Usable>
}

/** Over getdns's own timeout: how much later its word may come before it counts as hung. */
const GRACE_MS = 1000
/** Loading native code from a cold disk takes its time. */
const OPEN_MS = 10_000
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 30_000
/** A child that lived this long died of something new. */
const LIVED_LONG_MS = 60_000

export function getdnsProcess(options: GetdnsProcessOptions): GetdnsProcess {
  const { now, start = startChild, ...settings } = options
  const waiting = new Map<number, (word: Word) => void>()
  let running: Running | undefined
  let lastId = 0
  let pauseMs = 0
  let notBefore = Number.NEGATIVE_INFINITY
  let startFailure = ''
  let closed = false

  const ended = (one: Running, why: string): void => {
    if (running !== one) return
    running = undefined
    pauseMs =
      now() - one.since >= LIVED_LONG_MS
        ? FIRST_PAUSE_MS
        : Math.min(LONGEST_PAUSE_MS, Math.max(FIRST_PAUSE_MS, pauseMs * 2))
    notBefore = now() + pauseMs
    const word: Word = { kind: 'failed', cause: 'network', why: `the getdns process ${why}` }
    for (const settle of [...waiting.values()]) settle(word)
  }

  const run = (): Running | undefined => {
    let child: ChildProcess
    try {
      child = start()
    } catch (error: unknown) {
      startFailure = error instanceof Error ? error.message : 'cannot be started'
      pauseMs = LONGEST_PAUSE_MS
      notBefore = now() + pauseMs
      return undefined
    }
    child.unref()
    child.channel?.unref()
    const opened = new Promise<Usable>((resolve) => {
      child.on('message', (message: FromChild) => {
        one.heard++
        if (message.kind === 'opened') resolve({ ok: true })
        else if (message.kind === 'unusable') resolve({ ok: false, why: message.why })
        else waiting.get(message.id)?.(message)
      })
      const over = (why: string): void => {
        resolve({ ok: false, why: `the getdns process ${why}` })
        ended(one, why)
      }
      child.on('error', (error) => over(`cannot be used: ${error.message}`))
      child.on('exit', (code, signal) => over(`ended (${signal ?? `exit code ${code ?? '?'}`})`))
    })
    // One that hangs in native code does not see that its parent is gone.
    const killAtExit = (): void => void child.kill('SIGKILL')
    process.once('exit', killAtExit)
    child.once('exit', () => process.removeListener('exit', killAtExit))
    const one: Running = { child, since: now(), heard: 0, opened }
    running = one
    child.send({ kind: 'open', ...settings }, noteSendFailure(one))
    return one
  }

  /** A channel that takes no message belongs to a child that is gone, or as good as gone. */
  const noteSendFailure =
    (one: Running) =>
    (error: Error | null): void => {
      if (error === null) return
      ended(one, `takes no questions: ${error.message}`)
      one.child.kill('SIGKILL')
    }

  const ask = (name: string, code: number, signal: AbortSignal): Promise<Word> => {
    const failed = (why: string): Promise<Word> =>
      Promise.resolve({ kind: 'failed', cause: 'network', why })
    if (closed || signal.aborted) return failed('the lookup was ended')
    const wait = notBefore - now()
    if (running === undefined && wait > 0) {
      return failed(`the getdns process is started again in ${Math.ceil(wait)} ms`)
    }
    const one = running ?? run()
    if (one === undefined) return failed(`the getdns process: ${startFailure}`)
    const id = ++lastId
    return new Promise((resolve) => {
      const heardBefore = one.heard
      const settle = (word: Word): void => {
        if (!waiting.delete(id)) return
        clearTimeout(timer)
        signal.removeEventListener('abort', abort)
        resolve(word)
      }
      const abort = (): void =>
        settle({ kind: 'failed', cause: 'network', why: 'the lookup was ended' })
      const timer = setTimeout(() => {
        settle({ kind: 'failed', cause: 'timeout', why: 'no word from getdns in time' })
        if (one.heard === heardBefore) {
          ended(one, 'hangs')
          one.child.kill('SIGKILL')
        }
      }, settings.timeoutMs + GRACE_MS)
      waiting.set(id, settle)
      signal.addEventListener('abort', abort, { once: true })
      one.child.send({ kind: 'ask', id, name, code }, noteSendFailure(one))
    })
  }

  return {
    ask,
    async usable() {
      if (closed) return { ok: false, why: 'closed' }
      const one = running ?? run()
      return one === undefined ? { ok: false, why: startFailure } : within(OPEN_MS, one.opened)
    },
    close() {
      closed = true
      const one = running
      if (one === undefined) return
      ended(one, 'was closed')
      one.child.kill('SIGKILL')
    },
  }
}

/** The timer also keeps this process alive for as long as somebody waits; the child does not. */
function within(milliseconds: number, opened: Promise<Usable>): Promise<Usable> {
  return new Promise((resolve) => {
    const timer = setTimeout(
      () => resolve({ ok: false, why: 'the getdns process does not start' }),
      milliseconds,
    )
    const settle = (usable: Usable): void => {
      clearTimeout(timer)
      resolve(usable)
    }
    opened.then(settle, (error: unknown) => settle({ ok: false, why: String(error) }))
  })
}

/** MiB for what getdns makes of replies, each a tree of objects: a child that needs more ends, and another is started. */
const MOST_HEAP = 192

/** The same file beside this one: TypeScript where this one is run from source, else what it was compiled to. */
function startChild(): ChildProcess {
  const extension = extname(__filename)
  return fork(join(__dirname, `getdns-child${extension}`), {
    execArgv: [
      `--max-old-space-size=${MOST_HEAP}`,
      ...(extension === '.ts' ? ['--import', 'tsx'] : []),
    ],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
}
