/** [tlsrpt] of tls-policy.ini. Pure. */
import { isIP } from 'node:net'
import { readAddress } from './record'

export interface TlsrptSettings {
  /** Whether sessions are counted and reports sent: `from` is given, and nothing switches them off. */
  readonly enabled: boolean
  /** From, envelope sender and contact; its domain is the submitter. */
  readonly from: string | undefined
  /** Default: the domain of `from`. */
  readonly organization: string | undefined
  /** Over how long the reports of a day are spread. */
  readonly spreadSeconds: number
  readonly onlyFailures: boolean
  readonly https: boolean
  readonly httpsPrivate: boolean
  readonly bcc: string | undefined
  /** Domains and addresses that get no report; lower case. */
  readonly never: readonly string[]
  /** Of one day. */
  readonly mostReports: number
  readonly dryRun: boolean
}

/** What reads one section of the file, and notes its mistakes. */
interface Section {
  text(key: string): string | undefined
  freeText(key: string): string | undefined
  boolean(key: string, otherwise: boolean): boolean
  wholeNumber(key: string, least: number, most: number, otherwise: number): number
  list(key: string): readonly string[]
  wrong(key: string, value: string, allowed: string): void
}

export function readTlsrpt(section: Section): TlsrptSettings {
  const enabled = section.boolean('enabled', true)
  const from = mailAddress(section, 'from')
  return {
    enabled: enabled && from !== undefined,
    from,
    organization: organizationIn(section),
    spreadSeconds: section.wholeNumber('spread', 600, 36_000, 14_400),
    onlyFailures: section.boolean('only_failures', false),
    https: section.boolean('https', true),
    httpsPrivate: section.boolean('https_private', false),
    bcc: mailAddress(section, 'bcc'),
    never: neverIn(section),
    mostReports: section.wholeNumber('most_reports', 1, 10_000_000, 50_000),
    dryRun: section.boolean('dry_run', false),
  }
}

const ADDRESS = 'a mail address in US-ASCII, without a name and without < and >'

function mailAddress(section: Section, key: string): string | undefined {
  const text = section.text(key)
  if (text === undefined) return undefined
  const address = readAddress(text)
  // A report is taken for its domain's word: it needs one.
  if (address !== undefined && isMailDomain(domainOf(address))) return address
  section.wrong(key, text, ADDRESS)
  return undefined
}

function domainOf(address: string): string {
  return address.slice(address.lastIndexOf('@') + 1)
}

function isMailDomain(domain: string): boolean {
  return domain.includes('.') && isIP(domain) === 0
}

const MOST_NAME = 200

function organizationIn(section: Section): string | undefined {
  const text = section.freeText('organization')
  if (text === undefined || (text.length <= MOST_NAME && !/\p{Cc}/u.test(text))) return text
  section.wrong('organization', text.slice(0, MOST_NAME), `a name of at most ${MOST_NAME} letters`)
  return undefined
}

function neverIn(section: Section): readonly string[] {
  return section.list('never').map((item) => {
    const isKnown = item.includes('@')
      ? readAddress(item) !== undefined
      : readAddress(`postmaster@${item}`) !== undefined
    if (!isKnown) section.wrong('never', item, 'domains and mail addresses, with commas between,')
    return item.toLowerCase()
  })
}
