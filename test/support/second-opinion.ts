/** Verifiers of other hands for report mail: Python with dkimpy, and mailauth. Each tells what it makes of the same octets. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { generateKeyPairSync } from 'node:crypto'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Report } from '../../plugins/tlsrpt/types'

export interface PythonsOpinion {
  /** True, or why not. */
  readonly dkim: boolean | string
  readonly dkimForReports: boolean | string
  readonly defects: readonly string[]
  readonly type: string
  readonly reportType: string
  readonly parts: readonly string[]
  readonly disposition: string
  readonly fileName: string
  readonly name: string
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  readonly json: Report
  /** As it was sent. */
  readonly jsonText: string
}

/** Rejects where Python cannot read the message at all. */
export async function pythonsOpinion(
  message: string,
  keyName: string,
  record: string,
): Promise<PythonsOpinion> {
  // Debian's own, which has its dkimpy. Not waited for in one go: the servers of a test may live in this process.
  const child = spawn('/usr/bin/python3', [join(__dirname, 'second-opinion.py'), keyName, record])
  child.stdin.end(Buffer.from(message, 'latin1'))
  const [stdout, stderr] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  if (child.exitCode !== 0) throw new Error(`Python cannot read the message: ${stderr}`)
  const opinion = JSON.parse(stdout) as PythonsOpinion
  return { ...opinion, jsonText: Buffer.from(opinion.jsonText, 'base64').toString('utf8') }
}

export interface MailauthsOpinion {
  readonly result: string
  readonly comment: string | undefined
  readonly domain: string
  readonly signed: readonly string[]
}

interface Verified {
  readonly results: readonly {
    readonly status: { readonly result: string; readonly comment?: string }
    readonly signingDomain: string
    readonly signingHeaders?: { readonly keys?: string }
  }[]
}

/** @returns one for each signature */
export async function mailauthsOpinion(
  message: string,
  record: string,
): Promise<readonly MailauthsOpinion[]> {
  const { dkimVerify } = createRequire(__filename)('mailauth/lib/dkim/verify') as {
    readonly dkimVerify: (message: Buffer, options: object) => Promise<Verified>
  }
  const resolver = () => Promise.resolve([[record]])
  const { results } = await dkimVerify(Buffer.from(message, 'latin1'), { resolver })
  return results.map(({ status, signingDomain, signingHeaders }) => ({
    result: status.result,
    comment: status.comment,
    domain: signingDomain,
    signed: (signingHeaders?.keys ?? '').split(/\s*:\s*/).map((name) => name.toLowerCase()),
  }))
}

export interface TestKey {
  readonly privateKey: string
  /** The text of its TXT record, without an `s=`. */
  readonly record: string
  /** The same with other tags in it. */
  readonly recordWith: (tags: string) => string
}

export function makeDkimKey(bits = 2048): TestKey {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', {
    modulusLength: bits,
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  })
  const recordWith = (tags: string) => `v=DKIM1; ${tags}k=rsa; p=${publicKey.toString('base64')}`
  return { privateKey, record: recordWith(''), recordWith }
}
