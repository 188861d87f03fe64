/**
 * Target `requiretls`: what authors and other plugins ask of a message's way (RFC 8689): parameters of MAIL and headers, read by Haraka's
 * own code first, as they come in; and notes in the queue, written by others.
 */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { queueHandlers } from '../../plugins/haraka/notification'
import type { HarakaTransaction } from '../../plugins/haraka/types'
import { demandOf, headerSaysNo, NOTES_KEY } from '../../plugins/requiretls/demand'
import type { Offer } from '../../plugins/requiretls/offer'
import { answerMail } from '../../plugins/requiretls/parameter'
import { damage, unmarked } from './octets'
import type { Random } from './random'
import { claimOneLine, quickly, type Input, type Target } from './target'

const harakaRequire = createRequire(require.resolve('Haraka'))
const { rfc1869 } = harakaRequire('haraka-utils') as {
  readonly rfc1869: { parse(kind: 'mail', line: string, strict: boolean): string[] }
}
// It writes a line for each header that is odd.
const silent = () => undefined
const logger = harakaRequire('haraka-email-message/lib/logger') as object
Object.assign(logger, { lognotice: silent, logwarn: silent, logerror: silent })
const { Header } = harakaRequire('haraka-email-message') as {
  readonly Header: new () => { parse(lines: string[]): void; get_all(name: string): unknown }
}

export function requiretlsTarget(): Promise<Target> {
  return Promise.resolve({ make, check })
}

const PARAMETERS = [
  'REQUIRETLS', 'requiretls', 'RequireTLS', 'REQUIRETLS=x', 'REQUIRETLS=', 'REQUIRETLS==', 'REQUIRETLS=REQUIRETLS', 'XREQUIRETLS',
  'REQUIRETLSX', 'REQUIRETLS;', '=REQUIRETLS', 'SIZE=400', 'BODY=8BITMIME', 'SMTPUTF8', 'RET=HDRS', 'ENVID=x', '__proto__=x',
  'constructor', 'AUTH=<>', '\u0130requiretls', 'requ\u0131retls', '"REQUIRETLS"',
] as const // prettier-ignore
const PATHS = [
  '<a@b.test>',
  '<>',
  '<"a REQUIRETLS"@b.test>',
  '<"a> REQUIRETLS"@b.test>',
  'a@b.test',
] as const
const FIELDS = [
  'TLS-Required: No', 'tls-required:no', 'TLS-Required:\r\n No', 'TLS-Required: No\r\n ', 'TLS-Required: Yes', 'TLS-Required:',
  'TLS-Required: No (x)', 'TLS-Required: =?utf-8?Q?No?=', 'TLS-Required : No', 'TLS-Required', 'X-TLS-Required: No', 'Subject: x',
  'Subject: x\r\n TLS-Required: No', 'TLS-Required: N\r\n o', 'TLS-Required: Yes\rTLS-Required: No', '__proto__: No', ' TLS-Required: No', '',
] as const // prettier-ignore
const VALUES = ['true', 'false', 'null', '1', '0', '""', '"true"', '[]', '{}'] as const

const some = <T>(random: Random, most: number, list: readonly [T, ...T[]]): T[] =>
  Array.from({ length: random.below(most + 1) }, () => random.pick(list))

function notes(random: Random): string {
  const own = `{"requiretls":${random.pick(VALUES)},"tlsRequiredNo":${random.pick(VALUES)}}`
  return random.percent(70) ? `{"${NOTES_KEY}":${own}}` : random.pick([own, ...VALUES])
}

/** The rest of a MAIL command, a header, and notes in JSON. */
function make(random: Random): Input {
  const blank = random.pick([' ', ' ', '  ', '\t', '\u00a0'])
  const mail = [random.pick(PATHS), ...some(random, 4, PARAMETERS)].join(blank)
  const header = some(random, 4, FIELDS)
    .map((field) => `${field}${random.pick(['\r\n', '\n'])}`)
    .join('')
  return [`FROM:${mail}`, header, notes(random)].map((text) =>
    random.percent(40) ? damage(random, unmarked(Buffer.from(text))) : Buffer.from(text),
  )
}

