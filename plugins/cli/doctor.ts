/**
 * `doctor`: looks for what keeps the plugin from doing its work, one finding for each, with what to do. Looks at the very
 * resolver and store that a delivery would use; changes nothing but a note of one second's life in the store.
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config'
import { endedDestinations } from '../destinations'
import { createResolver, systemServers } from '../dnssec-stub'
import type { Health } from '../dnssec-stub'
import { NOTHING_RELAYS, relaysNothing } from '../haraka/roads'
import { isSilent, resolverWords } from '../resolver-words'
import { withoutEffect } from '../settings'
import type { Logger } from '../store'
import type { Wiring } from '../wiring'
import { karmaFindings } from './doctor-karma'
import { reportFindings } from './doctor-reports'
import type { HarakaFound } from './find-haraka'
import { findOtherRoads } from './other-roads'
import type { Settings, SettingsResult } from './settings'
import { waiting, waitingFindings } from './waiting'
import { printable, utc, wrap } from './words'
import type { Style } from './words'
import { errorText } from '../x509/trouble'

export interface Finding {
  readonly check:
    | 'settings'
    | 'plugins'
    | 'haraka'
    | 'outbound'
    | 'road'
    | 'exceptions'
    | 'resolver'
    | 'store'
    | 'clock'
    | 'reports'
    | 'waiting'
  /** `note`: worth knowing, and nothing that must be mended. */
  readonly level: 'ok' | 'note' | 'problem'
  readonly text: string
  /** What to do; null where nothing is to be done. */
  readonly cure: string | null
}

export interface DoctorReport {
  readonly version: 1
  readonly command: 'doctor'
  readonly findings: readonly Finding[]
  readonly exitCode: number
}

export interface DoctorTools {
  readonly wire: (settings: Settings, log: Logger) => Promise<Wiring>
  readonly findHaraka: (folder: string) => Promise<HarakaFound>
  readonly now: () => number
}

export async function doctor(read: SettingsResult, tools: DoctorTools): Promise<DoctorReport> {
  const findings = read.ok
    ? await examine(read.settings, tools)
    : read.mistakes.map((text) =>
        problem('settings', text, 'Correct the file; until then Haraka does not start with it.'),
      )
  const sick = findings.some(({ level }) => level === 'problem')
  return { version: 1, command: 'doctor', findings, exitCode: sick ? 1 : 0 }
}

async function examine(settings: Settings, tools: DoctorTools): Promise<readonly Finding[]> {
  const haraka = tools.findHaraka(settings.folder)
  const warnings: string[] = []
  const wiring = await tools.wire(settings, collect(warnings)).catch(errorText)
  const still = [
    settingsFinding(settings),
    ...withoutEffect(settings.config).map((text) =>
      note('settings', text, 'Remove the one, or change the other.'),
    ),
    pluginsFinding(settings.plugins),
    ...karmaFindings(settings),
    harakaFinding(await haraka),
    outboundFinding(settings),
    ...roadFindings(settings, await haraka),
    ...exceptionFindings(settings.config, new Date(tools.now())),
  ]
  if (typeof wiring === 'string') {
    return [...still, problem('resolver', wiring, 'Correct [dns] in tls-policy.ini.')]
  }
  try {
    return [
      ...still,
      await resolverFinding(settings.config, wiring),
      ...(await storeFindings(settings, wiring, warnings)),
      ...(await reportFindings(settings, wiring.resolver.resolver, {
        ...wiring,
        now: tools.now(),
      })),
      ...waitingFindings(
        await waiting(wiring.store, settings.config, new Date(tools.now()), undefined),
      ),
      clockFinding(await latestTime(settings, wiring), tools.now()),
    ]
  } finally {
    await wiring.close()
  }
}

function settingsFinding({ config, saysNothing }: Settings): Finding {
  if (saysNothing) {
    return note(
      'settings',
      'tls-policy.ini has no setting in it: each is at its default, mode enforce',
      'If there were settings in it, put them back.',
    )
  }
  return config.mode === 'enforce'
    ? ok('settings', 'tls-policy.ini is sound, mode enforce')
    : note(
        'settings',
        'tls-policy.ini is sound, but mode observe protects nothing',
        'When the log is as you want it, set [main] mode=enforce.',
      )
}

/**
 * The place in the list does not matter: the plugin takes effect where Haraka has the answer of all get_mx hooks, so no
 * other plugin can stand before it, and routes of others keep their say.
 */
