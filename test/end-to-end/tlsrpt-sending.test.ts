/**
 * TLSRPT reports on their way (RFC 8460 §3, §5): counted on one day, sent on the next, by mail and over HTTPS, in spite of any trouble
 * with TLS at their destination, and judged by verifiers of other hands.
 */
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { ReportsToday } from '../../plugins/cli/reports'
import { makeCertificate } from '../support/certificates'
import { runCommandIn } from '../support/cli'
import { type PolicyHost as Receiving, startPolicyHost } from '../support/https-policy-host'
import {
  type Fault,
  type Haraka,
  Lab,
  type PolicyHost,
  policyText,
  type ReceivedMessage,
  tlsaLine,
} from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { type Domain, type DomainSettings, makeDomain, nextAddress } from '../support/lab/world'
import { mailauthsOpinion, makeDkimKey, pythonsOpinion } from '../support/second-opinion'

const DAY_MS = 86_400_000
const HOUR = 3_600_000
const POLICY_HOST = '198.51.100.84'
const KEY_NAME = 's1._domainkey.sender.test'
const VERSIONS = ['3.1.6', '3.3.4'] as const
const wrong = () => tlsaLine('mx1', makeCertificate({ subject: 'y' }))

interface Scene {
  readonly name: string
  readonly domain: DomainSettings
  /** In which of its hosts the report arrives, and whether inside TLS; undefined: it does not. */
  readonly arrives: { readonly mx: number; readonly tls: boolean } | undefined
  /** Connections to each host. */
  readonly sessions: readonly number[]
}

const broken = (fault: Fault, sessions: readonly number[] = [2]): Scene => ({
  name: fault,
  domain: { hosts: [{ fault, tlsa: [wrong()] }] },
  arrives: { mx: 1, tls: false },
  sessions,
})
const overTls = { arrives: { mx: 1, tls: true }, sessions: [1] } as const

/** Where reports go. */
const scenes: readonly Scene[] = [
  { name: 'good-dane', domain: { hosts: [{ tlsa: [[3, 1, 1]] }] }, ...overTls },
  { name: 'dane-mismatch', domain: { hosts: [{ tlsa: [wrong()] }] }, ...overTls },
  {
    name: 'dane-bogus',
    domain: {
      hosts: [{ tlsa: [[3, 1, 1]] }],
      brokenSignatures: ['_25._tcp.mx1 TLSA'],
    },
    ...overTls,
  },
  {
    name: 'sts-unlisted',
    domain: {
      security: 'unsigned',
      records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
      hosts: [{}],
    },
    ...overTls,
  },
  broken('no-starttls'),
  broken('starttls-454'),
  broken('starttls-554'),
  broken('garbage-handshake'),
  broken('tls11-only'),
  broken('hang-handshake'),
  {
    name: 'first-broken',
    domain: { hosts: [{ fault: 'garbage-handshake' }, {}] },
    arrives: { mx: 2, tls: true },
    sessions: [1, 1],
  },
  {
    name: 'unknown-mailbox',
    domain: { hosts: [{ fault: 'rcpt-550' }] },
    arrives: undefined,
    sessions: [1],
  },
]

