import assert from 'node:assert/strict'
import type { CheckReport } from '../../plugins/cli/report'
import { makeCertificate } from '../support/certificates'
import { runCommand } from '../support/cli'
import { type Fault, type Haraka, Lab, policyText, type PolicyHost, tlsaLine } from '../support/lab'
import { type Domain, type HostSettings, makeDomain, nextAddress } from '../support/lab/world'

const POLICY_HOST = '198.51.100.80'
const DAY = 86_400_000
const EE = [3, 1, 1] as const
const TA = [2, 0, 1] as const

/** Faults that show before MAIL FROM; what a server says of sender, recipient and message nobody can know before. */
const FAULTS: readonly Fault[] = [
  'none',
  'drop-on-connect',
  'reset-on-connect',
  'hang-greeting',
  'greeting-421',
  'greeting-554',
  'greeting-junk',
  'helo-only',
  'ehlo-junk',
  'ehlo-hang',
  'no-starttls',
  'starttls-454',
  'starttls-554',
  'starttls-hang',
  'starttls-drop',
  'drop-after-220',
  'inject-after-220',
  'garbage-handshake',
  'hang-handshake',
  'tls11-only',
  'reset-after-tls',
  'starttls-again',
]

describe('end to end: check says what a delivery does', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka
  let policyHost: PolicyHost

  before(async () => {
    lab = await Lab.start()
    policyHost = await lab.policyHost({ address: POLICY_HOST, hosts: {} })
    haraka = await lab.haraka({
      plugins: ['tls-policy'],
      config: {
        'outbound.ini': 'connect_timeout=2',
        'tls.ini': [
          'key=',
          'cert=',
          '[outbound]',
          'no_tls_hosts[]=no-tls.test',
          'force_tls_hosts[]=forced.test',
          'force_tls_hosts[]=mx1.forced-clear.test',
          'force_tls_hosts[]=forced-and-dane.test',
          'force_tls_hosts[]=forced-and-encrypt.test',
          'force_tls_hosts[]=forced-and-good.test',
          '',
        ].join('\n'),
        'tls-policy.ini': [
          '[mta_sts]',
          `ca_file=${lab.caFile}`,
          'fetch_private=true',
          'fetch_timeout=3',
          '[destinations]',
          'watched.test=observe',
          'watched-bad.test=observe',
          'left-alone.test=off',
          'must-encrypt.test=encrypt',
          'forced-and-encrypt.test=encrypt',
          'forced-and-good.test=encrypt',
          'must-encrypt-clear.test=encrypt',
          'must-dane.test=dane-only',
          '',
        ].join('\n'),
      },
    })
  })
  after(() => lab.stop())

  /** Signed, with TLSA records where the hosts have them. */
  const dane = (name: string, ...hosts: readonly HostSettings[]) => makeDomain(lab, name, { hosts })

  /** Unsigned, with an MTA-STS policy. */
  const sts = (
    name: string,
    answer: Parameters<PolicyHost['set']>[1]['answer'],
    ...hosts: readonly HostSettings[]
  ) => {
    policyHost.set(`mta-sts.${name}`, { answer, certificate: lab.certificate(`mta-sts.${name}`) })
    return makeDomain(lab, name, {
      security: 'unsigned',
      records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
      hosts,
    })
  }
  const policy = (name: string, mode: string, ...labels: readonly string[]) =>
    policyText(
      mode,
      labels.map((label) => `${label}.${name}`),
    )
  const someKey = () => makeCertificate({ subject: 'x', san: ['x.example'] })

  /** Each makes its world; the receivers of those that have any are looked at afterwards. */
  const worlds: Readonly<Record<string, (name: string) => Promise<Domain | void>>> = {
    'mismatch.test': (name) => dane(name, { tlsa: [tlsaLine('mx1', someKey(), EE)] }),
    'second.test': (name) => dane(name, { tlsa: [tlsaLine('mx1', someKey(), EE)] }, { tlsa: [EE] }),
    'second-plain.test': (name) => dane(name, { tlsa: [tlsaLine('mx1', someKey(), EE)] }, {}),
    'expired-ee.test': (name) =>
      dane(name, {
        certificate: makeCertificate({
          subject: 'x',
          notBefore: new Date(Date.now() - 2 * DAY),
          notAfter: new Date(Date.now() - DAY),
        }),
        tlsa: [EE],
      }),
    'ta.test': (name) => dane(name, { tlsa: [tlsaLine('mx1', lab.ca, TA)] }),
    'ta-name.test': (name) =>
      dane(name, {
        certificate: lab.certificate('foo.test'),
        tlsa: [tlsaLine('mx1', lab.ca, TA)],
      }),
    'pkix-usage.test': (name) => dane(name, { certificate: someKey(), tlsa: [[1, 1, 1]] }),
    'pkix-usage-clear.test': (name) => dane(name, { fault: 'no-starttls', tlsa: [[0, 0, 1]] }),
    'bogus-tlsa.test': (name) =>
      makeDomain(lab, name, {
        hosts: [{ tlsa: [EE] }],
        brokenSignatures: ['_25._tcp.mx1 TLSA'],
      }),
    'bogus-mx.test': (name) => makeDomain(lab, name, { hosts: [{}], brokenSignatures: ['@ MX'] }),
    'bogus-zone.test': (name) => makeDomain(lab, name, { security: 'bogus', hosts: [{}] }),
    'unsigned.test': (name) =>
      makeDomain(lab, name, {
        security: 'unsigned',
        hosts: [{ tlsa: [tlsaLine('mx1', someKey(), EE)] }],
      }),
    'half.test': async (name) => {
      await dane('provider.test', { tlsa: [EE] })
      await lab.zone(name, { security: 'unsigned', records: ['@ MX 10 mx1.provider.test.'] })
    },
    'implicit.test': async (name) => {
      const address = nextAddress()
      const certificate = lab.certificate(name)
      await lab.receiver({ address, certificate })
      await lab.zone(name, {
        security: 'signed',
        records: [`@ A ${address}`, tlsaLine('@', certificate[0], EE).replace('.@', '')],
      })
    },
    'two-addresses.test': async (name) => {
      const [wrong, right] = [nextAddress(), nextAddress()]
      const certificate = lab.certificate(`mx.${name}`)
      await lab.receiver({ address: wrong, certificate: someKey() })
      await lab.receiver({ address: right, certificate })
      await lab.zone(name, {
        security: 'signed',
        records: ['@ MX 10 mx', `mx A ${wrong}`, `mx A ${right}`, tlsaLine('mx', certificate[0])],
      })
    },
    'null.test': (name) => lab.zone(name, { security: 'signed', records: ['@ MX 0 .'] }),
    'nowhere.test': () => Promise.resolve(),
    'no-address.test': (name) => lab.zone(name, { security: 'signed', records: ['@ MX 10 mx'] }),
    'nobody-listens.test': (name) =>
      lab.zone(name, {
        security: 'signed',
        records: ['@ MX 10 mx', `mx A ${nextAddress()}`],
      }),
    'sts-good.test': (name) => sts(name, policy(name, 'enforce', 'mx1'), {}),
    'sts-self.test': (name) =>
      sts(name, policy(name, 'enforce', 'mx1'), { certificate: someKey() }),
    'sts-name.test': (name) =>
      sts(name, policy(name, 'enforce', 'mx1'), { certificate: lab.certificate('other.test') }),
    'sts-clear.test': (name) => sts(name, policy(name, 'enforce', 'mx1'), { fault: 'no-starttls' }),
    'sts-listed.test': (name) => sts(name, policy(name, 'enforce', 'mx2'), {}, {}),
    'sts-unlisted.test': (name) => sts(name, policy(name, 'enforce', 'other'), {}),
    'sts-testing.test': (name) =>
      sts(name, policy(name, 'testing', 'mx1'), { certificate: someKey() }),
    'sts-testing-clear.test': (name) =>
      sts(name, policy(name, 'testing', 'mx1'), { fault: 'no-starttls' }),
    'sts-none.test': (name) => sts(name, policy(name, 'none'), { certificate: someKey() }),
    'sts-404.test': (name) => sts(name, { status: 404 }, {}),
    'sts-invalid.test': (name) => sts(name, 'version: STSv2\r\n', {}),
    'sts-and-dane-bad.test': (name) => {
      policyHost.set(`mta-sts.${name}`, {
        answer: policy(name, 'enforce', 'mx1'),
        certificate: lab.certificate(`mta-sts.${name}`),
      })
      return makeDomain(lab, name, {
        records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
        hosts: [{ tlsa: [tlsaLine('mx1', someKey(), EE)] }],
      })
    },
    'watched.test': (name) => dane(name, { tlsa: [EE] }),
    'watched-bad.test': (name) => dane(name, { tlsa: [tlsaLine('mx1', someKey(), EE)] }),
    'left-alone.test': (name) => dane(name, { tlsa: [tlsaLine('mx1', someKey(), EE)] }),
    'must-encrypt.test': (name) => dane(name, { certificate: someKey() }),
    'must-encrypt-clear.test': (name) => dane(name, { fault: 'no-starttls' }),
    'must-dane.test': (name) => dane(name, {}),
    'no-tls.test': (name) => dane(name, {}),
    // The lab's CA is none of those that Haraka itself trusts.
    'forced.test': (name) => dane(name, {}, {}),
    'forced-clear.test': (name) => dane(name, { fault: 'no-starttls' }, {}),
    'forced-and-encrypt.test': (name) => dane(name, { certificate: someKey() }),
    'forced-and-good.test': (name) => dane(name, {}),
    'forced-and-dane.test': (name) => dane(name, { certificate: someKey(), tlsa: [EE] }),
  }
  for (const fault of FAULTS) {
    Object.assign(worlds, {
      [`${fault}-dane.test`]: (name: string) => dane(name, { fault, tlsa: [EE] }),
      [`${fault}-plain-next.test`]: (name: string) => dane(name, { fault }, {}),
    })
    // Silence takes its time, and is the same everywhere.
    if (fault.includes('hang')) continue
    Object.assign(worlds, {
      [`${fault}-dane-next.test`]: (name: string) =>
        dane(name, { fault, tlsa: [EE] }, { tlsa: [EE] }),
      [`${fault}-plain.test`]: (name: string) => dane(name, { fault }),
    })
  }

  /** What Haraka's log says of the session in which the mail went out. */
  function wasVerified(name: string): boolean {
    return haraka
      .log()
      .some((line) => line.includes(`domain=${name} `) && / verdict=verified /.test(line))
  }

  for (const [name, make] of Object.entries(worlds)) {
    it(`${name}: exit code and hosts of check --connect fit what Haraka did`, async () => {
      const receivers = (await make(name))?.hosts ?? []
      const outcome = await haraka.deliver(`u@${name}`)
      const before = receivers.map(({ sessions }) => sessions.entries.length)
      const checked = await runCommand(haraka.folder, 'check', `u@${name}`, '--connect', '--json')
      assert.equal(checked.stderr, '')
      assert.ok([0, 1, 2].includes(checked.code), `exit code ${checked.code}`)
      const { conclusion, treatment } = JSON.parse(checked.stdout) as CheckReport
      const said = JSON.stringify({ outcome, conclusion }, undefined, 1)
      if (outcome.kind === 'delivered') {
        const verified = treatment === 'enforce' && wasVerified(name)
        assert.equal(conclusion.delivery, verified ? 'verified' : 'unverified', said)
        assert.equal(conclusion.host, outcome.host, said)
        assert.equal(checked.code, verified ? 0 : 1)
      } else {
        assert.equal(conclusion.delivery, outcome.kind, said)
        assert.equal(checked.code, 2)
      }
      for (const [index, { sessions }] of receivers.entries()) {
        for (const { cleartext, secured } of sessions.entries.slice(before[index])) {
          assert.doesNotMatch(cleartext + secured, /MAIL FROM/i)
        }
      }
    })
  }
})
