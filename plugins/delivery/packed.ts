/**
 * Facts as one short text each, pure, so that tens of thousands of them fit into little memory: as objects, the facts of an ordinary
 * domain take 2 KiB, as a text a sixth of that. What is read out again decides as what was put in did; the test holds that over facts
 * of all shapes, and the compiler that no part of them is forgotten.
 *
 * Kept is what decisions need: of the MX records those whose hosts are used, and nothing of MTA-STS but whether it was asked.
 */
import { presentRecord } from '../dane/tlsa'
import type { TlsaRecord, TlsaVerdict } from '../dane/types'
import type { Security } from '../dnssec-stub/types'
import type { Facts, HostFacts, MxFacts } from './types'

/** Facts without what MTA-STS says: where it was asked, it is asked anew each time. */
export interface KeptFacts {
  readonly found: Omit<Facts, 'sts'>
  readonly asksSts: boolean
}

/** Reads a kept fact that cannot be: it was written by packFacts, and the process's memory is damaged. */
class Unreadable extends Error {}

type AskedTlsa = HostFacts['tlsa']
type Unusable = Extract<TlsaVerdict, { kind: 'unusable' }>
type Usable = Extract<TlsaVerdict, { kind: 'usable' }>

/** Between the fields of a line, and between the parts of a field: neither is in a name, an address or base64. */
const FIELD = ' '
const PART = ','
const LINE = '\n'
/** Before what is said of a denial, in the place of addresses. */
const NONE = 'none,'

/** @returns undefined for facts that are not for keeping: some lookup failed */
export function packFacts(facts: Facts): string | undefined {
  const { nextHop, nextHopExpanded, mx, hosts, sts, ...rest } = facts
  rest satisfies Record<string, never>
  const kind = packMx(mx)
  const lines = hosts.map(packHost)
  if (kind === undefined || lines.includes(undefined)) return undefined
  const alias = nextHopExpanded === nextHop ? '' : nextHopExpanded
  const asksSts = sts.kind === 'not-asked' ? '' : 's'
  return [[nextHop, alias, kind, asksSts].join(FIELD), ...lines].join(LINE)
}

export function unpackFacts(text: string): KeptFacts {
  const [head = '', ...lines] = text.split(LINE)
  const [nextHop = '', alias = '', kind = '', asksSts] = head.split(FIELD)
  const hosts = lines.map(unpackHost)
  return {
    found: {
      nextHop,
      nextHopExpanded: alias === '' ? nextHop : alias,
      mx: unpackMx(kind, hosts),
      hosts,
    },
    asksSts: asksSts === 's',
  }
}

function packMx(mx: MxFacts): string | undefined {
  switch (mx.kind) {
    case 'mx':
    case 'implicit':
    case 'nxdomain':
    case 'null-mx':
      return `${mx.kind}${PART}${mx.security}`
    case 'route':
      return mx.kind
    case 'failed':
      return undefined
  }
}

function unpackMx(packed: string, hosts: readonly HostFacts[]): MxFacts {
  const [kind, security] = packed.split(PART)
  switch (kind) {
    case 'mx': {
      const records = hosts.map(({ preference, host }) => ({ preference, exchange: host }))
      return { kind, security: asSecurity(security), records }
    }
    case 'implicit':
    case 'nxdomain':
    case 'null-mx':
      return { kind, security: asSecurity(security) }
    case 'route':
      return { kind }
    case undefined:
    default:
      throw new Unreadable(packed)
  }
}

function asSecurity(text: string | undefined): Security {
  if (text !== 'secure' && text !== 'insecure') throw new Unreadable(String(text))
  return text
}

function packHost({ host, preference, port, addresses, tlsa, ...rest }: HostFacts) {
  rest satisfies Record<string, never>
  const verdict = packTlsa(tlsa, host)
  if (addresses.kind === 'failed' || verdict === undefined) return undefined
  const list =
    addresses.kind === 'none' ? `${NONE}${addresses.security}` : addresses.list.join(PART)
  return [host, preference, port, list, verdict].join(FIELD)
}