export function pluginsFinding(plugins: readonly string[]): Finding {
  const times = plugins.filter(
    (name) => name.replace(/^haraka-plugin-/, '') === 'tls-policy',
  ).length
  if (times === 1) return ok('plugins', 'tls-policy is in config/plugins')
  return times === 0
    ? problem(
        'plugins',
        'tls-policy is not in config/plugins, so nothing is protected',
        'Add the line "tls-policy" to config/plugins and restart Haraka.',
      )
    : problem(
        'plugins',
        `tls-policy is ${times} times in config/plugins`,
        'Leave one line of them, and restart Haraka.',
      )
}

export function harakaFinding(found: HarakaFound): Finding {
  switch (found.kind) {
    case 'known':
      return ok('haraka', `Haraka ${found.version} is as known (${found.root})`)
    case 'unknown':
      return problem(
        'haraka',
        `${printable(found.why)} (${found.root})`,
        'Install a version of Haraka and of this plugin that know each other.',
      )
    case 'missing':
      return note(
        'haraka',
        'no Haraka was found in its folder or on PATH, so its version was not looked at',
        'Put the folder of the program "haraka" on PATH and ask again.',
      )
  }
}

function outboundFinding({ outbound }: Settings): Finding {
  return outbound.enableTls
    ? ok('outbound', 'outbound.ini leaves TLS on')
    : problem(
        'outbound',
        'outbound.ini says enable_tls=false: mail to hosts that demand TLS waits',
        'Remove that line from outbound.ini.',
      )
}

/** Whether mail takes the road on which policies are enforced. */
export function roadFindings(
  { plugins, folder }: Pick<Settings, 'plugins' | 'folder'>,
  found: HarakaFound,
): readonly Finding[] {
  const program = found.kind === 'missing' ? undefined : found.root
  const findings = findOtherRoads(plugins, folder, program).map(({ takes, text, cure }) =>
    takes === 'all' ? problem('road', text, cure) : note('road', text, cure),
  )
  if (relaysNothing(plugins)) findings.push(note('road', NOTHING_RELAYS.text, NOTHING_RELAYS.cure))
  return findings.length === 0 ? [ok('road', 'no plugin takes outgoing mail away')] : findings
}

export function exceptionFindings(config: Config, now: Date): readonly Finding[] {
  const ended = endedDestinations(config, now)
  if (ended.length === 0) return [ok('exceptions', 'no exception under [destinations] is over')]
  return ended.map((exception) =>
    problem(
      'exceptions',
      `the exception ${exception} is over and has no effect any more`,
      'Remove it from [destinations], or give it a new last day.',
    ),
  )
}

async function resolverFinding(config: Config, { resolver }: Wiring): Promise<Finding> {
  const health = await resolver.check()
  const text = `${health.detail}; ${resolver.describe()}`
  if (health.state === 'validating') return ok('resolver', `DNSSEC is validated: ${text}`)
  if (health.state === 'unreachable') {
    const what = isSilent(health) ? 'no resolver answers' : 'DNS lookups fail'
    return problem('resolver', `${what}, so mail waits: ${text}`, cureFor(health))
  }
  if (!config.dane.enabled) {
    return note(
      'resolver',
      `DNSSEC is not validated, and DANE is off by [dane] enabled: ${text}`,
      null,
    )
  }
  if (health.cause === 'untestable') {
    const what = 'whether DNSSEC is validated cannot be told'
    return problem('resolver', `${what}: ${text}`, cureFor(health))
  }
  return (await validatesUntrusted(config))
    ? problem(
        'resolver',
        `the resolver validates, but the path to it is not trusted, so DANE is off: ${text}`,
        'Run a validating resolver on this machine (apt install unbound) and set [dns] ' +
          'servers=127.0.0.1; or, where nobody can sit on the path, name the resolver under ' +
          '[dns] servers and set trust_ad=listed.',
      )
    : problem('resolver', `DNSSEC is not validated, so DANE is off: ${text}`, cureFor(health))
}

function cureFor(health: Health): string {
  const { cure = '' } = resolverWords(health)
  return `${cure.charAt(0).toUpperCase()}${cure.slice(1)}.`
}

