/** Target `tlsrpt`: the TXT records of TLSRPT and the destinations in them, which decide to whom we connect and what stands in a header. */
import assert from 'node:assert/strict'
import { type Destination, MOST_DESTINATIONS, parseReportRecord } from '../../plugins/tlsrpt/record'
import { damage, unmarked } from './octets'
import type { Random } from './random'
import { claimOneLine, quickly, type Input, type Target } from './target'

export function tlsrptTarget(): Promise<Target> {
  return Promise.resolve({ make, check })
}

const VERSIONS = [
  'v=TLSRPTv1;',
  'v=TLSRPTv1 ;',
  'v=TLSRPTv1',
  'v=tlsrptv1;',
  'v=STSv1;',
  '',
] as const
const FIELDS = ['rua=', 'rua = ', ' rua=', 'RUA=', 'ruf=', 'x-y=z;rua=', '=', 'rua'] as const
const URIS = [
  'mailto:tls@rcpt.test', 'mailto:TLS%40rcpt.test', 'mailto:a@rcpt.test?subject=x%0d%0aBcc:%20b@c', 'mailto:a%0d%0aTo:b@rcpt.test',
  'mailto:"a b"@rcpt.test', 'mailto:"a%22,b"@rcpt.test', 'mailto:a,b@rcpt.test', 'mailto:<a@rcpt.test>', 'mailto:a@[192.0.2.1]', 'mailto:%',
  'mailto:a@b@rcpt.test', 'mailto:', 'MAILTO:a@rcpt.test', 'https://rcpt.test/tls', 'https://127.0.0.1/', 'https://[::1]:25/', 'HTTPS://rcpt.test',
  'https://user:pass@rcpt.test/', 'https://rcpt.test:99999/', 'https:rcpt.test', 'http://rcpt.test/', 'file:///etc/passwd', '//rcpt.test', '',
] as const // prettier-ignore
/** What makes patterns go back over the same text again and again. */
const RUNS = [
  ' ',
  '\t',
  ';',
  ',',
  '=',
  '.',
  'a.',
  '"',
  '\\',
  '@',
  '%',
  '%40',
  ':',
  '\r\n',
  '\u00e9',
] as const

function record(random: Random): Buffer {
  const uris = Array.from({ length: random.below(9) }, () => random.pick(URIS))
  const version = random.percent(75) ? VERSIONS[0] : random.pick(VERSIONS)
  const field = random.percent(70) ? FIELDS[0] : random.pick(FIELDS)
  const text = `${version} ${field}${uris.join(random.pick([',', ' , ', ',,']))}${random.pick(['', ';', '; x=y'])}`
  if (!random.percent(10)) return Buffer.from(text)
  const at = random.below(text.length + 1)
  const repeated = random.pick(RUNS)
  const times = random.pick([10, 1000, Math.floor(65_000 / repeated.length)])
  return Buffer.from(text.slice(0, at) + repeated.repeat(times) + text.slice(at))
}

function make(random: Random): Input {
  const count = random.percent(80) ? 1 : random.below(4)
  return Array.from({ length: count }, () => {
    const octets = record(random)
    return random.percent(40) ? damage(random, unmarked(octets)) : octets
  })
}

function check(records: Input): string {
  const found = quickly('parseReportRecord', () => parseReportRecord(records))
  const ours = records.filter((octets) => octets.toString('latin1').startsWith('v=TLSRPTv1'))
  if (found.kind === 'none') return 'none'
  assert.ok(ours.length > 0, 'a record of another kind was read')
  if (found.kind === 'invalid') {
    claimOneLine(found.detail, 200)
    return 'invalid'
  }
  const { destinations, skipped } = found
  assert.ok(destinations.length <= MOST_DESTINATIONS && skipped.length <= 10)
  for (const why of skipped) claimOneLine(why, 200)
  destinations.forEach(claimDestination)
  const texts = destinations.map((one) => (one.kind === 'mailto' ? one.address : one.url))
  assert.equal(new Set(texts).size, texts.length, 'one destination twice')
  if (destinations.length === 0) return 'record without a destination'
  return `record: ${[...new Set(destinations.map(({ kind }) => kind))].sort().join(' and ')}`
}

/** By rules written here once more: what stands here goes into an envelope, a header, or a connection. */
function claimDestination(destination: Destination): void {
  if (destination.kind === 'https') {
    const { protocol, username, password, hostname } = new URL(destination.url)
    assert.equal(protocol, 'https:')
    assert.deepEqual([username, password], ['', ''])
    assert.ok(hostname !== '')
    assert.match(destination.url, /^[\x21-\x7e]{1,1000}$/)
    return
  }
  const { address } = destination
  assert.match(address, /^[\x20-\x7e]{3,320}$/, 'not printable ASCII')
  const at = address.lastIndexOf('@')
  const local = address.slice(0, at)
  assert.match(address.slice(at + 1), /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/)
  if (local.startsWith('"')) {
    assert.match(local, /^"([^"\\]|\\.)+"$/, 'a quote that ends too soon')
  } else {
    assert.doesNotMatch(local, /[\s"(),:;<>@[\\\]]/, 'not one bare address')
  }
}
