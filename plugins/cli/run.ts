/**
 * The command from its arguments to its exit code. Everything that it says goes through `io`; it ends what it began, and
 * what goes wrong is a sentence on stderr and an exit code, never a stack trace for an operator's mistake.
 */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { loadBackend } from '../store'
import type { Logger } from '../store'
import { wire } from '../wiring'
import type { Wiring } from '../wiring'
import { readArguments, USAGE } from './arguments'
import type { Arguments, Command } from './arguments'
import { check } from './check'
import { checkText } from './check-text'
import { doctor, doctorText } from './doctor'
import { findHaraka } from './find-haraka'
import { policies, policiesText } from './policies'
import { EXIT } from './conclude'
import { queueText, reportsDrop, reportsPending, reportsSend } from './report-queue'
import { reportsShow, reportsToday, reportsTodayText } from './reports'
import { isHarakaFolder, readSettings } from './settings'
import type { Settings } from './settings'
import { becomeHaraka, selfOf } from './this-machine'
import { waiting, waitingText } from './waiting'
import { styleFor, wrap } from './words'
import type { Style } from './words'
import { errorText } from '../x509/trouble'

export interface Io {
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  /** Whether `out` is a terminal. */
  readonly terminal: boolean
  readonly now: () => Date
}

interface Report {
  readonly json: { readonly exitCode: number }
  readonly text: (style: Style) => readonly string[]
}

/** @returns the exit code. Never rejects. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  try {
    const read = readArguments(argv)
    switch (read.kind) {
      case 'help':
        io.out(`${USAGE}\n`)
        return 0
      case 'version':
        io.out(`${packageVersion()}\n`)
        return 0
      case 'wrong':
        return complain(io, EXIT.usage, `${read.sentence}; --help tells more`)
      case 'command':
        return await runCommand(read, io)
    }
  } catch (err: unknown) {
    io.err(
      `haraka-tls-policy: ${err instanceof Error ? (err.stack ?? err.message) : String(err)}\n`,
    )
    return EXIT.software
  }
}

async function runCommand(
  { command, json, folder: named }: Extract<Arguments, { kind: 'command' }>,
  io: Io,
): Promise<number> {
  const folder = resolve(io.cwd, named ?? io.env['HARAKA'] ?? '.')
  if (!isHarakaFolder(folder)) {
    return complain(
      io,
      EXIT.usage,
      `${folder} is no Haraka folder, it has no config/ (-c names one)`,
    )
  }
  const read = readSettings(folder)
  if (read.ok) {
    // What is loaded later may be closed to the user that the command becomes.
    loadBackend(read.settings.config.store.backend)
    const problem = becomeHaraka(read.settings)
    if (problem !== undefined) return complain(io, EXIT.config, problem)
  }
  if (command.kind === 'doctor') {
    const report = await doctor(read, {
      wire: wireFor,
      findHaraka: (where) => findHaraka(where, io.env),
      now: () => io.now().getTime(),
    })
    return show({ json: report, text: (style) => doctorText(report, style) }, json, io)
  }
  if (!read.ok) return complain(io, EXIT.config, ...read.mistakes)
  const wiring = await wireFor(read.settings, loggerTo(io)).catch(errorText)
  if (typeof wiring === 'string') return complain(io, EXIT.config, wiring)
  try {
    if (command.kind === 'reports show') {
      const { tlsrpt } = read.settings.config
      const now = io.now().getTime()
      const shown = await reportsShow(wiring.tallies, tlsrpt, now, command.domain, command.day)
      if (!shown.ok) return complain(io, EXIT.unverified, shown.problem)
      io.out(shown.json)
      return EXIT.verified
    }
    return show(await reportOf(command, read.settings, wiring, io), json, io)
  } finally {
    await wiring.close()
  }
}

async function reportOf(
  command: Exclude<Command, { kind: 'doctor' | 'reports show' }>,
  settings: Settings,
  wiring: Wiring,
  { now }: Io,
): Promise<Report> {
  if (command.kind === 'check') {
    const report = await check({ ...command, now }, settings, wiring)
    return { json: report, text: (style) => checkText(report, style) }
  }
  if (command.kind === 'waiting') {
    const at = now()
    const report = await waiting(wiring.store, settings.config, at, command.domain)
    return { json: report, text: (style) => waitingText(report, at.getTime(), style) }
  }
  if (command.kind === 'reports today') {
    const { tlsrpt } = settings.config
    const today = await reportsToday(wiring.tallies, tlsrpt, now().getTime(), command.domain)
    return { json: today, text: () => reportsTodayText(today) }
  }
  if (command.kind === 'reports pending') {
    const report = await reportsPending({ ...wiring, now: now().getTime() })
    return { json: report, text: () => queueText(report) }
  }
  if (command.kind === 'reports send' || command.kind === 'reports drop') {
    const act = command.kind === 'reports send' ? reportsSend : reportsDrop
    const report = await act({ ...wiring, now: now().getTime() }, command.domain, command.day)
    return { json: report, text: () => queueText(report) }
  }
  const { mtaSts } = settings.config
  const report = await policies(command, wiring.sts, mtaSts.refreshIntervalSeconds)
  return { json: report, text: () => policiesText(report, now().getTime()) }
}

function show({ json: report, text }: Report, json: boolean, io: Io): number {
  const style = styleFor(io.terminal && !io.env['NO_COLOR'])
  io.out(json ? `${JSON.stringify(report, undefined, 2)}\n` : `${text(style).join('\n')}\n`)
  return report.exitCode
}

function wireFor(settings: Settings, log: Logger): Promise<Wiring> {
  const { config, ca, redisIni, redisCa, owner, storeFolder, outbound } = settings
  return wire({
    config: () => config,
    log,
    storeFolder,
    redisIni,
    redisCa,
    owner,
    ca: () => ca,
    self: selfOf(settings),
    tlsSwitchedOff: () => !outbound.enableTls,
    // The report says how the resolver is, and which policy cannot be had.
    onHealth: () => undefined,
    missed: () => undefined,
  })
}

function complain(io: Io, exitCode: number, ...sentences: readonly string[]): number {
  for (const sentence of sentences) {
    io.err(`${wrap('haraka-tls-policy: ', sentence).join('\n')}\n`)
  }
  return exitCode
}

function loggerTo(io: Io): Logger {
  const ignore = () => undefined
  const tell = (text: string) => void complain(io, 0, text)
  return { info: ignore, notice: ignore, warn: tell, error: tell }
}

function packageVersion(): string {
  const file = resolve(__dirname, '../../package.json')
  return String((JSON.parse(readFileSync(file, 'utf8')) as { version?: unknown }).version)
}
