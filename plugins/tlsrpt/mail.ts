/**
 * A report as a message (RFC 8460 §5.3), signed once with the operator's own DKIM key (§3).
 *
 * Promises: the same report gives the same octets each time; plain ASCII, lines within RFC 5322's bounds; signed, or nothing.
 * nodemailer's parts do the writing, and are loaded where reports are wanted only: they take time and memory.
 */
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import type Dkim from 'nodemailer/lib/dkim'
import type MimeNode from 'nodemailer/lib/mime-node'
import { troubleText } from '../x509/trouble'
import type { SigningKey } from './key'

export interface ReportMail {
  /** Bare addr-specs, strict and in ASCII: what stands here is written as it is. */
  readonly from: string
  readonly to: string
  /** The policy domain. */
  readonly domain: string
  readonly submitter: string
  /** In the form of a Message-ID, without brackets. */
  readonly reportId: string
  readonly subject: string
  readonly fileName: string
  readonly date: Date
  /** For a human; ASCII. */
  readonly text: string
  readonly gzipped: Buffer
}

export type Composed =
  /** With CRLF, and without dots doubled. */
  { readonly ok: true; readonly message: string } | { readonly ok: false; readonly detail: string }

/** Signed each once (RFC 6376 §5.4); both TLS-Report fields by RFC 8460 §5.3. No `l=` (§3). */
const SIGNED = [
  'From',
  'To',
  'Subject',
  'Date',
  'Message-ID',
  'MIME-Version',
  'Content-Type',
  'TLS-Report-Domain',
  'TLS-Report-Submitter',
  'TLS-Required',
  'Auto-Submitted',
]
const PRINTABLE = /^[\x20-\x7e]{1,900}$/

interface Writer {
  readonly MimeNode: typeof MimeNode
  readonly Dkim: typeof Dkim
}
const load = createRequire(__filename)
let writer: Writer | undefined

/**
 * Loads nodemailer's parts ahead, while the user that started Haraka is still there: the one that it becomes may have no right to read
 * them. Kept: import() would look for the files once more.
 * @throws Error where they cannot be read
 */
export function loadWriter(): Writer {
  writer ??= {
    MimeNode: (load('nodemailer/lib/mime-node') as { readonly default: typeof MimeNode }).default,
    Dkim: (load('nodemailer/lib/dkim') as { readonly default: typeof Dkim }).default,
  }
  return writer
}

/** Never rejects. */
export async function composeReport(mail: ReportMail, key: SigningKey): Promise<Composed> {
  const { from, to, domain, submitter, reportId, subject, fileName } = mail
  const odd = [from, to, domain, submitter, reportId, subject, fileName].find(
    (text) => !PRINTABLE.test(text),
  )
  if (odd !== undefined) return { ok: false, detail: 'a header field would not be printable ASCII' }
  if (/["\\]/.test(fileName)) return { ok: false, detail: 'the file name cannot be quoted' }
  try {
    const { MimeNode, Dkim } = loadWriter()
    return verified(await sign(await write(mail, MimeNode), key, Dkim))
  } catch (error: unknown) {
    return { ok: false, detail: troubleText(error) }
  }
}

/** Is neither parsed nor encoded nor folded. */
function asIs(value: string): { readonly prepared: true; readonly value: string } {
  return { prepared: true, value }
}

function write(mail: ReportMail, Mime: Writer['MimeNode']): Promise<Buffer> {
  const root = new Mime('multipart/report; report-type=tlsrpt', {
    // Of the report alone, so that a repeat has the same octets.
    baseBoundary: createHash('sha256').update(mail.reportId).digest('hex').slice(0, 32),
    // It would write Tls-Report-Domain.
    normalizeHeaderKey: (name) => name.replace(/^Tls-/, 'TLS-'),
    disableFileAccess: true,
    disableUrlAccess: true,
    newline: 'win',
  })
  const { subject, date, domain, submitter, reportId } = mail
  root.setHeader([
    // Not as text, which it would parse: `a@x, b@y` would become two.
    { key: 'From', value: { name: '', address: mail.from } },
    { key: 'To', value: { name: '', address: mail.to } },
    { key: 'Subject', value: asIs(subject.replace(/ (Submitter|Report-ID):/g, '\r\n $1:')) },
    { key: 'Date', value: date.toUTCString().replace('GMT', '+0000') },
    { key: 'Message-ID', value: asIs(`<${reportId}>`) },
    { key: 'TLS-Report-Domain', value: domain },
    { key: 'TLS-Report-Submitter', value: submitter },
    { key: 'TLS-Required', value: 'No' },
    { key: 'Auto-Submitted', value: 'auto-generated' },
  ])
  root.createChild('text/plain; charset=us-ascii').setContent(mail.text)
  root
    // Names longer than fifty characters would be split (RFC 2231), which receivers of reports do not read.
    .createChild(false)
    .setHeader('Content-Type', asIs(`application/tlsrpt+gzip;\r\n name="${mail.fileName}"`))
    .setHeader('Content-Disposition', asIs(`attachment;\r\n filename="${mail.fileName}"`))
    .setHeader('Content-Transfer-Encoding', 'base64')
    .setContent(mail.gzipped)
  return root.build()
}

async function sign(message: Buffer, key: SigningKey, Signer: Writer['Dkim']): Promise<string> {
  const signer = new Signer({
    domainName: key.domain,
    keySelector: key.selector,
    privateKey: key.privateKey,
    headerFieldNames: SIGNED.join(':'),
  })
  const chunks: Buffer[] = []
  for await (const chunk of signer.sign(message) as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString('latin1')
}

/** With a key that does not sign, the message would come back unsigned and without a word. */
function verified(message: string): Composed {
  const signatures = message.match(/^DKIM-Signature:/gim)?.length ?? 0
  if (signatures !== 1 || !message.startsWith('DKIM-Signature:')) {
    return { ok: false, detail: 'the report could not be signed' }
  }
  // Haraka takes a message as text and writes UTF-8.
  return /^[\t\r\n\x20-\x7e]*$/.test(message)
    ? { ok: true, message }
    : { ok: false, detail: 'the message is not plain ASCII' }
}