function unpackHost(line: string): HostFacts {
  const [host = '', preference, port, list = '', ...verdict] = line.split(FIELD)
  return {
    host,
    preference: Number(preference),
    port: Number(port),
    addresses: list.startsWith(NONE)
      ? { kind: 'none', security: asSecurity(list.slice(NONE.length)) }
      : { kind: 'resolved', list: list.split(PART) },
    tlsa: unpackTlsa(verdict, host),
  }
}

/** A word, the base domain where it is not the host, the records and their octets; where that is not all, JSON at the end. */
function packTlsa(tlsa: AskedTlsa, host: string): string | undefined {
  switch (tlsa.kind) {
    case 'not-asked':
      return tlsa.kind
    case 'none':
      return `${tlsa.kind} ${tlsa.why}`
    case 'usable': {
      const base = tlsa.base === host ? '' : tlsa.base
      const others = presentsMore(tlsa) ? JSON.stringify(tlsa.presentation) : ''
      const octets = Buffer.concat(tlsa.records.map(({ data }) => data)).toString('base64')
      const records = tlsa.records.map(packRecord).join(PART)
      return [tlsa.kind, base, records, octets, others].join(FIELD)
    }
    case 'unusable': {
      const { kind, ...rest } = tlsa
      return `${kind} ${JSON.stringify(rest)}`
    }
    case 'failed':
      return undefined
  }
}

function unpackTlsa([kind, ...fields]: readonly string[], host: string): AskedTlsa {
  const [first = '', second = '', octets = '', ...others] = fields
  switch (kind) {
    case 'not-asked':
      return { kind }
    case 'none':
      return { kind, why: whyNone(first) }
    case 'usable': {
      const records = unpackRecords(second.split(PART), octets)
      const presentation =
        others.join('') === ''
          ? records.map(presentRecord)
          : (JSON.parse(others.join(FIELD)) as readonly string[])
      return { kind, base: first === '' ? host : first, records, presentation }
    }
    case 'unusable':
      return { kind, ...(JSON.parse(fields.join(FIELD)) as Omit<Unusable, 'kind'>) }
    case undefined:
    default:
      throw new Unreadable(String(kind))
  }
}

type WhyNone = Extract<TlsaVerdict, { kind: 'none' }>['why']
const WHY_NONE: Readonly<Record<WhyNone, true>> = {
  denied: true,
  'insecure-address': true,
  'insecure-records': true,
  'no-address': true,
}

function whyNone(text: string): WhyNone {
  if (!Object.hasOwn(WHY_NONE, text)) throw new Unreadable(text)
  return text as WhyNone
}

/** Whether records are shown that are not used: unusable ones, or overruled by a stronger digest. */
function presentsMore({ records, presentation }: Usable): boolean {
  return (
    presentation.length !== records.length ||
    records.some((record, index) => presentRecord(record) !== presentation[index])
  )
}

/** Three digits, and how many octets are this record's. */
function packRecord({ usage, selector, matchingType, data, ...rest }: TlsaRecord): string {
  rest satisfies Record<string, never>
  return `${usage}${selector}${matchingType}${data.length}`
}

function unpackRecords(packed: readonly string[], base64: string): readonly TlsaRecord[] {
  // One block for all, and none of Node's pool: what is kept would keep all that the pool gave out beside it.
  const block = Buffer.allocUnsafeSlow(Buffer.byteLength(base64, 'base64'))
  block.write(base64, 'base64')
  let at = 0
  return packed.map((record) => {
    const start = at
    at += Number(record.slice(3))
    return {
      usage: record.startsWith('2') ? 2 : 3,
      selector: record[1] === '0' ? 0 : 1,
      matchingType: record[2] === '0' ? 0 : record[2] === '1' ? 1 : 2,
      data: block.subarray(start, at),
    }
  })
}
