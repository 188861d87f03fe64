/**
 * Mode observe: mail flows as in plain Haraka, to the octet, whatever policies say; and log and metrics say what enforcing would
 * have done.
 */
import assert from 'node:assert/strict'
import { makeCertificate } from '../support/certificates'
import { runCommand } from '../support/cli'
import { type Fault, Lab, type PolicyHost, policyText, tlsaLine } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { assertSame, type Pair, startPair } from '../support/lab/comparison'
import { type HostSettings, makeDomain, nextAddress } from '../support/lab/world'

const DANE_EE = [3, 1, 1] as const
const POLICY_HOST = '198.51.100.81'
const METRICS = '127.0.0.1:8080'

/** Each with what enforcing says of a host with TLSA records. */
const faults: readonly (readonly [Fault, string])[] = [
  ['no-starttls', 'verdict=refused reason=starttls-not-offered'],
  ['starttls-454', 'verdict=refused reason=starttls-refused'],
  ['starttls-554', 'verdict=refused reason=starttls-refused'],
  ['starttls-drop', 'verdict=refused reason=smtp-closed'],
  ['starttls-hang', 'verdict=refused reason=smtp-timeout'],
  ['drop-after-220', 'verdict=refused reason=tls-handshake-failed'],
  ['inject-after-220', 'verdict=refused reason=starttls-injection'],
  ['garbage-handshake', 'verdict=refused reason=tls-handshake-failed'],
  ['tls11-only', 'verdict=refused reason=tls-handshake-failed'],
  ['helo-only', 'verdict=refused reason=starttls-not-offered'],
  ['greeting-554', 'verdict=refused reason=greeting-refused'],
  ['greeting-junk', 'verdict=refused reason=smtp-malformed-reply'],
  ['drop-on-connect', 'verdict=refused reason=smtp-closed'],
  ['reset-in-data', 'verdict=verified reason=dane-ee-matched'],
  ['rcpt-550', 'verdict=verified reason=dane-ee-matched'],
]

const daneScenes: readonly (readonly [string, HostSettings, string])[] = [
  ['good', { tlsa: [DANE_EE] }, 'verdict=verified reason=dane-ee-matched'],
  [
    'mismatch',
    { tlsa: [tlsaLine('mx1', makeCertificate({ subject: 'y' }))] },
    'verdict=refused reason=dane-no-match',
  ],
  ['unusable', { tlsa: [[1, 1, 1]] }, 'verdict=encrypted reason=tls-unauthenticated'],
  ['none', {}, 'verdict=encrypted reason=no-policy'],
  ['none-clear', { fault: 'no-starttls' }, 'verdict=cleartext reason=no-policy'],
]

const other = () => makeCertificate({ subject: 'x', san: ['other.test'] })
const DAY = 86_400_000

const stsScenes: readonly (readonly [
  string,
  (lab: Lab, name: string) => HostSettings,
  string,
  string,
])[] = [
  ['good', () => ({}), 'mx1', 'verdict=verified reason=sts-matched'],
  ['self', () => ({ certificate: other() }), 'mx1', 'verdict=refused reason=pkix-untrusted'],
  [
    'name',
    (lab) => ({ certificate: lab.certificate('other.test') }),
    'mx1',
    'verdict=refused reason=pkix-name-mismatch',
  ],
  [
    'expired',
    (lab, name) => ({
      certificate: makeCertificate({
        subject: 'x',
        san: [`mx1.${name}`],
        issuer: lab.ca,
        notBefore: new Date(Date.now() - 2 * DAY),
        notAfter: new Date(Date.now() - DAY),
      }),
    }),
    'mx1',
    'verdict=refused reason=pkix-expired',
  ],
  ['unlisted', () => ({}), 'mx9', 'verdict=refused reason=sts-mx-not-listed'],
]

