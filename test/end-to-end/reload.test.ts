/** Settings that change while mail flows: each takes effect with the next attempt, and no message falls between two of them. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeCertificate } from '../support/certificates'
import {
  type Haraka,
  Lab,
  type Outcome,
  type PolicyHost,
  policyText,
  tlsaLine,
} from '../support/lab'
import { assertNothingLeaked, type Domain, makeDomain, nextAddress } from '../support/lab/world'

const EE = [3, 1, 1] as const
const POLICY_HOST = '198.51.100.82'
const LOADED = /the settings were loaded anew/
const KEPT = /the settings stay as they were/

const other = () => makeCertificate({ subject: 'another key' })

describe('end to end: settings change', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka
  let policies: PolicyHost

  before(async () => {
    lab = await Lab.start()
    policies = await lab.policyHost({ address: POLICY_HOST, hosts: {} })
    haraka = await lab.haraka({
      plugins: ['tls-policy'],
      config: { 'outbound.ini': 'connect_timeout=2\nconcurrency_max=20' },
    })
  })
  after(() => lab.stop())

  /** @returns the line that Haraka answers with. */
  async function change(text: string, told: RegExp): Promise<string> {
    const from = haraka.log().length
    await haraka.configure('tls-policy.ini', text)
    return haraka.waitForLine('the reload', told, { from, timeout: 20_000 })
  }

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
      await change('', LOADED)
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
      policies.set('mta-sts.sts.test', {
        answer: policyText('enforce', ['mx1.sts.test']),
        certificate: lab.certificate('mta-sts.sts.test'),
      })
      sts = await makeDomain(lab, 'sts.test', {
        security: 'unsigned',
        records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
        hosts: [{ certificate: other() }],
      })
      await writeFile(join(lab.folder, 'stranger.pem'), other().pem)
    })

    const own = () => `ca_file=${lab.caFile}\nfetch_private=true\n`
    const cases: readonly (readonly [
      string,
      () => string,
      () => string,
      'delivered' | 'deferred',
    ])[] = [
      ['nothing', () => '', () => dane.recipient, 'deferred'],
      ['main.mode', () => '[main]\nmode=observe\n', () => dane.recipient, 'delivered'],
      ['dane.enabled', () => '[dane]\nenabled=false\n', () => dane.recipient, 'delivered'],
      ['a destination', () => '[destinations]\ndane.test=off\n', () => dane.recipient, 'delivered'],
      [
        'an end',
        () => '[destinations]\ndane.test=off until 2020-01-01\n',
        () => dane.recipient,
        'deferred',
      ],
      ['before: min_version', () => '', () => daneOld, 'delivered'],
      ['tls.min_version', () => '[tls]\nmin_version=TLSv1.3\n', () => daneOld, 'deferred'],
      [
        'dane.digests',
        () => '[dane]\ndigests=sha512\n[destinations]\n.test=dane-only\n',
        () => daneOld,
        'deferred',
      ],
      ['before: insecure_mx', () => '', () => halfSecure, 'deferred'],
      ['dane.insecure_mx', () => '[dane]\ninsecure_mx=ignore\n', () => halfSecure, 'delivered'],
      [
        'mta_sts.fetch_private, ca_file',
        () => `[mta_sts]\n${own()}`,
        () => sts.recipient,
        'deferred',
      ],
      ['mta_sts.enabled', () => '[mta_sts]\nenabled=false\n', () => sts.recipient, 'delivered'],
      ['all back', () => `[mta_sts]\n${own()}`, () => sts.recipient, 'deferred'],
    ]
    for (const [what, text, recipient, kind] of cases) {
      it(`${what}: ${kind}`, async () => {
        await change(text(), LOADED)
        const outcome = await haraka.deliverApart(recipient())
        assert.equal(outcome.kind, kind, JSON.stringify(outcome))
      })
    }

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
