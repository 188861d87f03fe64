/** Where TLSRPT reports are on: whether they can be signed, whether verifiers will find the key, and whether any wait for long. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Resolver } from '../dnssec-stub'
import { parseIni } from '../ini'
import { findKey, keyRecordName, type KeySource, recordTroubles } from '../tlsrpt/key'
import { submitterOf } from '../tlsrpt/names'
import type { Finding } from './doctor'
import type { Settings } from './settings'
import { printable } from './words'

const LOOKUP_MS = 20_000

/** @returns nothing where reports are off */
export async function reportFindings(
  { config, folder }: Pick<Settings, 'config' | 'folder'>,
  resolver: Resolver,
): Promise<readonly Finding[]> {
  const { enabled, from } = config.tlsrpt
  if (!enabled || from === undefined) return []
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
