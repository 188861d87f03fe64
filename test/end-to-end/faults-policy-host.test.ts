/** The rows of docs/faults.md on policy hosts and on the clock, with a real Haraka whose clock the tests move. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { makeCertificate, type TestCertificate } from '../support/certificates'
import { fault, wordsOf } from '../support/faults-page'
import { type Haraka, Lab, type PolicyAnswer, policyText } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { FaultsWorld } from '../support/lab/faults-world'

const MINUTE = 60_000
const DAY = 86_400_000
const KNOWN = 'known-time.test'

describe('end to end: faults of policy hosts and of the clock', function () {
  this.timeout(240_000)
  let lab: Lab
  let world: FaultsWorld
  let haraka: Haraka
  let clock: string

  before(async () => {
    lab = await Lab.start()
    world = await FaultsWorld.start(lab)
    clock = join(lab.folder, 'clock')
    await setClock(0)
    haraka = await lab.haraka({
      plugins: ['tls-policy'],
      env: {
        NODE_OPTIONS: `--require ${join(__dirname, '../support/lab/shifted-clock.cjs')}`,
        LAB_CLOCK: clock,
      },
      config: {
        // What waits shall not be due by a clock that is years ahead.
        'outbound.ini': 'temp_fail_intervals=9999d',
        'tls-policy.ini': `[mta_sts]\nca_file=${lab.caFile}\nfetch_private=true\nfetch_timeout=3\n[dns]\ntimeout=30\ndeadline=60\n`,
      },
    })
  })
  after(() => lab.stop())

  /** @param offset milliseconds by which Haraka's clock is off. */
  const setClock = (offset: number) => writeFile(clock, `${offset}`)
  const said = (text: string) => haraka.log().filter((line) => line.includes(text)).length

  describe('a policy host', () => {
    const good = policyText('enforce', ['good.mx.test', 'bad.mx.test'])
    interface Row {
      readonly title: string
      readonly answer: PolicyAnswer
      readonly certificate?: (host: string) => readonly TestCertificate[]
    }
    const rows: readonly Row[] = [
      {
        title: fault('The policy host hangs'),
        answer: { fault: 'hang' },
      },
      {
        title: fault('The policy host drips'),
        answer: { fault: 'drip' },
      },
      {
        title: fault('The policy never ends'),
        answer: { fault: 'endless' },
      },
      {
        title: fault('The policy is a gzip bomb'),
        answer: {
          headers: { 'content-encoding': 'gzip' },
          body: gzipSync(`${good}${'x'.repeat(50_000_000)}`),
        },
      },
      {
        title: fault('The policy has the wrong length'),
        answer: { headers: { 'content-length': '5000', connection: 'close' }, body: good },
      },
      {
        title: fault('The policy host redirects'),
        answer: { status: 301, headers: { location: 'https://mta-sts.good.test/' }, body: good },
      },
      {
        title: fault('The policy host has an expired certificate'),
        answer: good,
        certificate: (host) => [
          makeCertificate({
            subject: 'x',
            san: [host],
            issuer: lab.ca,
            notBefore: new Date(Date.now() - 2 * DAY),
            notAfter: new Date(Date.now() - DAY),
          }),
          lab.ca,
        ],
      },
    ]
    const known = (index: number) => `known-${index}.test`
    const cold = (index: number) => `cold-${index}.test`

    before(async () => {
      const names = [...rows.keys()].map(known)
      await world.domains(names)
      await world.learn(haraka, ...names)
      // A new id is what makes them be asked again; and two minutes later nobody's last look is fresh.
      await world.domains([...names, ...[...rows.keys()].map(cold)], '2')
      await setClock(2 * MINUTE)
    })

    for (const [index, { title, answer, certificate }] of rows.entries()) {
      it(title, async () => {
        for (const name of [known(index), cold(index)]) {
          world.serve(name, answer, certificate?.(`mta-sts.${name}`))
        }
        for (let round = 0; round < 2; round += 1) {
          await Promise.all([
            world.holds(haraka, known(index)),
            world.delivers(haraka, cold(index), 'encrypted'),
          ])
        }
        for (const name of [known(index), cold(index)]) {
          const lines = haraka
            .log()
            .filter((line) => line.includes(`no policy for ${name} under id 2`))
          assert.equal(lines.length, 1)
          for (const words of wordsOf(title)) assert.ok(lines[0]?.includes(words), lines[0])
        }
        assert.equal(said(`the cached policy of ${known(index)} holds`), 1)
      })
    }
  })

  describe('the clock', () => {
    before(async () => {
      await setClock(0)
      await world.domains([KNOWN])
      await world.learn(haraka, KNOWN)
    })

    it(fault('The clock is set back'), async () => {
      await setClock(-300 * DAY)
      await world.holds(haraka, KNOWN)
      await setClock(0)
      await world.holds(haraka, KNOWN)
    })
    it(fault('The clock is set forward'), async () => {
      await setClock(6 * DAY)
      await world.holds(haraka, KNOWN)
    })
    it(fault('The clock is set forward by years, and back'), async () => {
      await setClock(3_000 * DAY)
      await world.delivers(haraka, KNOWN, 'encrypted')
      await setClock(0)
      await world.holds(haraka, KNOWN)
      await world.nothingLost(haraka)
    })
  })

  describe('beside each of these deliveries', () => {
    it('the command says what the delivery does', async () => {
      await setClock(2 * MINUTE)
      assert.equal(await assertCheckSaysTheSame(haraka), 15)
    })

    it('also when the clock is wrong', async () => {
      for (const days of [-300, 6, 3_000]) {
        await setClock(days * DAY)
        assert.equal(await assertCheckSaysTheSame(haraka, { only: [KNOWN] }), 1)
      }
    })
  })
})
