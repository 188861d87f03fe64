/**
 * What is counted for TLSRPT reports (RFC 8460 §4): every way in which a session may end, with the oldest and the newest Haraka, as
 * the command tells it from the store.
 */
import assert from 'node:assert/strict'
import type { ReportsToday } from '../../plugins/cli/reports'
import type { PolicyResult, Report } from '../../plugins/tlsrpt/types'
import { makeCertificate, type TestCertificate } from '../support/certificates'
import { runCommand } from '../support/cli'
import {
  type Fault,
  type Haraka,
  Lab,
  type PolicyAnswer,
  type PolicyHost,
  policyText,
  tlsaLine,
} from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { type DomainSettings, type HostSettings, makeDomain } from '../support/lab/world'

const DANE_EE = [3, 1, 1] as const
const POLICY_HOST = '198.51.100.82'
const DAY = 86_400_000

/** `policy-type successes failures, result-type code count, …`, for each policy. */
function inShort({ policy, summary, 'failure-details': details }: PolicyResult): string {
  const counts = `${summary['total-successful-session-count']} ${summary['total-failure-session-count']}`
  return [
    `${policy['policy-type']} ${counts}`,
    ...details.map((detail) =>
      [detail['result-type'], detail['failure-reason-code'], detail['failed-session-count']]
        .filter((word) => word !== undefined)
        .join(' '),
    ),
  ].join(', ')
}

const NO = (more: string) => `no-policy-found ${more}`
const other = () => makeCertificate({ subject: 'x', san: ['other.test'] })

interface Scene {
  /** Rows of docs/conformance.md. */
  readonly ids: string
  readonly name: string
  readonly domain: (lab: Lab, name: string) => DomainSettings
  /** Of its policy host; left out: there is none. */
  readonly policy?: (lab: Lab, name: string) => PolicyOfHost
  /** Envelope senders, one mail each; default: one. */
  readonly from?: readonly string[]
  /** As in inShort; [] where nothing is counted. */
  readonly counted: readonly string[]
}

interface PolicyOfHost {
  readonly answer: PolicyAnswer
  readonly certificate?: readonly TestCertificate[]
}

/** A zone that says that there is a policy. */
const PUBLISHED = {
  security: 'unsigned',
  records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
} as const

const plain = (fault: Fault, counted: string | undefined, ids = 'TT-06'): Scene => ({
  ids,
  name: fault,
  domain: () => ({ hosts: [{ fault }] }),
  counted: counted === undefined ? [] : [NO(counted)],
})

const sts = (
  mode: 'testing' | 'enforce',
  name: string,
  host: (lab: Lab, name: string) => HostSettings,
  counted: string,
  ids = 'TT-03',
): Scene => ({
  ids,
  name: `${mode}-${name}`,
  domain: (lab, domain) => ({ ...PUBLISHED, hosts: [host(lab, domain)] }),
  policy: (_lab, domain) => {
    const listed = name === 'unlisted' ? 'mx9' : 'mx1'
    return { answer: policyText(mode, [`${listed}.${domain}`]) }
  },
  counted: [counted],
})

/** Nothing is cached: one failure under sts, and the session without policy. */
const trouble = (
  ids: string,
  name: string,
  policy: (lab: Lab, domain: string) => PolicyOfHost,
  counted: string,
): Scene => ({
  ids: `${ids} TT-28`,
  name,
  domain: () => ({ ...PUBLISHED, hosts: [{}] }),
  policy,
  counted: [`sts 0 1, ${counted} 1`, NO('1 0')],
})

const expired = (lab: Lab, name: string): HostSettings => ({
  certificate: makeCertificate({
    subject: 'x',
    san: [`mx1.${name}`],
    issuer: lab.ca,
    notBefore: new Date(Date.now() - 2 * DAY),
    notAfter: new Date(Date.now() - DAY),
  }),
})

