/**
 * The operator's own DKIM key, with which report mail is signed (RFC 8460 §3), found as haraka-plugin-dkim finds it: in
 * `config/dkim/<domain>/`, of the most specific domain that has one, else the default key of dkim.ini. Pure.
 * Refuses: a key of another domain, which would sign for nobody; a key that cannot sign, as an unsigned report must not go out.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { troubleText } from '../x509/trouble'

export interface SigningKey {
  /** `d=`: the submitter's domain or a parent of it. */
  readonly domain: string
  /** `s=` */
  readonly selector: string
  /** PEM. */
  readonly privateKey: string
}

export type KeyFound =
  | { readonly ok: true; readonly key: SigningKey }
  /** A sentence without its end, for the operator. */
  | { readonly ok: false; readonly detail: string }

export interface KeySource {
  /** The text of a file below config/, empty where there is none: `dkim/example.com/private`. */
  readonly file: (name: string) => string
  /** dkim.ini's [sign]. */
  readonly sign: { readonly domain?: unknown; readonly selector?: unknown }
}

/** RFC 8301 §3.2: verifiers refuse shorter ones. */
const LEAST_BITS = 1024
const SELECTOR = /^[a-z0-9](?:[a-z0-9._-]{0,200}[a-z0-9])?$/i

/** @param submitter the domain of the reports' sender */
export function findKey(submitter: string, { file, sign }: KeySource): KeyFound {
  for (const domain of withParents(submitter)) {
    const privateKey = file(`dkim/${domain}/private`)
    const selector = file(`dkim/${domain}/selector`).trim()
    if (privateKey.trim() !== '' && selector !== '')
      return examined({ domain, selector, privateKey })
    // As the dkim plugin does: no other folder is looked at, only the default key.
    if (privateKey.trim() !== '' || selector !== '') break
  }
  const domain = textOf(sign.domain).toLowerCase()
  const selector = textOf(sign.selector)
  const privateKey = file('dkim.private.key')
  if (domain === '' || selector === '' || privateKey.trim() === '') {
    return { ok: false, detail: `there is no DKIM key for ${submitter} in config/dkim or dkim.ini` }
  }
  if (!withParents(submitter).includes(domain)) {
    const detail = `the DKIM key of dkim.ini is that of ${domain}, and reports come from ${submitter}`
    return { ok: false, detail }
  }
  return examined({ domain, selector, privateKey })
}

/** @returns the name of the TXT record that must hold the public key */
export function keyRecordName({ selector, domain }: SigningKey): string {
  return `${selector}._domainkey.${domain}`
}

/**
 * What is wrong with the published record of a key (RFC 6376 §3.6.1, RFC 8460 §3).
 * @param texts the TXT records at keyRecordName, each joined
 * @returns sentences without their end; empty where verifiers will be content
 */
export function recordTroubles(key: SigningKey, texts: readonly string[]): readonly string[] {
  const name = keyRecordName(key)
  const [record, ...more] = texts
  if (record === undefined) return [`no TXT record is published at ${name}`]
  if (more.length > 0) return [`${texts.length} TXT records are published at ${name}`]
  const tags = tagsOf(record)
  const published = (tags.get('p') ?? '').replace(/\s/g, '')
  const own = createPublicKey(key.privateKey).export({ type: 'spki', format: 'der' })
  if (published === '') return [`the TXT record at ${name} has no key in it`]
  if (!isSameKey(own, published)) {
    return [`the key published at ${name} is not that of config/dkim, so no report verifies`]
  }
  const services = tags
    .get('s')
    ?.split(':')
    .map((service) => service.trim()) ?? ['*']
  if (services.includes('*')) return []
  return services.includes('tlsrpt')
    ? [
        `the record at ${name} says s=${services.join(':')}: ordinary verifiers refuse that. Leave s= out`,
      ]
    : [`the record at ${name} says s=${services.join(':')}: that is not for reports. Leave s= out`]
}

function isSameKey(own: Buffer, published: string): boolean {
  try {
    const der = Buffer.from(published, 'base64')
    if (der.equals(own)) return true
    // RFC 6376 means RSAPublicKey; nearly all publish SubjectPublicKeyInfo.
    return createPublicKey({ key: der, format: 'der', type: 'pkcs1' })
      .export({ type: 'spki', format: 'der' })
      .equals(own)
  } catch {
    return false
  }
}

/** Tag=value pairs (RFC 6376 §3.2); of two with one name, the first. */
function tagsOf(record: string): ReadonlyMap<string, string> {
  const tags = new Map<string, string>()
  for (const part of record.slice(0, 8192).split(';')) {
    const [, name = '', value = ''] = /^\s*([a-z][a-z0-9_]*)\s*=\s*([^]*?)\s*$/i.exec(part) ?? []
    if (name !== '' && !tags.has(name)) tags.set(name, value)
  }
  return tags
}

function examined(key: SigningKey): KeyFound {
  const wrong = (why: string): KeyFound => ({
    ok: false,
    detail: `the DKIM key of ${key.domain} cannot be used: ${why}`,
  })
  if (!SELECTOR.test(key.selector)) return wrong('its selector is none')
  let parsed: KeyObject
  try {
    parsed = createPrivateKey(key.privateKey)
  } catch (error: unknown) {
    return wrong(troubleText(error))
  }
  const { asymmetricKeyType, asymmetricKeyDetails } = parsed
  if (asymmetricKeyType !== 'rsa')
    return wrong(`it is of type ${asymmetricKeyType ?? 'unknown'}, not rsa`)
  const bits = asymmetricKeyDetails?.modulusLength ?? 0
  return bits < LEAST_BITS ? wrong(`it has ${bits} bits only`) : { ok: true, key }
}

/** The domain and its parents, down to two labels. */
function withParents(domain: string): readonly string[] {
  const labels = domain.toLowerCase().split('.')
  return labels
    .slice(0, Math.max(1, labels.length - 1))
    .map((_label, n) => labels.slice(n).join('.'))
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value.trim() : ''
}
