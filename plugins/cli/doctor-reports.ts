/**
 * Where TLSRPT reports are on: whether they can be signed, whether verifiers will find the key, whether their sender takes mail, and
 * whether any wait for long.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Resolver } from '../dnssec-stub'
import { parseIni } from '../ini'
import { findKey, keyRecordName, type KeySource, recordTroubles } from '../tlsrpt/key'
import { readDay, startOfDay, submitterOf } from '../tlsrpt/names'
import type { Finding } from './doctor'
import { reportsPending, type Queue } from './report-queue'
import type { Settings } from './settings'
import { printable } from './words'

const LOOKUP_MS = 20_000
/** Milliseconds after the end of a day: an ordinary report has long gone, and a last try or two is left; as in docs/alerts.yml. */
const LONG_MS = 20 * 3_600_000

/** @returns nothing where reports are off */
export async function reportFindings(
  { config, folder }: Pick<Settings, 'config' | 'folder'>,
  resolver: Resolver,
  queue: Queue,
): Promise<readonly Finding[]> {
  const { enabled, from } = config.tlsrpt
  if (!enabled || from === undefined) return []
  return [
    ...(await keyFindings(from, folder, resolver)),
    ...(await mxFindings(submitterOf(from), resolver)),
    ...(await pendingFindings(queue)),
  ]
}

async function keyFindings(
  from: string,
  folder: string,
  resolver: Resolver,
): Promise<readonly Finding[]> {
  const submitter = submitterOf(from)
  const found = findKey(submitter, keyFiles(folder))
  if (!found.ok) {
    const cure =
      'Put the key into config/dkim/DOMAIN/private and its selector into config/dkim/DOMAIN/selector, both readable for Haraka.'
    return [finding('problem', `no report is mailed: ${found.detail}`, cure)]
  }
  const name = keyRecordName(found.key)
  const signal = AbortSignal.timeout(LOOKUP_MS)
  const answer = await resolver.resolve(name, 'TXT', { signal })
  if (answer.kind === 'failed') {
    const cure = 'See what the resolver says; without the record no report verifies.'
    return [finding('problem', `${name} cannot be looked up: ${answer.cause}`, cure)]
  }
  const texts = answer.kind === 'answer' ? answer.records.map((one) => one.toString('latin1')) : []
  const troubles = recordTroubles(found.key, texts)
  if (troubles.length > 0) {
    const cure = `Publish the public key at ${name}, without s= in it.`
    return troubles.map((trouble) => finding('problem', trouble, cure))
  }
  return [finding('ok', `reports go out from ${from}, signed with the key at ${name}`, null)]
}

/** Some receivers refuse mail from a domain that takes none. */
async function mxFindings(submitter: string, resolver: Resolver): Promise<readonly Finding[]> {
  const signal = AbortSignal.timeout(LOOKUP_MS)
  const answer = await resolver.resolve(submitter, 'MX', { signal })
  const cure = `Publish an MX record for ${submitter}, or name an address of a domain that has one in [tlsrpt] from.`
  switch (answer.kind) {
    case 'failed': {
      const text = `the MX record of ${submitter}, from which reports come, cannot be looked up: ${answer.cause}`
      return [finding('problem', text, 'See what the resolver says.')]
    }
    case 'nodata':
    case 'nxdomain': {
      const text = `${submitter}, from which reports come, has no MX record: some receivers refuse them`
      return [finding('problem', text, cure)]
    }
    case 'answer': {
      // RFC 7505.
      const takesMail = answer.records.some(({ exchange }) => exchange !== '' && exchange !== '.')
      const text = `${submitter}, from which reports come, says that it takes no mail: some receivers refuse them`
      return takesMail ? [] : [finding('problem', text, cure)]
    }
  }
}

async function pendingFindings(queue: Queue): Promise<readonly Finding[]> {
  const { reports, problem } = await reportsPending(queue)
  if (problem !== null) {
    const cure = 'Nobody sends while it is so. See what is said of the store.'
    return [finding('problem', `which reports wait cannot be told: ${problem}`, cure)]
  }
  const late = reports.filter(({ day }) => {
    const number = readDay(day)
    return number !== undefined && queue.now - startOfDay(number + 1) > LONG_MS
  })
  const [first] = late
  if (first === undefined) return []
  const trouble = first.trouble === null ? 'not tried yet' : first.trouble
  const text = `reports that have waited for long: ${late.length}; the one to ${first.domain} of ${first.day}: ${trouble}`
  const cure = 'haraka-tls-policy reports pending tells of each; after a day it is given up.'
  return [finding('problem', text, cure)]
}

function finding(level: Finding['level'], text: string, cure: string | null): Finding {
  return { check: 'reports', level, text: printable(text), cure }
}

function keyFiles(folder: string): KeySource {
  const file = (name: string) => {
    try {
      return readFileSync(join(folder, 'config', name), 'utf8')
    } catch {
      // As for Haraka: a file that cannot be read is none.
      return ''
    }
  }
  return { file, sign: parseIni(file('dkim.ini'))['sign'] ?? {} }
}