const scenes: readonly Scene[] = [
  plain('none', '1 0', 'TT-04'),
  ...(['rcpt-550', 'mail-450', 'reset-in-data', 'reset-after-tls', 'starttls-again'] as const).map(
    (fault) => plain(fault, '1 0'),
  ),
  plain('no-starttls', '0 1, starttls-not-supported 1', 'TT-07 TT-09'),
  plain('helo-only', '0 1, starttls-not-supported 1', 'TT-09'),
  plain('starttls-454', '0 1, starttls-not-supported smtp-454 1', 'TT-09'),
  plain('starttls-554', '0 1, starttls-not-supported smtp-554 1', 'TT-09'),
  plain('starttls-drop', '0 1, validation-failure smtp-closed 1', 'TT-13'),
  plain('drop-after-220', '0 1, validation-failure ECONNRESET 1', 'TT-13'),
  plain('garbage-handshake', '0 1, validation-failure ERR_SSL_WRONG_VERSION_NUMBER 1', 'TT-13'),
  plain('tls11-only', '0 1, validation-failure ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION 1', 'TT-13'),
  plain('starttls-hang', '0 1, validation-failure smtp-timeout 1', 'TT-13'),
  plain('hang-handshake', '0 1, validation-failure smtp-timeout 1', 'TT-13'),
  plain('inject-after-220', '0 1, validation-failure starttls-injection 1', 'TT-13'),
  plain('greeting-554', undefined, 'TT-21'),
  plain('greeting-junk', undefined, 'TT-21'),
  plain('drop-on-connect', undefined, 'TT-21'),
  {
    ids: 'TT-24',
    name: 'first-fails',
    domain: () => ({ hosts: [{ fault: 'garbage-handshake' }, {}] }),
    counted: [NO('1 1, validation-failure ERR_SSL_WRONG_VERSION_NUMBER 1')],
  },
  {
    ids: 'TT-02',
    name: 'dane',
    domain: () => ({ hosts: [{ tlsa: [DANE_EE] }] }),
    counted: ['tlsa 1 0'],
  },
  {
    ids: 'TT-23 TT-24',
    name: 'dane-mismatch',
    domain: () => ({
      hosts: [{ tlsa: [tlsaLine('mx1', makeCertificate({ subject: 'y' }))] }, { tlsa: [DANE_EE] }],
    }),
    counted: ['tlsa 0 1, certificate-not-trusted dane-no-match 1', 'tlsa 1 0'],
  },
  {
    ids: 'TT-14 TT-29',
    name: 'dane-unusable',
    domain: () => ({ hosts: [{ tlsa: [[1, 1, 1]] }] }),
    counted: ['tlsa 0 1, tlsa-invalid 1'],
  },
  {
    ids: 'TT-15',
    name: 'dane-bogus',
    domain: () => ({
      hosts: [{ tlsa: [DANE_EE] }],
      brokenSignatures: ['_25._tcp.mx1 TLSA'],
    }),
    counted: ['tlsa 0 1, dnssec-invalid dns-extended-error-6 1'],
  },
  sts('testing', 'good', () => ({}), 'sts 1 0'),
  sts(
    'testing',
    'self',
    () => ({ certificate: other() }),
    'sts 0 1, certificate-not-trusted DEPTH_ZERO_SELF_SIGNED_CERT 1',
    'TT-12 TT-22',
  ),
  sts(
    'testing',
    'name',
    (lab) => ({ certificate: lab.certificate('other.test') }),
    'sts 0 1, certificate-host-mismatch pkix-name-mismatch 1',
    'TT-10 TT-22',
  ),
  sts(
    'testing',
    'expired',
    expired,
    'sts 0 1, certificate-expired CERT_HAS_EXPIRED 1',
    'TT-11 TT-22',
  ),
  sts(
    'testing',
    'unlisted',
    () => ({}),
    'sts 0 1, validation-failure sts-mx-not-listed 1',
    'TT-20 TT-22',
  ),
  sts(
    'testing',
    'clear',
    () => ({ fault: 'no-starttls' }),
    'sts 0 1, starttls-not-supported 1',
    'TT-07 TT-22',
  ),
  sts('enforce', 'good', () => ({}), 'sts 1 0'),
  sts(
    'enforce',
    'self',
    () => ({ certificate: other() }),
    'sts 0 1, certificate-not-trusted DEPTH_ZERO_SELF_SIGNED_CERT 1',
    'TT-12',
  ),
  sts(
    'enforce',
    'unlisted',
    () => ({}),
    'sts 0 1, validation-failure sts-mx-not-listed 1',
    'TT-20',
  ),
  trouble(
    'TT-17',
    'policy-404',
    () => ({ answer: { status: 404 } }),
    'sts-policy-fetch-error http-404',
  ),
  trouble('TT-18', 'policy-text', () => ({ answer: 'no policy' }), 'sts-policy-invalid'),
  trouble(
    'TT-19',
    'policy-certificate',
    (_lab, domain) => ({
      answer: policyText('enforce', [`mx1.${domain}`]),
      certificate: [other()],
    }),
    'sts-webpki-invalid tls-DEPTH_ZERO_SELF_SIGNED_CERT',
  ),
  {
    ids: 'TT-16',
    name: 'demanded',
    domain: () => ({ hosts: [{}] }),
    counted: ['tlsa 0 1, dane-required 1'],
  },
  {
    ids: 'TT-05',
    name: 'both',
    domain: (lab) => ({
      records: PUBLISHED.records,
      hosts: [{ tlsa: [DANE_EE], certificate: lab.certificate('other.test') }],
    }),
    policy: (_lab, domain) => ({ answer: policyText('enforce', [`mx1.${domain}`]) }),
    counted: ['tlsa 1 0', 'sts 0 1, certificate-host-mismatch pkix-name-mismatch 1'],
  },
  { ids: 'TT-26', name: 'left-alone', domain: () => ({ hosts: [{}] }), counted: [] },
  { ids: 'TT-26', name: 'off', domain: () => ({ hosts: [{ tlsa: [DANE_EE] }] }), counted: [] },
  {
    ids: 'TT-02',
    name: 'watched',
    domain: () => ({ hosts: [{ tlsa: [DANE_EE] }] }),
    counted: ['tlsa 1 0'],
  },
  {
    ids: 'TT-02 TT-24',
    name: 'three, one of them with a null sender',
    domain: () => ({ hosts: [{ tlsa: [DANE_EE] }] }),
    from: ['a@sender.test', 'b@sender.test', ''],
    counted: ['tlsa 3 0'],
  },
]

