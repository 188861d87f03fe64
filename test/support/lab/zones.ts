/**
 * Zone files with a real chain of trust: each zone that says so is signed with a key of its own (ECDSA P-256), and its
 * parent carries the DS record. The root and `test.` are always signed. Faults are planted after signing, so that a
 * validator meets them as it would in the wild.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './daemon'
import { addresses } from './namespace'

export interface ZoneSettings {
  /**
   * `signed`: secure. `unsigned`: insecure, provably. `bogus`: signed, but the parent's DS record is another key's, so
   * that every name in the zone fails validation.
   */
  readonly security: 'signed' | 'unsigned' | 'bogus'
  /** Master-file lines relative to the zone, without TTL and class: `@ MX 10 mx`, `mx A 192.0.2.10`. */
  readonly records?: readonly string[]
  /** `name TYPE` of records whose signature is to be broken, the name relative to the zone: only these are bogus. */
  readonly brokenSignatures?: readonly string[]
  /** Who serves it: our name server, one that never answers, or one that answers REFUSED (default `answers`). */
  readonly server?: 'answers' | 'silent' | 'refuses'
}

/** By absolute name without trailing dot. */
export type Zones = ReadonlyMap<string, ZoneSettings>

interface SignedZone {
  readonly name: string
  readonly file: string
}

/** What was written last, by zone: text and faults in one string. A zone that is as it was needs no new signatures. */
export type WrittenZones = Map<string, { readonly made: string; readonly zone: SignedZone }>

const serverNames = {
  answers: 'ns.test.',
  silent: 'ns-silent.test.',
  refuses: 'ns-refuses.test.',
} as const

const testZone: readonly string[] = [
  `ns A ${addresses.nameServer}`,
  `ns-silent A ${addresses.silent.nameServer}`,
  `ns-refuses A ${addresses.refusing.nameServer}`,
]

const absolute = (zone: string): string => (zone === '' ? '.' : `${zone}.`)
const fileName = (zone: string): string => (zone === '' ? 'root' : zone)

/** Name of the closest enclosing zone; everything ends at `test`. */
function parentOf(zone: string, all: Zones): string {
  const labels = zone.split('.')
  for (let cut = 1; cut < labels.length; cut++) {
    const candidate = labels.slice(cut).join('.')
    if (all.has(candidate)) return candidate
  }
  return ''
}

/** The lines that a parent needs for the zones below it: delegation, and DS where they are signed. */
async function delegation(folder: string, zone: string, settings: ZoneSettings): Promise<string> {
  const lines = [`${absolute(zone)} NS ${serverNames[settings.server ?? 'answers']}`]
  if (settings.security !== 'unsigned') {
    const ds = (await readFile(`${await keyOf(folder, zone)}.ds`, 'utf8')).trim()
    lines.push(settings.security === 'bogus' ? ofAnotherKey(ds) : ds)
  }
  return lines.join('\n')
}

function ofAnotherKey(ds: string): string {
  return ds.replace(/[0-9a-f]{64}$/i, 'ab'.repeat(32))
}

/** Base name of the zone's key files; the key lives as long as the lab. */
async function keyOf(folder: string, zone: string): Promise<string> {
  const note = join(folder, 'keys', `${fileName(zone)}.name`)
  const known = await readFile(note, 'utf8').catch(() => undefined)
  if (known !== undefined) return known
  const keys = join(folder, 'keys')
  await mkdir(keys, { recursive: true })
  const args = ['-a', 'ECDSAP256SHA256', '-k', '-r', '/dev/urandom', absolute(zone)]
  const base = join(keys, (await run('ldns-keygen', args, { cwd: keys })).trim())
  await writeFile(note, base)
  return base
}

/** @returns the file with the root's DNSKEY record, a validator's trust anchor. */
export async function trustAnchor(folder: string): Promise<string> {
  return `${await keyOf(folder, '')}.key`
}

/**
 * Writes and signs the root, `test.` and the given zones.
 * @param serial higher than at the last call.
 * @param written what earlier calls wrote into this folder; is brought up to date.
 * @returns those that our name server is to serve, by absolute name.
 * @throws Error when a record is no good; the signer's words are in the message.
 */
export async function writeZones(
  folder: string,
  zones: Zones,
  serial: number,
  written: WrittenZones = new Map(),
): Promise<readonly SignedZone[]> {
  const all = new Map<string, ZoneSettings>([
    ['', { security: 'signed', records: [`ns.test. A ${addresses.nameServer}`] }],
    ['test', { security: 'signed', records: testZone }],
    ...zones,
  ])
  const below = new Map<string, string[]>([...all.keys()].map((name) => [name, []]))
  for (const [name, settings] of all) {
    if (name === '') continue
    below.get(parentOf(name, all))?.push(await delegation(folder, name, settings))
  }
  const served = [...all].filter(([, settings]) => (settings.server ?? 'answers') === 'answers')
  return Promise.all(
    served.map(async ([name, settings]) => {
      const delegations = below.get(name) ?? []
      const made = zoneText(name, settings, delegations, 0) + JSON.stringify(settings)
      const known = written.get(name)
      if (known?.made === made) return known.zone
      const text = zoneText(name, settings, delegations, serial)
      const zone = await writeZone(folder, name, settings, text)
      written.set(name, { made, zone })
      return zone
    }),
  )
}

async function writeZone(
  folder: string,
  name: string,
  settings: ZoneSettings,
  text: string,
): Promise<SignedZone> {
  const file = join(folder, `${fileName(name)}.zone`)
  await writeFile(file, text)
  if (settings.security === 'unsigned') return { name: absolute(name), file }
  const signed = `${file}.signed`
  const key = await keyOf(folder, name)
  await run('ldns-signzone', ['-o', absolute(name), '-f', signed, file, key])
  await breakSignatures(signed, name, settings.brokenSignatures ?? [])
  return { name: absolute(name), file: signed }
}

function zoneText(
  name: string,
  settings: ZoneSettings,
  delegations: readonly string[],
  serial: number,
): string {
  return [
    `$ORIGIN ${absolute(name)}`,
    '$TTL 300',
    `@ SOA ns.test. hostmaster.test. ${serial} 3600 600 86400 60`,
    '@ NS ns.test.',
    ...(settings.records ?? []),
    ...delegations,
    '',
  ].join('\n')
}

async function breakSignatures(
  file: string,
  zone: string,
  broken: readonly string[],
): Promise<void> {
  if (broken.length === 0) return
  const lines = (await readFile(file, 'utf8')).split('\n')
  for (const target of broken) {
    const [name = '', type = ''] = target.split(' ')
    const owner = name === '@' ? absolute(zone) : `${name}.${absolute(zone)}`
    const start = new RegExp(`^${owner.replace(/[.*]/g, '\\$&')}\\s.*\\sRRSIG\\s+${type}\\s`, 'i')
    const at = lines.findIndex((line) => start.test(line))
    if (at < 0) throw new Error(`${zone} has no signature over ${target}`)
    lines[at] = (lines[at] ?? '').replace(/\S+$/, Buffer.alloc(64, 1).toString('base64'))
  }
  await writeFile(file, lines.join('\n'))
}
