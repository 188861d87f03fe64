/** The command line: what was asked, or what is wrong with it. Pure; never throws. */
import { isIP } from 'node:net'
import { parseArgs } from 'node:util'
import { mayBeName } from '../destinations'
import { readDay } from '../tlsrpt/names'
import { printable } from './words'

/** As the options are called. */
export type Asked = 'requiretls' | 'tls-required-no'

export type Command =
  | {
      readonly kind: 'check'
      readonly target: string
      readonly connect: boolean
      readonly route: { readonly host?: string; readonly port?: number }
      /** What the message asks (RFC 8689). */
      readonly asked: Asked | null
    }
  | { readonly kind: 'list' }
  | { readonly kind: 'show' | 'refresh' | 'purge'; readonly domain: string }
  | { readonly kind: 'reports today'; readonly domain?: string }
  | { readonly kind: 'reports show'; readonly domain: string; readonly day?: string }
  | { readonly kind: 'reports pending' }
  | { readonly kind: 'reports send'; readonly domain: string; readonly day?: string }
  | { readonly kind: 'reports drop'; readonly domain: string; readonly day?: string }
  | { readonly kind: 'waiting'; readonly domain?: string }
  | { readonly kind: 'doctor' }

export type Arguments =
  | {
      readonly kind: 'command'
      readonly command: Command
      readonly json: boolean
      /** As given with -c. */
      readonly folder: string | undefined
    }
  | { readonly kind: 'help' | 'version' }
  | { readonly kind: 'wrong'; readonly sentence: string }

export const USAGE = `Usage: haraka-tls-policy [-c HARAKA_DIR] COMMAND

  check DOMAIN|ADDRESS [--connect] [--host HOST] [--port PORT]
        [--requiretls | --tls-required-no]
      What a delivery would do, and why. --connect looks at the hosts as well,
      without sending mail. --host and --port: mail that is routed there.
      --requiretls, --tls-required-no: a message that asks for that.
      Exit code 0: would be delivered, verified (only --connect knows);
      1: delivered, not verified or not known to be; 2: deferred or returned.
  waiting [DOMAIN]             destinations whose mail waits, or came back,
                               because of a policy: which host, why, since
                               when, and what is to be done. Exit code 0: none;
                               1: some; 2: not known
  policies list                MTA-STS policies that are kept
  policies show DOMAIN         one of them; exit code 1 where there is none
  policies refresh DOMAIN      fetch it now, whatever is kept
  policies purge DOMAIN        forget it, for all workers
  reports today [DOMAIN]       what was counted today for TLSRPT reports
  reports show DOMAIN [--day YYYY-MM-DD]
                               the report as it would go, today's by default
  reports pending              those of days that are over, which have not gone
  reports send DOMAIN [--day YYYY-MM-DD]
                               have it sent at once, yesterday's by default
  reports drop DOMAIN [--day YYYY-MM-DD]
                               forget it, for all workers
  doctor                       look for mistakes in the set-up; exit code 1 on
                               a problem

  -c, --config HARAKA_DIR      Haraka's folder, with config/ in it
                               (default: $HARAKA, or the current folder)
  --json                       for programs (docs/command.md)
  -h, --help    -v, --version

Exit code 64: this was not understood. 70: something unforeseen. 78: the
settings have mistakes.`

export function readArguments(argv: readonly string[]): Arguments {
  try {
    return read(argv)
  } catch (err: unknown) {
    return wrong(err instanceof Error ? (err.message.split('. ')[0] ?? '') : String(err))
  }
}

function read(argv: readonly string[]): Arguments {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      config: { type: 'string', short: 'c' },
      connect: { type: 'boolean' },
      host: { type: 'string' },
      port: { type: 'string' },
      requiretls: { type: 'boolean' },
      'tls-required-no': { type: 'boolean' },
      day: { type: 'string' },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean', short: 'v' },
    },
  })
  if (values.help) return { kind: 'help' }
  if (values.version) return { kind: 'version' }
  const command = readCommand(positionals, values)
  if (typeof command === 'string') return wrong(command)
  const onlyForCheck = (['connect', 'host', 'port', 'requiretls', 'tls-required-no'] as const).find(
    (option) => values[option] !== undefined,
  )
  if (command.kind !== 'check' && onlyForCheck !== undefined) {
    return wrong(`--${onlyForCheck} belongs to check`)
  }
  if (values.day !== undefined && !/^reports (show|send|drop)$/.test(command.kind)) {
    return wrong('--day belongs to reports show, send and drop')
  }
  return { kind: 'command', command, json: values.json ?? false, folder: values.config }
}