/** The first word of a scene's name. */
function domainOf({ name }: Scene): string {
  return `${name.replace(/[, ].*$/, '')}.test`
}

for (const version of ['3.1.6', '3.3.4'] as const) {
  describe(`end to end: what is counted for reports, Haraka ${version}`, function () {
    // Half a hundred zones, and servers that hang until Haraka has enough of them.
    this.timeout(300_000)
    let lab: Lab
    let policies: PolicyHost
    let haraka: Haraka

    before(async () => {
      lab = await Lab.start()
      policies = await lab.policyHost({ address: POLICY_HOST, hosts: {} })
      haraka = await lab.haraka({
        version,
        plugins: ['tls-policy'],
        config: {
          'outbound.ini': 'connect_timeout=2',
          'tls.ini': 'key=\ncert=\n[outbound]\nno_tls_hosts[]=left-alone.test\n',
          'tls-policy.ini': [
            '[mta_sts]',
            `ca_file=${lab.caFile}`,
            'fetch_private=true',
            '[tlsrpt]',
            'from=tls-reports@sender.test',
            'organization=Sender Inc.',
            '[destinations]',
            'demanded.test=dane-only',
            'watched.test=observe',
            'off.test=off',
            '',
          ].join('\n'),
        },
      })
    })
    after(() => lab.stop())

    const command = (...args: readonly string[]) => runCommand(haraka.folder, 'reports', ...args)

    async function today(...domain: readonly string[]): Promise<ReportsToday['domains']> {
      const { code, stdout, stderr } = await command('today', ...domain, '--json')
      assert.equal(code, 0, stderr)
      return (JSON.parse(stdout) as ReportsToday).domains
    }

    async function make(scene: Scene): Promise<string> {
      const name = domainOf(scene)
      const policy = scene.policy?.(lab, name)
      if (policy !== undefined) {
        const host = `mta-sts.${name}`
        const { answer, certificate = lab.certificate(host) } = policy
        policies.set(host, { answer, certificate })
      }
      return (await makeDomain(lab, name, scene.domain(lab, name))).recipient
    }

    async function send(recipient: string, senders: Scene['from']): Promise<void> {
      for (const from of senders ?? ['sender@sender.test']) {
        await haraka.send({ from, to: [recipient] })
        await haraka.outcome(recipient, { timeout: 120_000 })
      }
    }

    const LAST: Scene = {
      ids: '',
      name: 'last',
      domain: () => ({ hosts: [{}] }),
      counted: [NO('1 0')],
    }
    let counted: ReportsToday['domains'] = []
    before(async () => {
      const recipients = new Map<Scene, string>()
      for (const scene of [...scenes, LAST]) recipients.set(scene, await make(scene))
      await Promise.all(scenes.map((scene) => send(recipients.get(scene) ?? '', scene.from)))
      // A worker keeps its counts for a moment: what was counted before is there when a later count is.
      await send(recipients.get(LAST) ?? '', undefined)
      while ((await today('last.test')).length === 0);
      counted = await today()
    })

    for (const scene of scenes) {
      const { ids, name, counted: expected } = scene
      it(`${ids} ${name}: ${expected.join('; ') || 'nothing'}`, () => {
        const found = counted.find(({ domain }) => domain === domainOf(scene))
        const seen = (found?.policies ?? []).map(inShort)
        assert.deepEqual([...seen].sort(), [...expected].sort())
      })
    }

    it('TJ-02…TJ-24 the report as it would go, and nothing else on stdout; nothing of the inside is in it', async () => {
      const { code, stdout } = await command('show', 'dane-bogus.test')
      assert.equal(code, 0)
      const report = JSON.parse(stdout) as Report
      const day = new Date().toISOString().slice(0, 10)
      assert.deepEqual(Object.keys(report), [
        'organization-name',
        'date-range',
        'contact-info',
        'report-id',
        'policies',
      ])
      assert.equal(report['organization-name'], 'Sender Inc.')
      assert.equal(report['contact-info'], 'tls-reports@sender.test')
      assert.match(
        report['report-id'],
        /^\d{4}-\d\d-\d\d\.dane-bogus\.test\.[a-z]{8}@sender\.test$/,
      )
      assert.equal(report['date-range']['start-datetime'], `${day}T00:00:00Z`)
      assert.deepEqual(report.policies[0]?.policy, {
        'policy-type': 'tlsa',
        'policy-string': [],
        'policy-domain': 'mx1.dane-bogus.test',
      })
      for (const { domain, policies: found } of counted) {
        assert.doesNotMatch(JSON.stringify(found), /127\.0\.0\.1|u@|a@sender|null|\/tmp/, domain)
      }
    })

    it('TJ-15 TJ-16 TJ-17 TJ-18 TJ-21 a failure says who spoke with whom', async () => {
      const { stdout } = await command('show', 'starttls-454.test')
      const report = JSON.parse(stdout) as Report
      const [detail] = report.policies[0]?.['failure-details'] ?? []
      assert.match(detail?.['sending-mta-ip'] ?? '', /^[\d.]+$/)
      assert.match(detail?.['receiving-ip'] ?? '', /^198\.\d+\.\d+\.\d+$/)
      assert.equal(detail?.['receiving-mx-hostname'], 'mx1.starttls-454.test')
      assert.equal(typeof detail?.['receiving-mx-helo'], 'string')
    })

    it('a domain that was not heard of has no report, and a verb that there is not is 64', async () => {
      const none = await command('show', 'nobody.test')
      assert.deepEqual([none.code, none.stdout], [1, ''])
      assert.match(none.stderr, /nothing was counted of nobody\.test/)
      const wrong = await command('shwo', 'nobody.test')
      assert.deepEqual([wrong.code, wrong.stdout], [64, ''])
    })

    it('check says what the deliveries did', async () => {
      await assertCheckSaysTheSame(haraka)
    })
  })
}