/** Would the resolver's word be worth something, were it believed? */
async function validatesUntrusted({ dns }: Config): Promise<boolean> {
  const resolver = createResolver({
    backend: 'ad',
    servers: dns.servers.length > 0 ? dns.servers : systemServers(),
    trustAd: 'listed',
    timeoutMs: dns.timeoutSeconds * 1000,
    deadlineMs: dns.deadlineSeconds * 1000,
    selfTest: { signedName: dns.selfTest },
  })
  try {
    return (await resolver.check()).state === 'validating'
  } finally {
    resolver.close()
  }
}

async function storeFindings(
  { config, storeFolder }: Settings,
  { store }: Wiring,
  warnings: readonly string[],
): Promise<readonly Finding[]> {
  const { backend, path = storeFolder } = config.store
  if (backend === 'memory') {
    return [
      note(
        'store',
        'policies are kept in the memory of each worker, and lost at its end',
        'Set [store] backend=lmdb, or redis for several machines.',
      ),
    ]
  }
  const troubles = await store.examine()
  const told = troubles.map(({ text, cure }) => problem('store', text, `${cure}${meanwhile(text)}`))
  const others = warnings.filter(
    (warning) => ![...troubles, ...store.troubles()].some(({ text }) => warning.startsWith(text)),
  )
  const more = others.map((text) =>
    problem('store', text, `See that the disk under ${path} is sound, and ask again.`),
  )
  if (told.length + more.length > 0) return [...told, ...more]
  const where = backend === 'redis' ? 'Redis, and a copy in ' : ''
  return [ok('store', `policies are kept in ${where}${path}`)]
}

function meanwhile(text: string): string {
  return text.startsWith('Redis is not') ? " Meanwhile this machine's own store is used." : ''
}

/** Files and policies cannot be younger than now: where they are, the clock is late, or was early when they were made. */
const CLOCK_TOLERANCE_MS = 300_000

export function clockFinding(
  latest: { readonly at: number; readonly what: string },
  now: number,
): Finding {
  if (latest.at <= now + CLOCK_TOLERANCE_MS) return ok('clock', `the clock says ${utc(now)}`)
  return problem(
    'clock',
    `the clock says ${utc(now)}, but ${latest.what} is of ${utc(latest.at)}`,
    'Set the clock (NTP); certificates and policies are judged by it.',
  )
}

async function latestTime(
  { folder, config, storeFolder }: Settings,
  { sts }: Wiring,
): Promise<{ readonly at: number; readonly what: string }> {
  const configFolder = join(folder, 'config')
  const files = [
    __filename,
    ...namesIn(configFolder).map((name) => join(configFolder, name)),
    join(config.store.path ?? storeFolder, 'policies.mdb'),
  ].map((path) => {
    return { at: changedAt(path), what: path }
  })
  let latest = files.reduce((last, each) => (each.at > last.at ? each : last))
  try {
    for await (const { domain, fetchedAt } of sts.each()) {
      if (fetchedAt > latest.at) latest = { at: fetchedAt, what: `the cached policy of ${domain}` }
    }
  } catch {
    // A store that does not answer is told of elsewhere; here it tells nothing of the time.
  }
  return latest
}

/** What cannot be looked at tells nothing of the time. */
function changedAt(path: string): number {
  try {
    return statSync(path).mtimeMs
  } catch {
    return 0
  }
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function collect(warnings: string[]): Logger {
  const ignore = () => undefined
  const keep = (text: string) => void warnings.push(text)
  return { info: ignore, notice: ignore, warn: keep, error: keep }
}

function ok(check: Finding['check'], text: string): Finding {
  return { check, level: 'ok', text: printable(text), cure: null }
}

function note(check: Finding['check'], text: string, cure: string | null): Finding {
  return { check, level: 'note', text: printable(text), cure }
}

function problem(check: Finding['check'], text: string, cure: string): Finding {
  return { check, level: 'problem', text: printable(text), cure }
}

export function doctorText({ findings }: DoctorReport, style: Style): readonly string[] {
  const colours = { ok: 'good', note: 'fair', problem: 'bad' } as const
  return findings.flatMap(({ check, level, text, cure }) => {
    const [first = '', ...rest] = wrap(' '.repeat(20), text)
    const word = style.paint(level, colours[level])
    return [
      `${word}${' '.repeat(9 - level.length)}${check.padEnd(11)}${first.trimStart()}`,
      ...rest,
      ...(cure === null ? [] : wrap(`${' '.repeat(20)}Do: `, cure)),
    ]
  })
}