function readCommand(
  [word, ...rest]: readonly string[],
  values: {
    readonly connect?: boolean
    readonly host?: string
    readonly port?: string
    readonly requiretls?: boolean
    readonly 'tls-required-no'?: boolean
    readonly day?: string
  },
): Command | string {
  switch (word) {
    case undefined:
      return 'No command was given'
    case 'check':
      return readCheck(rest, values)
    case 'policies':
      return readPolicies(rest)
    case 'reports':
      return readReports(rest, values.day)
    case 'waiting':
      return readWaiting(rest)
    case 'doctor':
      return rest.length === 0 ? { kind: 'doctor' } : 'doctor takes nothing more'
    default:
      return `There is no command "${word}"`
  }
}

function readCheck(
  rest: readonly string[],
  { connect, host, port, requiretls, 'tls-required-no': no }: Parameters<typeof readCommand>[1],
): Command | string {
  const [target] = rest
  if (target === undefined || target === '' || rest.length > 1) return 'check takes one domain'
  const number = port === undefined ? undefined : Number(port)
  if (number !== undefined && !(Number.isInteger(number) && number > 0 && number < 65_536)) {
    return '--port takes a number from 1 to 65535'
  }
  if (requiretls && no) return 'a message asks for one of --requiretls and --tls-required-no'
  if (host === '') return '--host takes a host name'
  const unnamed = [target.slice(target.lastIndexOf('@') + 1), host].find(
    (name) => name !== undefined && !mayBeDomain(name),
  )
  if (unnamed !== undefined) return noDomain(unnamed)
  return {
    kind: 'check',
    target,
    connect: connect ?? false,
    asked: requiretls ? 'requiretls' : no ? 'tls-required-no' : null,
    route: {
      ...(host === undefined ? {} : { host }),
      ...(number === undefined ? {} : { port: number }),
    },
  }
}

function readPolicies([word, domain, ...rest]: readonly string[]): Command | string {
  if (word === 'list') return domain === undefined ? { kind: 'list' } : 'list takes nothing more'
  if (word !== 'show' && word !== 'refresh' && word !== 'purge') {
    return 'policies takes list, show, refresh or purge'
  }
  if (domain === undefined || rest.length > 0) return `policies ${word} takes one domain`
  if (!mayBeDomain(domain)) return noDomain(domain)
  return { kind: word, domain }
}

function readWaiting([domain, ...rest]: readonly string[]): Command | string {
  if (rest.length > 0) return 'waiting takes one domain, or none'
  if (domain === undefined) return { kind: 'waiting' }
  return mayBeDomain(domain) ? { kind: 'waiting', domain } : noDomain(domain)
}

function readReports(
  [word, domain, ...rest]: readonly string[],
  day: string | undefined,
): Command | string {
  if (word === 'pending') {
    return domain === undefined ? { kind: 'reports pending' } : 'reports pending takes nothing more'
  }
  if (word !== 'today' && word !== 'show' && word !== 'send' && word !== 'drop') {
    return 'reports takes today, show, pending, send or drop'
  }
  if (rest.length > 0) return `reports ${word} takes one domain`
  if (domain !== undefined && !mayBeDomain(domain)) return noDomain(domain)
  if (word === 'today')
    return { kind: 'reports today', ...(domain === undefined ? {} : { domain }) }
  if (domain === undefined) return `reports ${word} takes one domain`
  if (day !== undefined && readDay(day) === undefined) return '--day takes a day as 2026-11-27'
  return { kind: `reports ${word}`, domain, ...(day === undefined ? {} : { day }) }
}

/** A name, or an address as mail addresses have it. */
function mayBeDomain(text: string): boolean {
  return mayBeName(text) || isIP(text) !== 0 || /^\[[\w.:-]+\]$/.test(text)
}

function noDomain(text: string): string {
  return `"${printable(text, 80)}" is no domain name`
}

function wrong(sentence: string): Arguments {
  return { kind: 'wrong', sentence }
}
