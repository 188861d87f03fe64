/**
 * Ends a file of scenes: each of its deliveries once more, beside the command, and beside Haraka without the plugin and in mode
 * observe. The world is as the scenes have left it, and the same for all.
 */
import assert from 'node:assert/strict'
import type { CheckReport } from '../../../plugins/cli/report'
import { runCommandIn } from '../cli'
import { assertSame } from './comparison'
import { type Haraka, type Lab, type Mail, type Outcome, Receiver } from './index'
import { TAGGED } from './tagged'

export interface Besides {
  /** Recipient domains of which nothing can be compared, each with the reason. */
  readonly except?: Readonly<Record<string, string>>
}

/** What a message may ask of its way (RFC 8689), as the command's options are called. */
const ASKING = {
  requiretls: TAGGED,
  'tls-required-no': { headers: ['TLS-Required: No'] },
} as const

export interface CheckBesides extends Besides {
  /** What the messages ask; default nothing. */
  readonly asked?: keyof typeof ASKING
  /** Recipient domains; default: all of the scenes. */
  readonly only?: readonly string[]
  /** Whether Haraka is started anew, so that it has no more answers from before than the command; default true. */
  readonly anew?: boolean
  /** What the command says on stderr; default: nothing. */
  readonly complains?: RegExp
  /** Where another plugin routes a recipient domain: the arguments with which the command is told. */
  readonly routes?: Readonly<Record<string, readonly string[]>>
}

/** What the plugin said of one host, out of its log line. */
interface Said {
  readonly mx: string | undefined
  readonly ip: string | undefined
  readonly verdict: string
  readonly reason: string
  /** What was demanded, by which policy and rule, and with what TLS it ended. */
  readonly columns: string
}

interface Delivery {
  readonly outcome: Outcome
  readonly said: readonly Said[]
  /** Addresses at which a server was told of the envelope. */
  readonly toldOfMail: readonly string[]
}

function domainOf(recipient: string): string {
  return recipient.slice(recipient.lastIndexOf('@') + 1)
}

/** One recipient of each domain: the command knows of domains alone. */
function oneOfEach(recipients: readonly string[]): readonly string[] {
  return [...new Map(recipients.map((recipient) => [domainOf(recipient), recipient])).values()]
}

/** Recipients of the scenes, in order. */
function recipientsOf(haraka: Haraka, except: NonNullable<Besides['except']>): readonly string[] {
  const all = new Set(haraka.outcomes.entries.map(({ recipient }) => recipient))
  const unknown = Object.keys(except).filter(
    (domain) => ![...all].some((recipient) => recipient.endsWith(`@${domain}`)),
  )
  assert.deepEqual(unknown, [], 'exceptions are for recipients of the scenes')
  return [...all].filter((recipient) => !(domainOf(recipient) in except))
}

function saidBy(haraka: Haraka, message: string): readonly Said[] {
  const field = (line: string, name: string) => new RegExp(` ${name}=(\\S+)`).exec(line)?.[1]
  const quoted = (line: string, name: string) =>
    new RegExp(` ${name}="[^"]*"`).exec(line)?.[0] ?? ''
  return haraka
    .log()
    .filter((line) => line.includes(`[${message}] [tls-policy] tls-policy: `))
    .map((line) => ({
      mx: field(line, 'mx'),
      ip: field(line, 'ip'),
      verdict: field(line, 'verdict') ?? '',
      reason: field(line, 'reason') ?? '',
      columns:
        `policy=${field(line, 'policy') ?? ''} require=${field(line, 'require') ?? ''}` +
        quoted(line, 'rfc') +
        quoted(line, 'tls'),
    }))
}

async function deliver(
  haraka: Haraka,
  recipient: string,
  mail: Partial<Mail> = {},
): Promise<Delivery> {
  const receivers = [...Receiver.running]
  const before = receivers.map(({ sessions }) => sessions.entries.length)
  const outcome = await haraka.deliverApart(recipient, { timeout: 20_000, mail })
  const toldOfMail = receivers.flatMap(({ address, sessions }, index) =>
    sessions.entries
      .slice(before[index])
      .some(({ cleartext, secured }) => /MAIL FROM/i.test(cleartext + secured))
      ? [address]
      : [],
  )
  return { outcome, said: saidBy(haraka, outcome.message), toldOfMail }
}

/** How often a server was told of mail. */
function mailsBegun(): number {
  return [...Receiver.running]
    .flatMap(({ sessions }) => sessions.entries)
    .reduce((sum, { cleartext, secured }) => {
      return sum + [...(cleartext + secured).matchAll(/MAIL FROM/gi)].length
    }, 0)
}

/**
 * `check --connect` against what a delivery does: same end, same host, same reason, and no MAIL FROM.
 * @returns for how many recipient domains.
 */
