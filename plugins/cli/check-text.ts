/** The report of `check` as lines for people: at most 80 columns, in the order in which a delivery goes. Pure. */
import { destinationText } from '../destinations'
import type { Lookup } from './lookups'
import type { CheckReport, ReportedHost, ReportedTrial } from './report'
import { fromNow, printable, utc, wrap } from './words'
import type { Colour, Style } from './words'

export function checkText(report: CheckReport, style: Style): readonly string[] {
  const head = (title: string) => ['', style.paint(title, 'strong')]
  return [
    ...title(report, style),
    ...head('Lookups'),
    ...report.lookups.flatMap((lookup) => lookupText(lookup, style)),
    ...(report.lookups.length === 0 ? ['  none'] : []),
    ...head('MTA-STS'),
    ...stsText(report),
    ...head('Hosts, in the order of trial'),
    ...report.hosts.flatMap((host, index) => hostText(host, index, style)),
    ...(report.hosts.length === 0 ? ['  none'] : []),
    ...(report.trials === null ? [] : head('Connections')),
    ...(report.trials ?? []).flatMap((trial) => trialText(trial, style)),
    '',
    ...conclusionText(report, style),
  ]
}

function title({ domain, nextHop, route, resolver, checkedAt }: CheckReport, style: Style) {
  const given = printable(domain)
  const asked = route || given === nextHop ? given : `${given} (${nextHop})`
  const through = route ? `, routed to ${printable(route.host)} port ${route.port}` : ''
  const heading = `${asked}${through}, ${utc(Date.parse(checkedAt))}`
  const dnssec = {
    validating: 'DNSSEC is validated',
    blind: 'DNSSEC is NOT validated: DANE is off',
    unreachable: 'NO RESOLVER ANSWERS',
    'not-asked': 'No resolver was asked',
  }[resolver.state]
  return [
    ...wrap('', heading, (line) => style.paint(line, 'strong')),
    ...wrap(
      '  ',
      resolver.state === 'not-asked'
        ? `${dnssec}: ${resolver.detail}`
        : `${dnssec} (${resolver.detail}; ${resolver.description})`,
    ),
  ]
}

/** Secure or not, type, name; below it what came back. */
function lookupText(lookup: Lookup, style: Style): readonly string[] {
  const { name, type, result, security, ttl, aliases, records, failure } = lookup
  const word = security ?? 'failed'
  const colour = ({ secure: 'good', insecure: 'plain', failed: 'bad' } as const)[word]
  const indent = ' '.repeat(16)
  const shown = wrap(indent, `${name}${ttl === null ? '' : ` (TTL ${ttl})`}`)
  const [asked = '', ...more] = [shown[0]?.trim(), ...shown.slice(1)]
  return [
    `  ${style.paint(word, colour)}${' '.repeat(9 - word.length)}${type.padEnd(5)}${asked}`,
    ...more,
    ...aliases.flatMap((alias) => wrap(`${indent}alias of `, alias)),
    ...records.flatMap(({ text, usable, why }) => [
      ...wrap(indent, text),
      ...(usable === null
        ? []
        : wrap(`${indent}  `, usable ? 'usable' : `not usable: ${why ?? ''}`)),
    ]),
    ...(result === 'nodata' ? [`${indent}no such records`] : []),
    ...(result === 'nxdomain' ? [`${indent}no such name`] : []),
    ...(failure === null ? [] : wrap(indent, failure)),
  ]
}

function stsText({ sts, checkedAt }: CheckReport): readonly string[] {
  const now = Date.parse(checkedAt)
  const { kind, policy, problem } = sts
  const nothing = {
    'not-asked': 'not asked for',
    none: 'no policy',
    unknown: 'unknown: the TXT lookup failed, and no policy is cached',
    'store-unread': `unknown: the store could not be read (${sts.store ?? ''}), and TXT lookup or fetch failed`,
    policy: '',
  }[kind]
  const when = (label: string, at: string) =>
    wrap(`  ${label.padEnd(11)}`, `${utc(Date.parse(at))} (${fromNow(Date.parse(at), now)})`)
  return [
    ...(policy === null
      ? wrap('  ', nothing)
      : [
          ...wrap('  mode       ', policy.mode),
          ...policy.mx.flatMap((pattern) => wrap('  mx         ', pattern)),
          ...wrap('  id         ', policy.id),
          ...wrap('  source     ', policy.source === 'cache' ? 'the cache' : 'fetched just now'),
          ...when('fetched', policy.fetchedAt),
          ...when('expires', policy.expiresAt),
          ...(policy.nextRefresh === null ? [] : when('refresh', policy.nextRefresh)),
        ]),
    ...(problem === null ? [] : wrap('  problem    ', `${problem.reason}: ${problem.detail}`)),
  ]
}

