/** Settings that change while mail flows: each takes effect with the next attempt, and no message falls between two of them. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeCertificate } from '../support/certificates'
import {
  type Haraka,
  Lab,
  type Outcome,
  type PolicyAnswer,
  type PolicyHost,
  policyText,
  tlsaLine,
} from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { assertNothingLeaked, type Domain, makeDomain, nextAddress } from '../support/lab/world'

const EE = [3, 1, 1] as const
const MINUTE = 60_000
const POLICY_HOST = '198.51.100.82'
const LOADED = /the settings were loaded anew/
const KEPT = /the settings stay as they were/

const other = () => makeCertificate({ subject: 'another key' })

describe('end to end: settings change', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka
  let policies: PolicyHost
  let clock: string

  before(async () => {
    lab = await Lab.start()
    policies = await lab.policyHost({ address: POLICY_HOST, hosts: {} })
    clock = join(lab.folder, 'clock')
    await setClock(0)
    haraka = await lab.haraka({
      plugins: ['tls-policy'],
      env: {
        NODE_OPTIONS: `--require ${join(__dirname, '../support/lab/shifted-clock.cjs')}`,
        LAB_CLOCK: clock,
      },
      config: { 'outbound.ini': 'connect_timeout=2\nconcurrency_max=20' },
    })
  })
  after(() => lab.stop())

  /** @param offset milliseconds by which Haraka's clock is off. */
  const setClock = (offset: number) => writeFile(clock, `${offset}`)

  /** @returns the line that Haraka answers with. */
  async function change(text: string, told: RegExp, one = haraka): Promise<string> {
    const from = one.log().length
    await one.configure('tls-policy.ini', text)
    return one.waitForLine('the reload', told, { from, timeout: 20_000 })
  }

  /** Unsigned, with a policy, and a host whose certificate no policy of MTA-STS allows. */
  function makeSts(name: string, answer: PolicyAnswer): Promise<Domain> {
    const host = `mta-sts.${name}`
    policies.set(host, { answer, certificate: lab.certificate(host) })
    return makeDomain(lab, name, {
      security: 'unsigned',
      records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
      hosts: [{ certificate: other() }],
    })
  }

  it('what was loaded, and an exception that is over, is told once by all processes together', async () => {
    const ended = '[destinations]\nover.test=observe until 2020-01-01\n'
    const many = await lab.haraka({
      port: 2540,
      nodes: 2,
      plugins: ['tls-policy'],
      config: { 'tls-policy.ini': ended },
    })
    const said = (pattern: RegExp) => many.log().filter((line) => pattern.test(line)).length
    const OVER = /the exception .* is over/
    assert.equal(said(OVER), 1)
    await change(`${ended}[dns]\ntimeout=4\n`, LOADED, many)
    // A mistake is told by the master and by each worker: then all have read what was before.
    await many.configure('tls-policy.ini', '[main]\nmode=nothing\n')
    await many.linesSaid(KEPT, 3)
    assert.deepEqual([said(LOADED), said(OVER)], [1, 2])
    await many.stop()
  })

  it('under load: none lost, none sent but as one of the settings has it', async () => {
    const domain = await makeDomain(lab, 'load.test', {
      hosts: [
        { certificate: other(), tlsa: [tlsaLine('mx1', other(), EE)] },
        { fault: 'no-starttls', tlsa: [EE] },
        { tlsa: [EE] },
      ],
    })
    const outcomes: Promise<Outcome>[] = []
    let changing = true
    const load = async () => {
      while (changing) {
        const outcome = haraka.deliverApart(domain.recipient, { timeout: 60_000 })
        outcomes.push(outcome)
        await outcome
      }
    }
    const senders = Promise.all([load(), load()])
    try {
      // Haraka looks at a changed file some seconds later.
      await change('[destinations]\nload.test=observe\n', LOADED)
      await change('[destinations]\nload.test=obey\n', KEPT)
      await change('[destinations]\nload.test=dane-only\n', LOADED)
      await change('[main]\nmode=observe\n', LOADED)
      await change('[tls]\nmin_version=SSLv3\n', KEPT)
      await change('[main]\n', LOADED)
    } finally {
      changing = false
    }
    await senders
    await haraka.queueHolds(0)

    const [lax, clear, strict] = domain.hosts
    assert.ok(lax && clear && strict)
    const ends = await Promise.all(outcomes)
    const told = haraka.log()
    const ways = { watched: 0, verified: 0 }
    for (const end of ends) {
      assert.ok(end.kind === 'delivered' && end.tls, JSON.stringify(end))
      const said = told.filter((line) => line.includes(`[${end.message}] [tls-policy] tls-policy:`))
      const verified = said.some((line) => /verdict=verified /.test(line))
      const watched = said.some((line) => /mode=observe/.test(line))
      if (end.ip === strict.address) {
        assert.ok(verified && !watched, said.join('\n'))
        ways.verified++
      } else {
        assert.equal(end.ip, lax.address)
        assert.ok(watched, said.join('\n'))
        ways.watched++
      }
    }
    assert.ok(ways.watched > 0 && ways.verified > 0, JSON.stringify(ways))
    assert.equal(lax.messages.entries.length, ways.watched)
    assert.equal(strict.messages.entries.length, ways.verified)
    assertNothingLeaked(lax, clear, strict)
  })

  describe('each takes effect at once', () => {
    let dane: Domain
    let daneOld: string
    let sts: Domain
    let halfSecure: string
    /** More than 1,024 octets of them. */
    const manyHosts = (name: string) =>
      Array.from({ length: 60 }, (_, index) => `mx${index + 1}.${name}.test`)

    before(async () => {
      dane = await makeDomain(lab, 'dane.test', {
        hosts: [{ tlsa: [tlsaLine('mx1', other(), EE)] }],
      })
      const [address, secondAddress] = [nextAddress(), nextAddress()]
      const certificate = lab.certificate('mx.old.test')
      await lab.receiver({ address, certificate, tls: { maxVersion: 'TLSv1.2' } })
      await lab.receiver({ address: secondAddress, certificate: other() })
      await lab.zones({
        'old.test': {
          security: 'signed',
          records: ['@ MX 10 mx', `mx A ${address}`, tlsaLine('mx', certificate[0])],
        },
        'half.test': { security: 'unsigned', records: ['@ MX 10 mx.provider.test.'] },
        'provider.test': {
          security: 'signed',
          records: [`mx A ${secondAddress}`, tlsaLine('mx', other(), EE)],
        },
      })
      daneOld = 'u@old.test'
      halfSecure = 'u@half.test'
      sts = await makeSts('sts.test', policyText('enforce', ['mx1.sts.test']))
      for (const name of ['large', 'larger'])
        await makeSts(`${name}.test`, policyText('enforce', manyHosts(name)))
      await makeSts('hangs.test', { fault: 'hang' })
      await makeDomain(lab, 'bogus-txt.test', {
        records: ['_mta-sts TXT "v=STSv1; id=1"'],
        brokenSignatures: ['_mta-sts TXT'],
        hosts: [{}],
      })
      policies.set('mta-sts.both.test', {
        answer: policyText('enforce', ['mx1.both.test']),
        certificate: lab.certificate('mta-sts.both.test'),
      })
      await makeDomain(lab, 'both.test', {
        records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
        hosts: [{ certificate: other(), tlsa: [EE] }],
      })
      await writeFile(join(lab.folder, 'stranger.pem'), other().pem)
    })

    const own = () => `ca_file=${lab.caFile}\nfetch_private=true\n`
    const usual = () => `[mta_sts]\n${own()}`
    const unusual = () =>
      `${usual()}max_body=1024\nfetch_timeout=1\ntxt_failure=defer\nwith_dane=both\n`
    const nothing = () => '[main]\n'
    let inForce: string | undefined
    const cases: readonly (readonly [
      string,
      () => string,
      () => string,
      'delivered' | 'deferred',
    ])[] = [
      ['nothing', nothing, () => dane.recipient, 'deferred'],
      ['before: min_version', nothing, () => daneOld, 'delivered'],
      ['before: insecure_mx', nothing, () => halfSecure, 'deferred'],
      ['main.mode', () => '[main]\nmode=observe\n', () => dane.recipient, 'delivered'],
      ['dane.enabled', () => '[dane]\nenabled=false\n', () => dane.recipient, 'delivered'],
      ['a destination', () => '[destinations]\ndane.test=off\n', () => dane.recipient, 'delivered'],
      [
        'an end',
        () => '[destinations]\ndane.test=off until 2020-01-01\n',
        () => dane.recipient,
        'deferred',
      ],
      ['tls.min_version', () => '[tls]\nmin_version=TLSv1.3\n', () => daneOld, 'deferred'],
      [
        'dane.digests',
        () => '[dane]\ndigests=sha512\n[destinations]\n.test=dane-only\n',
        () => daneOld,
        'deferred',
      ],
      ['dane.insecure_mx', () => '[dane]\ninsecure_mx=ignore\n', () => halfSecure, 'delivered'],
      ['mta_sts.fetch_private, ca_file', usual, () => sts.recipient, 'deferred'],
      ['before: max_body', usual, () => 'u@large.test', 'deferred'],
      ['before: txt_failure', usual, () => 'u@bogus-txt.test', 'delivered'],
      ['before: with_dane', usual, () => 'u@both.test', 'delivered'],
      ['mta_sts.max_body', unusual, () => 'u@larger.test', 'delivered'],
      // With its 60 seconds nothing would be decided before the test is over.
      ['mta_sts.fetch_timeout', unusual, () => 'u@hangs.test', 'delivered'],
      ['mta_sts.txt_failure', unusual, () => 'u@bogus-txt.test', 'deferred'],
      ['mta_sts.with_dane', unusual, () => 'u@both.test', 'deferred'],
      ['mta_sts.enabled', () => '[mta_sts]\nenabled=false\n', () => sts.recipient, 'delivered'],
      ['all back', usual, () => sts.recipient, 'deferred'],
    ]
    for (const [what, text, recipient, kind] of cases) {
      it(`${what}: ${kind}`, async () => {
        if (inForce !== text()) await change(text(), LOADED)
        inForce = text()
        const outcome = await haraka.deliverApart(recipient())
        assert.equal(outcome.kind, kind, JSON.stringify(outcome))
        // The command reads the settings at each call, Haraka by itself.
        const only = [recipient().slice(2)]
        assert.equal(await assertCheckSaysTheSame(haraka, { only, anew: false }), 1)
      })
    }

    it('mta_sts.refresh_interval: what is fetched from then on is fetched again as it says', async () => {
      await change(`[mta_sts]\n${own()}refresh_interval=300\n`, LOADED)
      await makeSts('fresh.test', policyText('enforce', ['mx1.fresh.test']))
      const fetched = () =>
        policies.requests.entries.filter(({ host }) => host === 'mta-sts.fresh.test').length
      assert.equal((await haraka.deliverApart('u@fresh.test')).kind, 'deferred')
      assert.equal(fetched(), 1)
      await setClock(5 * MINUTE)
      // A round comes each 24th part of the interval; each hour, as it was before.
      await policies.requests.waitFor('the policy to be fetched again', () => fetched() === 2, {
        timeout: 30_000,
      })
      await setClock(0)
    })

    it('dane.blind_resolver: the resolver is tested anew, and mail waits for one that validates, or does not', async () => {
      const address = '192.0.2.61'
      const sound = await lab.validator({ address })
      const dns = `[dns]\nservers=${address}\ntrust_ad=listed\n`
      const blind = await lab.haraka({
        port: 2526,
        plugins: ['tls-policy'],
        config: { 'tls-policy.ini': dns },
      })
      await sound.stop()
      await lab.validator({ address, validates: false })
      // That it has gone blind would be found within the hour; whoever would rather wait wants to know now.
      const from = blind.log().length
      await change(`${dns}[dane]\nblind_resolver=defer\n`, LOADED, blind)
      await blind.waitForLine('the self-test', /DNSSEC is NOT validated/, { from })
      assert.equal((await blind.deliverApart(dane.recipient)).kind, 'deferred')
      await change(`${dns}[dane]\nblind_resolver=continue\n`, LOADED, blind)
      assert.equal((await blind.deliverApart(dane.recipient)).kind, 'delivered')
      await blind.stop()
    })

    it('mta_sts.ca_file that is not there, or no PEM: the settings stay, and the log says why', async () => {
      const why = await change('[mta_sts]\nca_file=/nowhere.pem\nenabled=false\n', KEPT)
      assert.match(why, /mta_sts\.ca_file=\/nowhere\.pem: a readable PEM file is allowed here/)
      await writeFile(join(lab.folder, 'empty.pem'), '\n')
      const again = await change(
        `[mta_sts]\nca_file=${lab.folder}/empty.pem\nenabled=false\n`,
        KEPT,
      )
      assert.match(again, /the file holds no PEM certificate/)
      assert.equal((await haraka.deliverApart(sts.recipient)).kind, 'deferred')
    })
  })
})