export async function assertCheckSaysTheSame(
  haraka: Haraka,
  { except = {}, routes = {}, only, anew = true, complains = /^$/, asked }: CheckBesides = {},
): Promise<number> {
  if (anew) await haraka.restart()
  const recipients = only?.map((domain) => `u@${domain}`) ?? oneOfEach(recipientsOf(haraka, except))
  const deliveries = new Map<string, Delivery>()
  for (const recipient of recipients) {
    deliveries.set(recipient, await deliver(haraka, recipient, asked && ASKING[asked]))
  }
  const before = mailsBegun()
  const wrong: unknown[] = []
  const left = [...deliveries]
  const checkOnes = async () => {
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const [recipient, delivery] = next
      const route = routes[domainOf(recipient)] ?? []
      const option = asked === undefined ? [] : [`--${asked}`]
      const args = ['check', recipient, ...route, ...option, '--connect', '--json']
      const ran = await runCommandIn(haraka.settings.env ?? {}, haraka.folder, ...args)
      assert.match(ran.stderr, complains, `check ${recipient} says on stderr: ${ran.stderr}`)
      const report = JSON.parse(ran.stdout) as CheckReport
      const difference = differenceOf(delivery, report, ran.code)
      if (difference !== undefined) {
        const { conclusion, trials } = report
        wrong.push({ recipient, difference, delivery, conclusion, trials: trials?.map(inShort) })
      }
    }
  }
  await Promise.all([checkOnes(), checkOnes(), checkOnes()])
  assert.equal(mailsBegun(), before, 'check sends no MAIL FROM')
  assert.equal(JSON.stringify(wrong, undefined, 1), '[]')
  return recipients.length
}

type Trial = NonNullable<CheckReport['trials']>[number]

function inShort({ host, address, result, reason, detail }: Trial) {
  return { host, address, result, reason, detail }
}

function differenceOf(
  { outcome, said, toldOfMail }: Delivery,
  { conclusion, treatment, trials }: CheckReport,
  exitCode: number,
): string | undefined {
  const { delivery, host, reason } = conclusion
  const codes = { verified: 0, 'if-verified': 1, unverified: 1, deferred: 2, bounced: 2 }
  if (exitCode !== codes[delivery]) return 'the exit code'
  const goesTo = trials?.find(({ result }) => result === 'delivers')
  const gotIt = outcome.kind === 'delivered' ? outcome.ip : undefined
  // What a server does once it was told of the mail, nobody can know before; what was demanded of it until then is the same.
  if (goesTo && goesTo.address !== gotIt && toldOfMail.includes(goesTo.address ?? '')) {
    const before = said.find(({ ip }) => ip === goesTo.address)
    const isSame = treatment !== 'enforce' || !before || before.reason === goesTo.reason
    return isSame ? undefined : 'the reason'
  }
  if (outcome.kind !== 'delivered') {
    if (delivery !== outcome.kind) return 'the end'
    const reasons = said.map((each) => each.reason)
    // A session that was verified and then lost: the deferral has more to say than the line at its beginning.
    const isTold = reason === 'tls-lost' && outcome.reason.includes(' tls-lost: ')
    return reasons.length === 0 || isTold || (reason !== null && reasons.includes(reason))
      ? undefined
      : 'the reason'
  }
  const ours = said.find(({ ip, verdict }) => ip === outcome.ip && verdict !== 'refused')
  const verified = treatment === 'enforce' && ours?.verdict === 'verified'
  if (delivery !== (verified ? 'verified' : 'unverified')) return 'the verdict'
  if (host !== outcome.host || goesTo?.address !== outcome.ip) return 'the host'
  if (treatment === 'enforce' && ours && ours.reason !== reason) return 'the reason'
  return undefined
}

/**
 * Haraka without the plugin and Haraka with it in mode observe: the same connections, octets and ends; and what the log says of
 * enforcing is what enforcing says.
 * @returns for how many recipients, and of how many hosts both had something to say.
 */
export async function assertObserveOnlyWatches(
  lab: Lab,
  haraka: Haraka,
  { except = {} }: Besides = {},
): Promise<{ readonly recipients: number; readonly hosts: number }> {
  const { plugins = [], config = {} } = haraka.settings
  const { 'tls-policy.ini': ini = '', ...shared } = config
  const common = { ...haraka.settings, config: shared }
  const plain = await lab.haraka({
    ...common,
    port: 2601,
    plugins: plugins.filter((name) => name !== 'tls-policy'),
  })
  const watching = await lab.haraka({
    ...common,
    port: 2602,
    config: { ...shared, 'tls-policy.ini': `[main]\nmode=observe\n${ini}` },
  })
  const recipients = recipientsOf(haraka, except)
  const wrong: unknown[] = []
  let hosts = 0
  for (const recipient of recipients) {
    const from = watching.log().length
    await assertSame({ plain, haraka: watching }, [recipient], [...Receiver.running]).catch(
      (difference: unknown) => wrong.push({ recipient, difference: String(difference) }),
    )
    const enforced = await deliver(haraka, recipient)
    const lines = watching.log().slice(from)
    const message = /\[([0-9A-F-]{36}\.\d+\.\d+)\] \[tls-policy\] tls-policy: /.exec(
      lines.join('\n'),
    )
    for (const seen of message?.[1] === undefined ? [] : saidBy(watching, message[1])) {
      const known = enforced.said.filter(
        ({ mx, ip }) =>
          mx === seen.mx && (ip === undefined || seen.ip === undefined || ip === seen.ip),
      )
      if (known.length === 0) continue
      hosts++
      const isSame = ({ verdict, reason, columns }: Said) =>
        verdict === seen.verdict && reason === seen.reason && columns === seen.columns
      if (!known.some(isSame)) {
        wrong.push({ recipient, difference: 'the verdict', seen, known })
      }
    }
  }
  await Promise.all([plain.stop(), watching.stop()])
  assert.equal(JSON.stringify(wrong, undefined, 1), '[]')
  return { recipients: recipients.length, hosts }
}