for (const version of VERSIONS) {
  describe(`end to end: TLSRPT reports on their way, Haraka ${version}`, function () {
    this.timeout(180_000)
    const key = makeDkimKey()
    let lab: Lab
    let policies: PolicyHost
    let haraka: Haraka
    let clock: string
    let https: Receiving
    const httpsAddress = nextAddress()
    const posted: Buffer[] = []
    const shown = new Map<string, string>()
    const destinations = new Map<string, Domain>()
    /** The day that is counted, and the milliseconds by which the next one is ahead. */
    const yesterday = new Date().toISOString().slice(0, 10)
    // From whatever hour: into the next day, and not so far that its reports are given up.
    const ahead = Math.ceil(Date.now() / DAY_MS) * DAY_MS + 6 * HOUR - Date.now()

    before(async () => {
      lab = await Lab.start()
      policies = await lab.policyHost({ address: POLICY_HOST, hosts: {} })
      clock = join(lab.folder, 'clock')
      await writeFile(clock, '0')
      https = await startPolicyHost({
        address: httpsAddress,
        port: 443,
        root: lab.ca,
        hosts: ['reports.posted.test'],
        answer: (request, response) => {
          const chunks: Buffer[] = []
          request.on('data', (chunk: Buffer) => chunks.push(chunk))
          request.on('end', () => {
            posted.push(Buffer.concat(chunks))
            response.writeHead(201).end()
          })
        },
      })
      haraka = await lab.haraka({
        version,
        plugins: ['tls-policy'],
        env: {
          NODE_OPTIONS: `--require ${join(__dirname, '../support/lab/shifted-clock.cjs')}`,
          LAB_CLOCK: clock,
        },
        config: {
          'outbound.ini': 'connect_timeout=5',
          'tls-policy.ini': [
            '[mta_sts]',
            `ca_file=${lab.caFile}`,
            'fetch_private=true',
            '[tlsrpt]',
            'from=tls-reports@sender.test',
            'https_private=true',
            'spread=600',
            '[destinations]',
            'floor.test=encrypt',
          ].join('\n'),
        },
      })
      const folder = join(haraka.folder, 'config/dkim/sender.test')
      await mkdir(folder, { recursive: true })
      await writeFile(join(folder, 'private'), key.privateKey)
      await writeFile(join(folder, 'selector'), 's1\n')
    })
    after(async () => {
      await https.close()
      await lab.stop()
    })

    const command = (...args: readonly string[]) =>
      runCommandIn({}, haraka.folder, 'reports', ...args)

    /** One mail to a domain whose reports go to the destination of this name. */
    async function count(name: string, rua: string): Promise<void> {
      const { recipient } = await makeDomain(lab, `about-${name}.test`, {
        hosts: [{ tlsa: [[3, 1, 1]] }],
        records: [`_smtp._tls TXT "v=TLSRPTv1; rua=${rua}"`],
      })
      assert.equal((await haraka.deliver(recipient)).kind, 'delivered')
    }

    async function counted(name: string): Promise<string> {
      for (;;) {
        const { stdout } = await command('today', `about-${name}.test`, '--json')
        if ((JSON.parse(stdout) as ReportsToday).domains.length > 0) break
      }
      return (await command('show', `about-${name}.test`)).stdout
    }

    async function received(name: string): Promise<{ mx: number; message: ReceivedMessage }> {
      const { hosts } = destinations.get(name) ?? assert.fail(name)
      return Promise.any(
        hosts.map(async ({ messages }, index) => ({
          mx: index + 1,
          message: await messages.waitFor(`the report to ${name}`, () => true, { timeout: 60_000 }),
        })),
      ).catch((cause: unknown) => {
        const said = haraka.log().filter((line) => line.includes(name) || /report/.test(line))
        throw new Error(`no report to ${name}:\n${said.slice(-40).join('\n')}`, { cause })
      })
    }

    it('TD-01 counts a day, and then it is the next one', async () => {
      for (const { name, domain } of scenes) {
        if (name === 'sts-unlisted') {
          policies.set(`mta-sts.${name}.test`, {
            answer: policyText('enforce', [`mx9.${name}.test`]),
            certificate: lab.certificate(`mta-sts.${name}.test`),
          })
        }
        destinations.set(name, await makeDomain(lab, `${name}.test`, domain))
        await count(name, `mailto:reports@${name}.test`)
      }
      const floor = { hosts: [{ fault: 'no-starttls' as const }] }
      destinations.set('floor', await makeDomain(lab, 'floor.test', floor))
      await count('floor', 'mailto:reports@floor.test')
      await lab.zone('posted.test', {
        security: 'unsigned',
        records: [`reports A ${httpsAddress}`],
      })
      await count('posted', 'https://reports.posted.test/v1')
      await counted('posted')
      const names = [...destinations.keys(), 'posted']
      await Promise.all(names.map(async (name) => shown.set(name, await counted(name))))
      await writeFile(clock, `${ahead}`)
      await haraka.restart()
    })

    for (const { name, arrives, sessions } of scenes) {
      if (arrives === undefined) continue
      it(`TD-06 TD-10 TD-14 TD-15 a report to ${name} arrives, ${arrives.tls ? 'over TLS' : 'in cleartext'}, as it was shown`, async () => {
        const { mx, message } = await received(name)
        assert.deepEqual({ mx, tls: message.tls }, arrives)
        assert.equal(message.from, 'tls-reports@sender.test')
        assert.deepEqual(message.to, [`reports@${name}.test`])
        const hosts = destinations.get(name)?.hosts ?? []
        assert.deepEqual(hosts.map((host) => host.sessions.entries.length), sessions)

        const signatures = await mailauthsOpinion(message.text, key.record)
        assert.deepEqual(signatures.map(({ result, domain }) => [result, domain]), [['pass', 'sender.test']])
        const seen = await pythonsOpinion(message.text, KEY_NAME, key.record)
        assert.deepEqual([seen.dkim, seen.dkimForReports, seen.defects], [true, true, []])
        assert.equal(seen.jsonText, shown.get(name))
        // Subject, headers, file name and body agree (TD-23).
        const { json, headers } = seen
        assert.equal(headers['TLS-Report-Domain'], `about-${name}.test`)
        assert.equal(headers['TLS-Report-Submitter'], 'sender.test')
        assert.equal(headers['TLS-Required'], 'No')
        assert.equal(headers['Message-ID'], `<${json['report-id']}>`)
        assert.equal(headers['Subject'], `Report Domain: about-${name}.test Submitter: sender.test Report-ID: <${json['report-id']}>`)
        assert.equal(json['date-range']['start-datetime'], `${yesterday}T00:00:00Z`)
        const begin = Date.parse(`${yesterday}T00:00:00Z`) / 1000
        assert.match(seen.fileName, new RegExp(`^sender\\.test!about-${name}\\.test!${begin}!${begin + 86_399}![a-z]{8}\\.json\\.gz$`))
      }) // prettier-ignore
    }

    it('TD-18 TD-19 a report over HTTPS arrives, as it was shown', async () => {
      await https.reached(1)
      assert.equal(https.requests[0]?.method, 'POST')
      assert.equal(https.requests[0].headers['content-type'], 'application/tlsrpt+gzip')
      assert.equal(gunzipSync(posted[0] ?? Buffer.of()).toString(), shown.get('posted'))
    })

    it('TD-17 a mailbox that is not there: no bounce, and it is left alone', async () => {
      await haraka.waitForLine('the address to be left alone', /came back from reports@unknown-mailbox\.test/)
      const bounced = haraka.outcomes.entries.filter(({ kind }) => kind === 'bounced')
      assert.deepEqual(bounced, [])
      await haraka.waitForLine('no bounce', /Not sending bounce/)
    }) // prettier-ignore

    it("TD-14 the operator's own demand stands: in cleartext nothing goes there", async () => {
      const outcome = await haraka.outcome('reports@floor.test')
      assert.equal(outcome.kind, 'deferred')
      const { hosts } = destinations.get('floor') ?? assert.fail()
      assert.equal(hosts[0]?.messages.entries.length, 0)
    })

    it('TD-16 TD-17 TD-27 reports are not counted, and go once', async () => {
      const { stdout } = await command('pending', '--json')
      assert.equal(stdout.includes('about-'), false, stdout)
      const tomorrow = new Date(Date.now() + ahead).toISOString().slice(0, 10)
      for (const name of destinations.keys()) {
        const { code } = await command('show', `${name}.test`, '--day', tomorrow)
        assert.equal(code, 1, name)
      }
      for (const [name, { hosts }] of destinations) {
        const messages = hosts.flatMap((host) => host.messages.entries)
        assert.ok(messages.length <= 1, name)
      }
    })

    it('check says what the deliveries did', async () => {
      await assertCheckSaysTheSame(haraka, { only: ['about-good-dane.test'] })
    })
  })
}
