/**
 * A domain with one or more MX hosts in one go, for end-to-end tests: zone, receivers, certificates and TLSA records. Each
 * domain takes its own addresses, so that tests of one file do not meet.
 */
import type { TestCertificate } from '../certificates'
import { type Fault, type Lab, type Receiver, tlsaLine, type ZoneSettings } from './index'

export interface HostSettings {
  readonly fault?: Fault
  /** Default: a chain of the lab's CA for the host's name. */
  readonly certificate?: TestCertificate | readonly TestCertificate[]
  /** EHLO keywords, and those inside TLS; default as of any receiver of the lab. */
  readonly extensions?: readonly string[]
  readonly securedExtensions?: readonly string[]
  /** TLSA parameters of records that the certificate satisfies, or whole lines. Default none. */
  readonly tlsa?: readonly (readonly [number, number, number] | string)[]
}

export interface DomainSettings {
  readonly security?: ZoneSettings['security']
  readonly brokenSignatures?: readonly string[]
  /** More lines of the zone. */
  readonly records?: readonly string[]
  /** In order of preference: `mx1`, `mx2`, … */
  readonly hosts: readonly HostSettings[]
}

export interface Domain {
  readonly name: string
  readonly hosts: readonly Receiver[]
  /** `u@` the domain. */
  readonly recipient: string
}

/** The first one is an interface's own: a server there is one that Haraka takes for itself. */
let taken = 1

/** An IPv4 address of its own for each receiver of a run, from 198.18.0.0/15; 130,000 are there. */
export function nextAddress(): string {
  taken++
  return `198.${18 + (taken >> 16)}.${(taken >> 8) & 0xff}.${taken & 0xff}`
}

export async function makeDomain(
  lab: Lab,
  name: string,
  settings: DomainSettings,
): Promise<Domain> {
  const records: string[] = [...(settings.records ?? [])]
  const hosts: Receiver[] = []
  for (const [index, host] of settings.hosts.entries()) {
    const label = `mx${index + 1}`
    const address = nextAddress()
    const certificate = host.certificate ?? lab.certificate(`${label}.${name}`)
    const leaf = 'pem' in certificate ? certificate : certificate[0]
    records.push(`@ MX ${(index + 1) * 10} ${label}`, `${label} A ${address}`)
    for (const tlsa of host.tlsa ?? []) {
      if (typeof tlsa === 'string') records.push(tlsa)
      else if (leaf) records.push(tlsaLine(label, leaf, tlsa))
    }
    hosts.push(
      await lab.receiver({
        address,
        name: `${label}.${name}`,
        certificate,
        ...(host.extensions === undefined ? {} : { extensions: host.extensions }),
        ...(host.securedExtensions === undefined
          ? {}
          : { securedExtensions: host.securedExtensions }),
        ...(host.fault === undefined ? {} : { fault: host.fault }),
      }),
    )
  }
  await lab.zone(name, {
    security: settings.security ?? 'signed',
    records,
    ...(settings.brokenSignatures ? { brokenSignatures: settings.brokenSignatures } : {}),
  })
  return { name, hosts, recipient: `u@${name}` }
}

/** Promise 1: nothing of the envelope or the message was ever in cleartext at these receivers. */
export function assertNothingLeaked(...receivers: readonly (Receiver | undefined)[]): void {
  for (const receiver of receivers) {
    if (receiver === undefined) throw new Error('There is no such receiver')
    for (const { cleartext } of receiver.sessions.entries) assertNoEnvelope(cleartext)
  }
}

/** Nothing but the way into TLS; behind STARTTLS nothing but TLS records (RFC 8446 section 5.1). */
function assertNoEnvelope(cleartext: string): void {
  const start = cleartext.indexOf(HANDSHAKE)
  const commands = start === -1 ? cleartext : cleartext.slice(0, start)
  for (const line of commands.split('\r\n')) {
    if (!/^(EHLO \S+|STARTTLS|QUIT|)$/.test(line)) {
      throw new Error(`In cleartext came: ${JSON.stringify(line.slice(0, 100))}`)
    }
  }
  const records = start === -1 ? '' : cleartext.slice(start)
  if (/MAIL FROM|RCPT TO|DATA\r\n/i.test(records)) throw new Error('Among TLS records came SMTP')
}

/** How a TLS record of type handshake begins. */
const HANDSHAKE = String.fromCharCode(0x16, 0x03)