function check([mail = Buffer.alloc(0), header = Buffer.alloc(0), own = Buffer.alloc(0)]: Input) {
  const answered = checkMail(mail.toString())
  const said = checkHeader(header.toString('latin1'))
  return `${answered}, ${said}, ${checkNotes(own.toString(), header.toString('latin1'))}`
}

const OFFERS: readonly Offer[] = [
  { kind: 'offered' },
  { kind: 'needs-tls' },
  { kind: 'not-offered', why: 'so' },
]

function checkMail(line: string): string {
  const words = harakaWords(line)
  if (words === undefined) return 'no command'
  // As Haraka does it (connection.js, cmd_mail).
  const parameters: Record<string, string | null> = {}
  for (const word of words.slice(1)) {
    const [, key, value] = /^([^=]+)(?:=(.+))?$/.exec(word) ?? []
    if (key !== undefined) parameters[key.toUpperCase()] = value ?? null
  }
  const isAsked = words.slice(1).some((word) => /^requiretls$/i.test(word))
  const kinds = OFFERS.map((offer) => {
    const answer = quickly('answerMail', () => answerMail(parameters, () => offer))
    assert.ok(!isAsked || answer.kind !== 'untagged', 'a tag that is forgotten')
    if (answer.kind === 'take') {
      assert.equal(offer.kind, 'offered')
      assert.ok(isAsked, 'a tag that was not asked for')
    }
    if (answer.kind === 'refuse') {
      assert.ok([501, 530, 555].includes(answer.code))
      assert.match(answer.text, /^5\.\d+\.\d+ /)
      claimOneLine(answer.text, 100)
    }
    return answer.kind
  })
  return `MAIL: ${kinds[0] ?? ''}`
}

function harakaWords(line: string): string[] | undefined {
  try {
    return rfc1869.parse('mail', line, false)
  } catch {
    return undefined
  }
}

function fieldsOf(text: string): unknown {
  const header = new Header()
  header.parse(text.split(/(?<=\n)/))
  return header.get_all('TLS-Required')
}

function checkHeader(text: string): string {
  const values = fieldsOf(text)
  assert.ok(Array.isArray(values))
  const says = quickly('headerSaysNo', () => headerSaysNo(values))
  // A second reader: whole fields, of which each says the one word.
  const fields = text
    .replace(/\r?\n(?=[ \t])/g, '')
    .split(/\r?\n/)
    .flatMap((line) => /^tls-required:(.*)$/is.exec(line)?.slice(1) ?? [])
  // Haraka passes over white space of every kind behind the colon.
  const isNo = (value: string) =>
    value
      .trimStart()
      .replace(/[ \t\r]/g, '')
      .toLowerCase() === 'no'
  if (says) assert.ok(fields.length > 0 && fields.every(isNo), 'protection is taken away unasked')
  return says ? 'header: No' : 'header: nothing'
}

function checkNotes(text: string, header: string): string {
  let given: unknown
  try {
    given = JSON.parse(text)
  } catch {
    return 'notes: no JSON'
  }
  const before = demandOf(given, false)
  const transaction: HarakaTransaction = {
    notes: given,
    header: { get_all: () => fieldsOf(header) },
  }
  quickly('queued', () => {
    queueHandlers.queued(transaction, undefined)
  })
  const kept: unknown = JSON.parse(JSON.stringify(transaction.notes ?? null))
  const after = demandOf(kept, false)
  if (before === 'requiretls') assert.equal(after, 'requiretls', 'the tag is lost')
  else assert.equal(after === 'tls-required-no', headerSaysNo(fieldsOf(header) as unknown[]))
  return `notes: ${after ?? 'nothing'}`
}
