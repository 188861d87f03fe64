/**
 * What stands before each connection of Haraka's: must the host have TLS, and may it be dialled at all. An entry of the MX list that
 * did not come out of a decision is never connected to.
 */
import type { HostEnd } from '../delivery/host-end'
import { raiseToOperatorsFloor } from '../delivery/requirement'
import { mxIsSecure } from '../delivery/decide'
import type { Requirement } from '../delivery/types'
import { errorText, MARK } from './attempt'
import type { Attempt, Mark, MarkedMx } from './attempt'
import type { Connect } from './connection'
import { guardLateErrors } from './facade'
import type { SeamHandlers } from './seam'
import type { ContextSettings } from './tls-context'
import type { GetClient, GetClientCallback, HarakaSocket, HMailItem } from './types'
import { watch, watchFailure } from './watch'

export interface GateOptions {
  readonly attemptOf: (hmail: HMailItem) => Attempt | undefined
  readonly connect: Connect
  /** For sessions that are only watched. */
  readonly contextSettings: () => ContextSettings
  readonly now: () => Date
  readonly ended: (hmail: HMailItem, end: HostEnd) => void
}

export type Gate = Pick<SeamHandlers, 'getForceTls' | 'getClient'>

export function createGate(options: GateOptions): Gate {
  const { attemptOf, connect, contextSettings, now, ended } = options

  /** Haraka calls this before it asks for a connection to the entry (seam.ts looks at that order). */
  function getForceTls(hmail: HMailItem, mx: MarkedMx, original: () => boolean): boolean {
    const forced = original()
    const mark = markFor(hmail, mx)
    if (mark === undefined) return true
    mx[MARK] = mark.kind === 'planned' && forced ? raised(mark) : mark
    const requirement = requirementOf(mx[MARK])
    // Where TLS is owed, Haraka's own guard against cleartext is the second lock on the same door.
    return requirement === 'none' || requirement.level === 'opportunistic' ? forced : true
  }

  /** Entries that Haraka found by itself are marked here. Undefined: nothing was decided about the entry. */
  function markFor(hmail: HMailItem, mx: MarkedMx): Mark | undefined {
    const mark = mx[MARK]
    if (mark?.kind === 'planned') return mark.hmail === hmail ? mark : undefined
    if (mark?.hmail === hmail) return mark
    const attempt = attemptOf(hmail)
    switch (attempt?.kind) {
      case 'untouched':
        return { kind: 'untouched', hmail }
      case 'watched':
        return { kind: 'watched', hmail, plan: attempt.plan }
      case 'planned':
      case 'undecided':
      case undefined:
        return undefined
    }
  }

  function getClient(mx: MarkedMx, callback: GetClientCallback, original: GetClient): void {
    const mark = mx[MARK]
    if (mark === undefined) {
      callback('tls-policy: nothing was decided about this host, so it is not contacted', null)
      return
    }
    const dial = harmless(original)
    switch (mark.kind) {
      case 'untouched':
        dial(mx, guarded(callback))
        return
      case 'watched': {
        const { hmail, plan } = mark
        const tell = (end: HostEnd) => {
          ended(hmail, end)
        }
        dial(mx, (err, socket) => {
          if (!socket) watchFailure(err, { mx, plan, ended: tell })
          guarded(callback)(err, socket)
          if (socket) {
            watch(socket, { mx, plan, settings: contextSettings(), now, ended: tell })
          }
        })
        return
      }
      case 'planned':
        connect(mx, mark, callback, dial)
    }
  }

  return { getForceTls, getClient }
}

function raised(mark: Extract<Mark, { kind: 'planned' }>): Mark {
  const planned = raiseToOperatorsFloor(mark.planned, mxIsSecure(mark.plan.facts))
  return { ...mark, planned, forced: true }
}

/** `none`: the plugin has no business with the entry. */
function requirementOf(mark: Mark): Requirement | 'none' {
  return mark.kind === 'planned' ? mark.planned.requirement : 'none'
}

function guarded(callback: GetClientCallback): GetClientCallback {
  return (err, socket: HarakaSocket | null) => {
    if (socket) guardLateErrors(socket, true)
    callback(err, socket)
  }
}

/** A port or an address that node:net throws at would end Haraka, for every message anew; so it is this host's failure. */
function harmless(original: GetClient): GetClient {
  return (mx, callback) => {
    try {
      original(mx, callback)
    } catch (err: unknown) {
      callback(`tls-policy: ${errorText(err)}`, null)
    }
  }
}
