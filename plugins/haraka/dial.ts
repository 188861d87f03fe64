/**
 * What is dialled for an entry of an MX list, in the one form that is also looked up. Haraka takes 25 for a port that is empty, and
 * node:net takes text for numbers ("025", "0x19", " 25"): looked up as it stands, such a port has no TLSA records, and the mail would
 * go out unprotected to a host that has them. Pure.
 */
import { isIP } from 'node:net'
import { nextHopDomain } from '../delivery/planner'
import type { HarakaMx } from './types'

/** Haraka's own (hmail.js, try_deliver). */
const SMTP_PORT = 25
const LMTP_PORT = 24
const MOST_PORT = 65_535

/** An entry with a host and a port, as they are dialled. */
export type Dialled = HarakaMx & { readonly exchange: string; readonly port: number }

/**
 * Writes host, port and bind into the entry as they will be dialled; a Unix socket has none of them.
 * @returns why the entry cannot be dialled; undefined where it can
 */
export function settleDial(mx: HarakaMx): string | undefined {
  // By whatever plugin, the fields are as unknown as can be.
  const given: Readonly<Record<string, unknown>> = { ...mx }
  if (given['path']) {
    return typeof given['path'] === 'string' ? undefined : `path ${shown(given['path'])} is no path`
  }
  delete mx.path
  const host = hostIn(given['exchange'])
  if (host === undefined) return `${shown(given['exchange'])} is no host`
  const port = portIn(given['port'], mx.using_lmtp ? LMTP_PORT : SMTP_PORT)
  if (port === undefined) return `${shown(given['port'])} is no port`
  mx.exchange = host
  mx.port = port
  delete mx.bind
  if (!given['bind']) return undefined
  const bind = textOf(given['bind'])
  if (bind === undefined || isIP(bind) === 0) return `bind ${shown(given['bind'])} is no address`
  mx.bind = bind
  return undefined
}

/** Text, or what Haraka 3.2 has for the domain of an address: a function that behaves like text nearly everywhere. */
export function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  return typeof value === 'function' ? String(value) : undefined
}

function hostIn(value: unknown): string | undefined {
  const text = textOf(value)
  if (text === undefined) return undefined
  // As a URL has it.
  const literal = /^\[(.*)\]$/.exec(text)?.[1] ?? text
  if (isIP(literal) !== 0) return literal
  return nextHopDomain(text) === undefined ? undefined : text
}

function portIn(value: unknown, otherwise: number): number | undefined {
  if (!value) return otherwise
  if (typeof value !== 'number' && typeof value !== 'string') return undefined
  const port = Number(value)
  return Number.isInteger(port) && port >= 1 && port <= MOST_PORT ? port : undefined
}

/** A value of any kind, for an operator. */
export function shown(value: unknown): string {
  switch (typeof value) {
    case 'string':
    case 'object':
      return inJson(value).slice(0, 80)
    case 'undefined':
      return 'nothing'
    case 'number':
    case 'boolean':
    case 'bigint':
    case 'symbol':
    case 'function':
      return String(value).slice(0, 80)
  }
}

function inJson(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch {
    return 'something that cannot be written down'
  }
}
