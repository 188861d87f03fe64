/**
 * Puts a message of ours into Haraka's queue, and swallows its end: nobody is told when it does not arrive, and it waits no longer
 * than a day (RFC 8460 §5.5).
 *
 * What marks it as ours are notes of the message itself: Haraka writes them into the queue's file, so that they outlive a restart, and
 * gives them to each recipient's domain. No message that came by SMTP can have them.
 */
import { errorText } from './attempt'
import type { HMailItem } from './types'

/** Haraka's `outbound`. */
export interface OutboundModule {
  send_email(
    from: string,
    to: string,
    contents: string,
    next: (code: unknown, message?: unknown) => void,
    options: { readonly notes: object; readonly origin: unknown },
  ): void
}

export interface Injected {
  /** Bare addr-specs. */
  readonly from: string
  readonly to: string
  /** Signed, with CRLF, in ASCII. */
  readonly message: string
}

export type Injection =
  /** It is on the disk. */
  { readonly ok: true } | { readonly ok: false; readonly detail: string }

/** The notes of a message under this name are this plugin's. */
const NOTE = 'tls-policy'
/** Haraka's "yes, it is in the queue". */
const QUEUED = 906
/** A queue that hangs must not keep the others waiting. */
const PATIENCE_MS = 60_000
const A_DAY_MS = 86_400_000

/** @param origin who Haraka's log says that it is from */
export function createInjector(
  outbound: OutboundModule,
  origin: unknown,
): (mail: Injected) => Promise<Injection> {
  return ({ from, to, message }) =>
    new Promise((resolve) => {
      const fail = (detail: string) => {
        resolve({ ok: false, detail })
      }
      const timer = setTimeout(() => {
        fail('the queue did not take it in time')
      }, PATIENCE_MS).unref()
      const notes = {
        // TLS does not keep it back (RFC 8460 §3), as its header says to later hops (RFC 8689 §3).
        [NOTE]: { report: true, to, tlsRequiredNo: true },
        // Haraka reads the first of them, and its dkim plugin would sign a second time.
        skip_plugins: [],
        dkim_signed: true,
      }
      try {
        outbound.send_email(
          `<${from}>`,
          `<${to}>`,
          message,
          (code, words) => {
            clearTimeout(timer)
            if (code === QUEUED) resolve({ ok: true })
            else fail(`the queue did not take it: ${errorText(words)}`)
          },
          { notes, origin },
        )
      } catch (err: unknown) {
        clearTimeout(timer)
        fail(errorText(err))
      }
    })
}

/** Whether a message is a report of ours (TLSRPT): its sessions are not counted, and TLS does not keep it back. */
export function isReport(hmail: WithNotes): boolean {
  return noteOf(hmail) !== undefined
}

/** @returns the address to which a report of ours was on its way; undefined for all other mail */
export function reportTo(hmail: WithNotes): string | undefined {
  return noteOf(hmail)?.to
}

/** A report of ours waits once more. @returns whether it has waited long enough and is dropped */
export function hasWaitedEnough(
  hmail: WithNotes & { readonly todo?: { readonly queue_time?: unknown } | null },
  delaySeconds: unknown,
  now: number,
): boolean {
  const queued = hmail.todo?.queue_time
  if (!isReport(hmail) || typeof queued !== 'number') return false
  const delay = typeof delaySeconds === 'number' ? delaySeconds * 1000 : 0
  return now + delay > queued + A_DAY_MS
}

/** Of Haraka's messages, the part that is looked at here; `todo` comes from the queue's file. */
interface WithNotes {
  readonly todo?: { readonly notes?: unknown } | HMailItem['todo'] | null
}

function noteOf({ todo }: WithNotes): { readonly to: string } | undefined {
  const note = partOf(partOf(todo, 'notes'), NOTE)
  if (partOf(note, 'report') !== true) return undefined
  const to = partOf(note, 'to')
  return { to: typeof to === 'string' ? to : '' }
}

function partOf(whole: unknown, name: string): unknown {
  return typeof whole === 'object' && whole !== null
    ? (whole as Readonly<Record<string, unknown>>)[name]
    : undefined
}