function hostText(
  { host, preference, port, addresses, demand }: ReportedHost,
  index: number,
  style: Style,
) {
  const { level, policy, detail, rfc, reason, success, tlsa, names, sni } = demand
  const demands = {
    refuse: 'not used',
    opportunistic: 'TLS if offered, nobody authenticated',
    encrypt: 'TLS, nobody authenticated',
    authenticate: `TLS to an authenticated host; success counts as "${success ?? ''}"`,
  }[level]
  const colour = (
    { refuse: 'bad', authenticate: 'good', encrypt: 'fair', opportunistic: 'fair' } as const
  )[level]
  return [
    ...wrap(`  ${index + 1}. `, `${host} (preference ${preference}, port ${port})`),
    ...wrap('     demands  ', demands, (line) => style.paint(line, colour)),
    ...wrap('     because  ', `${reason === null ? '' : `${reason}: `}${detail} (${rfc})`),
    ...wrap('     policy   ', policy),
    ...addresses.flatMap((address) => wrap('     address  ', address)),
    ...(sni === null ? [] : wrap('     SNI      ', sni)),
    ...tlsa.flatMap((record) => wrap('     TLSA     ', record)),
    ...names.flatMap((name) => wrap('     name     ', name)),
  ]
}

const RESULTS = {
  delivers: 'mail would go here',
  next: 'not used',
  deferred: 'Haraka would defer the mail here',
  bounced: 'Haraka would return the mail here',
} as const

function trialText(trial: ReportedTrial, style: Style): readonly string[] {
  const { host, address, port, result, verdict, reason, detail, rfc, enforcing } = trial
  const where = address === null ? `${host}: not connected to` : `${host} [${address}] port ${port}`
  return [
    ...wrap('  ', where),
    `    verdict   ${style.paint(verdict, colourOf(verdict))}; ${RESULTS[result]}`,
    ...wrap('    reason    ', `${reason}: ${detail} (${rfc})`),
    ...(enforcing === null
      ? []
      : wrap('    enforcing ', `would have said: ${enforcing.verdict}, ${enforcing.reason}`)),
    ...(trial.protocol === null
      ? []
      : wrap('    TLS       ', `${trial.protocol} ${trial.cipher ?? ''}`)),
    ...trial.certificates.flatMap((certificate, depth) => [
      ...wrap('    presented ', `${depth}. ${certificate.subject || 'no subject'}`),
      ...wrap('              ', `issuer ${certificate.issuer || 'no issuer'}`),
      ...wrap('              ', `names ${certificate.names.join(' ') || 'none'}`),
      ...wrap('              ', `valid ${certificate.notBefore} to ${certificate.notAfter}`),
      ...wrap('              ', certificate.tlsa),
    ]),
  ]
}

function colourOf(verdict: ReportedTrial['verdict']): Colour {
  switch (verdict) {
    case 'verified':
      return 'good'
    case 'trusted':
    case 'encrypted':
    case 'cleartext':
      return 'fair'
    case 'refused':
      return 'bad'
  }
}

function conclusionText(report: CheckReport, style: Style): readonly string[] {
  const { conclusion } = report
  const { delivery, host, reason, detail, rfc } = conclusion
  const [words, colour] = {
    verified: ['Would be delivered, verified', 'good'],
    'if-verified': ['Would be delivered if verified', 'fair'],
    unverified: ['Would be delivered, not verified', 'fair'],
    deferred: ['Would be deferred', 'bad'],
    bounced: ['Would be returned to the sender', 'bad'],
  }[delivery] as [string, Colour]
  const at = host === null ? '' : `${host}: `
  const because = reason === null ? detail : `${reason}: ${detail} (${rfc ?? ''})`
  return [
    ...report.endedRules.flatMap((line) =>
      wrap('', `The exception "${line}" under [destinations] is over and has no effect any more.`),
    ),
    ...treatmentText(report),
    ...wrap('', words, (line) => style.paint(line, colour)),
    ...wrap('  ', `${at}${because}`),
  ]
}

function treatmentText({ treatment, rule, ruleMatch, ruleFor, ruleUntil }: CheckReport) {
  const match = ruleMatch.length === 0 ? {} : { match: ruleMatch }
  const until = ruleUntil === null ? {} : { until: ruleUntil }
  const by =
    rule === null
      ? ''
      : ` (rule "${ruleFor ?? ''} = ${destinationText({ rule, ...match, ...until })}" under [destinations])`
  switch (treatment) {
    case 'enforce':
      return rule === null ? [] : wrap('', `A rule of yours has a say${by}.`)
    case 'observe':
      return wrap(
        '',
        `Policies are only observed here${by}: Haraka delivers as without the plugin.`,
      )
    case 'off':
      return wrap('', `No policy applies here${by}: Haraka delivers as without the plugin.`)
  }
}
