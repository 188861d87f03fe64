/**
 * Name constraints of CA certificates (RFC 5280 §4.2.1.10 and §6.1), for the names that mail servers' certificates bear:
 * dNSName, directoryName and iPAddress; in a leaf without dNSName also the common names, since DANE may fall back on them.
 *
 * Promises: refuses rather than guesses. A constraint of a form that is not understood refuses each certificate that has a name
 * of that form; so does a comparison that would take too long. Never throws.
 */
import type { GeneralName, NameConstraints, Profile } from './certificate'
import { commonNames, comparableRdns, hasAttribute } from './distinguished-name'
import type { Effort } from './effort'

const FORM = { rfc822Name: 1, dnsName: 2, directoryName: 4, ipAddress: 7 } as const
const EMAIL_ADDRESS = '2a864886f70d010901'
/** What a name takes to read, with so many octets a microsecond, and to compare with one constraint. */
const MICROSECONDS_A_NAME = 2
const OCTETS_A_MICROSECOND = 10
const MICROSECONDS_A_COMPARISON = 0.5

/** The comparisons of one search for a path; each name is read once. */
export class NameChecks {
  readonly #effort: Effort
  readonly #texts = new Map<GeneralName, string>()
  readonly #directories = new Map<GeneralName, readonly string[] | undefined>()
  readonly #names = new Map<Profile, readonly GeneralName[]>()

  constructor(effort: Effort) {
    this.#effort = effort
  }

  /**
   * Whether every name of the certificate is within the constraints.
   * @param isLeaf true looks at the common names too, where the certificate has no dNSName
   * @returns what is wrong, or undefined
   */
  violation(
    profile: Profile,
    { permitted, excluded }: NameConstraints,
    isLeaf: boolean,
  ): string | undefined {
    const names = this.#namesOf(profile, isLeaf)
    const comparisons = names.length * (permitted.length + excluded.length)
    const known = this.#read(names) && this.#read(permitted) && this.#read(excluded)
    if (!known || !this.#effort.spend(comparisons * MICROSECONDS_A_COMPARISON))
      return 'too many names and name constraints'
    for (const name of names) {
      if (excluded.some((base) => base.form === name.form && this.#within(name, base, 'excluded')))
        return 'a name that its CA excludes'
      const ofForm = permitted.filter(({ form }) => form === name.form)
      if (ofForm.length > 0 && !ofForm.some((base) => this.#within(name, base, 'permitted')))
        return 'a name outside those that its CA is permitted'
    }
    return undefined
  }

  #namesOf(profile: Profile, isLeaf: boolean): readonly GeneralName[] {
    const names = this.#names.get(profile) ?? namesOf(profile, isLeaf)
    this.#names.set(profile, names)
    return names
  }

  /** False where the effort does not suffice. */
  #read(names: readonly GeneralName[]): boolean {
    for (const name of names) {
      if (this.#texts.has(name)) continue
      const { form, value } = name
      if (!this.#effort.spend(MICROSECONDS_A_NAME + value.length / OCTETS_A_MICROSECOND))
        return false
      this.#texts.set(name, form === FORM.dnsName ? value.toString('latin1').toLowerCase() : '')
      if (form === FORM.directoryName) this.#directories.set(name, comparableRdns(value))
    }
    return true
  }

  #within(name: GeneralName, base: GeneralName, list: List): boolean {
    switch (name.form) {
      case FORM.dnsName:
        return withinDomain(this.#texts.get(name) ?? '', this.#texts.get(base) ?? '', list)
      case FORM.directoryName:
        return withinDirectory(this.#directories.get(name), this.#directories.get(base), list)
      case FORM.ipAddress:
        return withinNetwork(name.value, base.value, list)
      default:
        return list === 'excluded'
    }
  }
}

function namesOf(profile: Profile, isLeaf: boolean): GeneralName[] {
  const names = [...(profile.subjectAltName ?? [])]
  const hasDnsName = names.some(({ form }) => form === FORM.dnsName)
  if (isLeaf && !hasDnsName) {
    for (const name of commonNames(profile.subject).filter(mayNameHost))
      names.push({ form: FORM.dnsName, value: Buffer.from(name) })
  }
  if (profile.subject.length > 2) names.push({ form: FORM.directoryName, value: profile.subject })
  if (hasAttribute(profile.subject, EMAIL_ADDRESS))
    names.push({ form: FORM.rfc822Name, value: Buffer.alloc(0) })
  return names
}

const mayNameHost = (name: string): boolean => /^(\*\.)?[a-z0-9_.-]+$/i.test(name)

type List = 'permitted' | 'excluded'

/**
 * The domain itself and all below it; with a leading dot, all below it. A wildcard also stands for the excluded name it can
 * be expanded to: else a CA that may not sign for `mx.example` could sign `*.example` instead.
 */
function withinDomain(name: string, base: string, list: List): boolean {
  if (base === '' || name === base) return true
  if (name.endsWith(base.startsWith('.') ? base : `.${base}`)) return true
  const parent = base.slice(Math.max(base.indexOf('.'), 0))
  return list === 'excluded' && name.startsWith('*.') && parent === name.slice(1)
}

function withinDirectory(
  rdns: readonly string[] | undefined,
  prefix: readonly string[] | undefined,
  list: List,
): boolean {
  if (rdns === undefined || prefix === undefined) return list === 'excluded'
  return prefix.length <= rdns.length && prefix.every((rdn, index) => rdn === rdns[index])
}

/** The base is an address and a mask of the same family. */
function withinNetwork(address: Buffer, base: Buffer, list: List): boolean {
  const size = base.length / 2
  if (size !== 4 && size !== 16) return list === 'excluded'
  if (address.length !== size)
    return address.length !== 4 && address.length !== 16 && list === 'excluded'
  return address.every((octet, index) => {
    const mask = base.readUInt8(size + index)
    return (octet & mask) === (base.readUInt8(index) & mask)
  })
}