describe('end to end: mode observe', function () {
  this.timeout(240_000)
  let lab: Lab
  let policies: PolicyHost

  before(async () => {
    lab = await Lab.start()
    policies = await lab.policyHost({ address: POLICY_HOST, hosts: {} })
  })
  after(() => lab.stop())

  const stsIni = () => `[mta_sts]\nca_file=${lab.caFile}\nfetch_private=true\n`

  async function observed(pair: Pair, name: string, said: string, mx = `mx1.${name}`) {
    const host = mx === '' ? '' : ` mx=${mx.replaceAll('.', '\\.')}`
    await pair.haraka.waitForLine(
      'what enforcing would have done',
      new RegExp(`domain=${name.replaceAll('.', '\\.')}${host} .*${said} .*mode=observe`),
    )
  }

  async function makeSts(name: string, host: HostSettings, listed: string) {
    policies.set(`mta-sts.${name}`, {
      answer: policyText('enforce', [`${listed}.${name}`]),
      certificate: lab.certificate(`mta-sts.${name}`),
    })
    return makeDomain(lab, name, {
      security: 'unsigned',
      records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
      hosts: [host],
    })
  }

  describe('for all mail', () => {
    let pair: Pair

    before(async () => {
      const files = {
        'tls.ini': 'key=\ncert=\n[outbound]\nno_tls_hosts[]=left-alone.test\n',
        'meddler.json': JSON.stringify({
          'routed.test': { do: 'route', answer: 'mx1.dane-mismatch.test' },
        }),
      }
      pair = await startPair(lab, '3.3.4', files, {
        'http.ini': `listen=${METRICS}\n`,
        'tls-policy.ini': `[main]\nmode=observe\n${stsIni()}`,
      })
    })
    after(async () => {
      await Promise.all([pair.haraka.stop(), pair.plain.stop()])
    })

    for (const [scene, host, said] of daneScenes) {
      it(`AUTH-40 DANE ${scene}: as plain Haraka, and ${said} in the log`, async () => {
        const domain = await makeDomain(lab, `dane-${scene}.test`, {
          hosts: [{ certificate: other(), ...host }, {}],
        })
        await assertSame(pair, [domain.recipient], domain.hosts)
        await observed(pair, domain.name, said)
      })
    }

    for (const [fault, said] of faults) {
      it(`AUTH-40 ${fault} with TLSA: as plain Haraka, and ${said} in the log`, async () => {
        const domain = await makeDomain(lab, `${fault}.test`, {
          hosts: [{ fault, tlsa: [DANE_EE] }, { tlsa: [DANE_EE] }],
        })
        await assertSame(pair, [domain.recipient], domain.hosts)
        await observed(pair, domain.name, said)
      })
    }

    it('no host but one without STARTTLS, with TLSA: delivered in cleartext', async () => {
      const domain = await makeDomain(lab, 'risked.test', {
        hosts: [{ fault: 'no-starttls', tlsa: [DANE_EE] }],
      })
      const outcome = await pair.haraka.deliver(domain.recipient)
      assert.ok(outcome.kind === 'delivered' && !outcome.tls)
      await observed(pair, domain.name, 'verdict=refused reason=starttls-not-offered')
    })

    it('tls.ini keeps Haraka from TLS: as plain Haraka, and nothing is claimed of the host', async () => {
      const domain = await makeDomain(lab, 'left-alone.test', { hosts: [{ tlsa: [DANE_EE] }] })
      await assertSame(pair, [domain.recipient], domain.hosts)
      await observed(pair, domain.name, 'verdict=cleartext reason=not-covered')
    })

    it('bogus TLSA: delivered, and the log says that the host would not have been contacted', async () => {
      const domain = await makeDomain(lab, 'bogus.test', {
        hosts: [{ tlsa: [DANE_EE] }],
        brokenSignatures: ['_25._tcp.mx1 TLSA'],
      })
      await assertSame(pair, [domain.recipient], domain.hosts)
      await observed(pair, domain.name, 'verdict=refused reason=tlsa-lookup-failed')
    })

    it('bogus MX, null MX, no such domain: as plain Haraka, and the log says that nobody would have been contacted', async () => {
      const bogus = await makeDomain(lab, 'bogus-mx.test', {
        hosts: [{}],
        brokenSignatures: ['@ MX'],
      })
      await lab.zone('null.test', { security: 'signed', records: ['@ MX 0 .'] })
      await assertSame(pair, ['u@bogus-mx.test'], bogus.hosts)
      await observed(pair, 'bogus-mx.test', 'reason=mx-lookup-failed', '')
      await assertSame(pair, ['u@null.test'], [])
      await observed(pair, 'null.test', 'reason=null-mx', '')
      await assertSame(pair, ['u@nowhere.test'], [])
      await observed(pair, 'nowhere.test', 'reason=no-such-domain', '')
    })

    it('RL-06 a route of another plugin: as plain Haraka, and the log speaks of the relay', async () => {
      await assertSame(pair, ['u@routed.test'], [])
      const said = 'verdict=refused reason=dane-no-match'
      await observed(pair, 'mx1.dane-mismatch.test', said, 'mx1.dane-mismatch.test')
    })

    for (const [scene, host, listed, said] of stsScenes) {
      it(`MTA-STS enforce, ${scene}: as plain Haraka, and ${said} in the log`, async () => {
        const name = `sts-${scene}.test`
        const domain = await makeSts(name, host(lab, name), listed)
        await assertSame(pair, [domain.recipient], domain.hosts)
        await observed(pair, name, said)
      })
    }

    it('the metrics say the same, apart from what is enforced', async () => {
      const response = await fetch(`http://${METRICS}/tls-policy/metrics`)
      const page = await response.text()
      const counted = (name: string) =>
        page.split('\n').filter((line) => line.startsWith(`haraka_tls_policy_${name}{`))
      for (const reason of ['dane-no-match', 'starttls-not-offered', 'sts-mx-not-listed']) {
        const labels = `reason="${reason}",mode="observe"`
        const [line = ''] = counted('refusals_total').filter((each) => each.includes(labels))
        assert.match(line, / [1-9]\d*$/, reason)
      }
      const lines = [...counted('refusals_total'), ...counted('verdicts_total')]
      assert.deepEqual(
        lines.filter((line) => !line.includes('mode="observe"') && !line.endsWith(' 0')),
        [],
      )
    })

    it('the command says what each of these deliveries does', async function () {
      this.timeout(180_000)
      const routes = { 'routed.test': ['--host', 'mx1.dane-mismatch.test'] }
      assert.ok((await assertCheckSaysTheSame(pair.haraka, { routes })) > 30)
    })
  })

  describe('for one destination', () => {
    let pair: Pair

    before(async () => {
      const rules = 'watched-bad.test=observe\nwatched-sts.test=observe\n.watched.test=observe'
      pair = await startPair(
        lab,
        '3.3.4',
        {},
        { 'tls-policy.ini': `${stsIni()}[destinations]\n${rules}\n` },
      )
    })
    after(async () => {
      await Promise.all([pair.haraka.stop(), pair.plain.stop()])
    })

    it('AUTH-40 DANE and MTA-STS that fail: as plain Haraka, and said; beside it another is held back', async () => {
      const dane = await makeDomain(lab, 'watched-bad.test', {
        hosts: [{ certificate: other(), tlsa: [tlsaLine('mx1', other())] }],
      })
      const below = await makeDomain(lab, 'a.watched.test', {
        hosts: [{ fault: 'no-starttls', tlsa: [DANE_EE] }],
      })
      const sts = await makeSts('watched-sts.test', { certificate: other() }, 'mx1')
      const bad = await makeDomain(lab, 'held.test', {
        hosts: [{ tlsa: [tlsaLine('mx1', other())] }],
      })
      for (const domain of [dane, below, sts]) {
        await assertSame(pair, [domain.recipient], domain.hosts)
      }
      await observed(pair, dane.name, 'verdict=refused reason=dane-no-match')
      await observed(pair, below.name, 'verdict=refused reason=starttls-not-offered')
      await observed(pair, sts.name, 'verdict=refused reason=pkix-untrusted')
      assert.equal((await pair.haraka.deliver(bad.recipient)).kind, 'deferred')
      assert.equal(await assertCheckSaysTheSame(pair.haraka), 4)
    })
  })

  async function withPair(ini: string, scene: (pair: Pair) => Promise<void>): Promise<void> {
    const pair = await startPair(lab, '3.3.4', {}, { 'tls-policy.ini': ini })
    try {
      await scene(pair)
    } finally {
      await Promise.all([pair.haraka.stop(), pair.plain.stop()])
    }
  }

  it('[tls] min_version=TLSv1.3, a server with less: as plain Haraka, and the log says that it would not do', async () => {
    const ini = '[main]\nmode=observe\n[tls]\nmin_version=TLSv1.3\n[mta_sts]\nenabled=false\n'
    await withPair(ini, async (pair) => {
      const address = nextAddress()
      const certificate = lab.certificate('mx.older.test')
      const tls = { maxVersion: 'TLSv1.2' } as const
      const receiver = await lab.receiver({ address, certificate, tls })
      await lab.zone('older.test', {
        security: 'signed',
        records: ['@ MX 10 mx', `mx A ${address}`, tlsaLine('mx', certificate[0])],
      })
      await assertSame(pair, ['u@older.test'], [receiver])
      const said = 'verdict=refused reason=tls-handshake-failed'
      await observed(pair, 'older.test', said, 'mx.older.test')
      assert.equal(await assertCheckSaysTheSame(pair.haraka), 1)
    })
  })

  it('XC-03 a resolver that cannot be had: mail flows as ever, Haraka lives, and the log says what enforcing would do', async () => {
    const ini = '[main]\nmode=observe\n[dns]\nbackend=getdns\ntrust_anchor=/nowhere/root.key\n'
    await withPair(ini, async (pair) => {
      const domain = await makeDomain(lab, 'unaided.test', { hosts: [{ tlsa: [DANE_EE] }] })
      const silent = await makeDomain(lab, 'silent.test', {
        hosts: [{ fault: 'hang-greeting' }, {}],
      })
      for (const { recipient, hosts, name } of [domain, silent]) {
        await assertSame(pair, [recipient], hosts)
        await observed(pair, name, 'verdict=refused reason=decision-failed', '')
      }
      assert.ok(pair.haraka.running)
      // It cannot look any more than the plugin can, and says why.
      const checked = await runCommand(pair.haraka.folder, 'check', domain.recipient)
      assert.equal(checked.code, 78)
      assert.match(checked.stderr, /backend getdns needs the npm package getdns/)
    })
  })
})
