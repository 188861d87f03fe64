/**
 * What the operator's own TLS settings (tls.ini, outbound part) mean for sessions that a policy demands: they hold as in Haraka's own
 * sessions, as long as they do not weaken what was promised. Pure.
 *
 * Refused: versions below `[tls] min_version`, suites without authentication or encryption, OpenSSL's security level 0, flags that
 * switch a protection off. Not passed on: roots and verification, which are ours, and what means nothing to a client (dhparam,
 * honorCipherOrder, requestCert).
 */
import { constants } from 'node:crypto'
import type { SecureContextOptions, SecureVersion } from 'node:tls'
import type { TlsSettings } from './types'

/** Options of a single session, not of its context. */
export interface SessionOptions {
  readonly minDHSize?: number
  readonly requestOCSP?: boolean
  readonly ALPNProtocols?: string[]
}

const VERSIONS: readonly SecureVersion[] = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3']

/** Flags that take something away from what the session may be, or change nothing in what it proves. */
const HARMLESS_FLAGS =
  constants.SSL_OP_NO_SSLv2 |
  constants.SSL_OP_NO_SSLv3 |
  constants.SSL_OP_NO_TLSv1 |
  constants.SSL_OP_NO_TLSv1_1 |
  constants.SSL_OP_NO_TLSv1_2 |
  constants.SSL_OP_NO_TLSv1_3 |
  constants.SSL_OP_NO_COMPRESSION |
  constants.SSL_OP_NO_RENEGOTIATION |
  constants.SSL_OP_NO_TICKET |
  constants.SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION |
  constants.SSL_OP_CIPHER_SERVER_PREFERENCE

/** What Node asks for by itself; less would be weaker. */
const LEAST_DH_BITS = 1024

/**
 * @param floor `[tls] min_version`
 * @param client the certificate for this host (tls.ini mutual_tls, mutual_auth_hosts); it takes the place of the outbound part's own
 */
export function contextOptions(
  outbound: TlsSettings,
  client: TlsSettings,
  floor: SecureVersion,
): SecureContextOptions {
  const minVersion = highest(floor, versionOf(outbound['minVersion']), pinned(outbound))
  const maxVersion = versionOf(outbound['maxVersion']) ?? pinned(outbound)
  const { ciphers, ecdhCurve, sigalgs } = outbound
  return {
    minVersion,
    ...(maxVersion !== undefined && rank(maxVersion) >= rank(minVersion) ? { maxVersion } : {}),
    ...(isText(ciphers) ? { ciphers: withoutWeakness(ciphers) } : {}),
    ...(isText(ecdhCurve) ? { ecdhCurve } : {}),
    ...(isText(sigalgs) ? { sigalgs } : {}),
    ...flagsOf(outbound),
    ...(identity(client) ?? identity(outbound) ?? {}),
  }
}

export function sessionOptions(outbound: TlsSettings): SessionOptions {
  const { requestOCSP, ALPNProtocols } = outbound
  const bits = numberOf(outbound['minDHSize'])
  return {
    ...(bits !== undefined && bits > LEAST_DH_BITS ? { minDHSize: bits } : {}),
    ...(requestOCSP === true || requestOCSP === 'true' ? { requestOCSP: true } : {}),
    // Node takes a list; of a single text it makes nothing.
    ...(Array.isArray(ALPNProtocols) ? { ALPNProtocols: ALPNProtocols.map(String) } : {}),
  }
}

/** Node's older way to name versions: a method for one alone. The others are for all, or for none that is allowed. */
function pinned({ secureProtocol }: TlsSettings): SecureVersion | undefined {
  return isText(secureProtocol) && /^TLSv1_2(_client)?_method$/.test(secureProtocol)
    ? 'TLSv1.2'
    : undefined
}

function versionOf(value: unknown): SecureVersion | undefined {
  return VERSIONS.find((version) => version === value)
}

function rank(version: SecureVersion): number {
  return VERSIONS.indexOf(version)
}

function highest(
  floor: SecureVersion,
  ...others: readonly (SecureVersion | undefined)[]
): SecureVersion {
  return others.reduce<SecureVersion>(
    (least, other) => (other !== undefined && rank(other) > rank(least) ? other : least),
    floor,
  )
}

function withoutWeakness(ciphers: string): string {
  return `${ciphers.replace(/@SECLEVEL=0/g, '@SECLEVEL=1')}:!aNULL:!eNULL`
}

function flagsOf({ secureOptions }: TlsSettings): SecureContextOptions {
  const flags = (numberOf(secureOptions) ?? 0) & HARMLESS_FLAGS
  return flags === 0 ? {} : { secureOptions: flags >>> 0 }
}

function identity({ key, cert, passphrase }: TlsSettings): SecureContextOptions | undefined {
  if (!isFilled(key) || !isFilled(cert)) return undefined
  return { key, cert, ...(isText(passphrase) ? { passphrase } : {}) } as SecureContextOptions
}

function isFilled(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 && value.every(Boolean) : Boolean(value)
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function numberOf(value: unknown): number | undefined {
  const number = typeof value === 'string' ? Number(value) : value
  return typeof number === 'number' && Number.isSafeInteger(number) && number > 0
    ? number
    : undefined
}
