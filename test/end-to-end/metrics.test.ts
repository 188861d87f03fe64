import assert from 'node:assert/strict'
import { makeCertificate } from '../support/certificates'
import { type Haraka, type HarakaSettings, harakaVersions, Lab, policyText } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { type Domain, makeDomain } from '../support/lab/world'

const LISTEN = '127.0.0.1:8080'
const PAGE = `http://${LISTEN}/tls-policy/metrics`
const POLICY_HOST = '198.51.100.80'

type Samples = ReadonlyMap<string, number>

/** The page, each line as its own key: `name{labels}`, without the prefix. */
async function scrape(): Promise<Samples> {
  const response = await fetch(PAGE)
  assert.equal(response.status, 200)
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  const text = await response.text()
  assert.doesNotMatch(
    text,
    /\.test|(192\.0\.2|198\.1[89])\./,
    'no domain and no address is on the page',
  )
  const samples = new Map<string, number>()
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# ')) continue
    const match = /^haraka_tls_policy_(\w+\{[^{}]*\}) (\d[\d.e+-]*)$/.exec(line)
    assert.ok(match?.[1] !== undefined, `a sample is well-formed: ${line}`)
    samples.set(match[1], Number(match[2]))
  }
  return samples
}

/** The sum over all series of a metric that have these labels, whichever worker's. */
function sum(samples: Samples, name: string, labels = ''): number {
  return [...samples]
    .filter(([key]) => key.startsWith(`${name}{`) && key.includes(labels))
    .reduce((total, [, value]) => total + value, 0)
}

describe('end to end: metrics', function () {
  this.timeout(240_000)
  let lab: Lab
  let good: Domain
  let forged: Domain
  let plain: Domain
  let withPolicy: Domain
  let settings: HarakaSettings

  before(async () => {
    lab = await Lab.start()
    good = await makeDomain(lab, 'good.test', { hosts: [{ tlsa: [[3, 1, 1]] }] })
    forged = await makeDomain(lab, 'forged.test', {
      hosts: [
        {
          certificate: makeCertificate({ subject: 'x', san: ['mx1.forged.test'] }),
          tlsa: [`_25._tcp.mx1 TLSA 3 1 1 ${'00'.repeat(32)}`],
        },
      ],
    })
    plain = await makeDomain(lab, 'plain.test', { security: 'unsigned', hosts: [{}] })
    const name = 'sts.test'
    await lab.policyHost({
      address: POLICY_HOST,
      hosts: {
        [`mta-sts.${name}`]: {
          answer: policyText('enforce', [`mx1.${name}`]),
          certificate: lab.certificate(`mta-sts.${name}`),
        },
      },
    })
    withPolicy = await makeDomain(lab, name, {
      security: 'unsigned',
      records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
      hosts: [{}],
    })
    settings = {
      plugins: ['tls-policy'],
      config: {
        'http.ini': `listen=${LISTEN}\n`,
        'tls-policy.ini': `[mta_sts]\nca_file=${lab.caFile}\nfetch_private=true\n`,
      },
    }
  })
  after(() => lab.stop())

  const started = async (more: HarakaSettings = {}): Promise<Haraka> => {
    const haraka = await lab.haraka({ ...settings, ...more })
    await haraka.waitForLine('the metrics', /metrics for Prometheus are at \/tls-policy\/metrics/)
    await haraka.waitForLine('the listener', /Listening on 127\.0\.0\.1:8080/)
    return haraka
  }

  for (const version of harakaVersions) {
    it(`Haraka ${version} serves what became of mail`, async () => {
      const haraka = await started({ version })
      try {
        assert.equal((await haraka.deliver(good.recipient)).kind, 'delivered')
        assert.equal((await haraka.deliver(forged.recipient)).kind, 'deferred')
        assert.equal((await haraka.deliver(plain.recipient)).kind, 'delivered')
        assert.equal((await haraka.deliver(withPolicy.recipient)).kind, 'delivered')
        assert.equal((await haraka.deliver(withPolicy.recipient)).kind, 'delivered')
        const samples = await scrape()
        const verdicts = (labels: string) => sum(samples, 'verdicts_total', labels)
        assert.equal(verdicts('policy="dane",verdict="verified",mode="enforce"'), 1)
        assert.equal(verdicts('policy="dane",verdict="refused",mode="enforce"'), 1)
        assert.equal(verdicts('policy="none",verdict="encrypted",mode="enforce"'), 1)
        assert.equal(verdicts('policy="sts",verdict="verified",mode="enforce"'), 2)
        assert.equal(sum(samples, 'refusals_total'), 1)
        assert.equal(sum(samples, 'refusals_total', 'reason="dane-no-match",mode="enforce"'), 1)
        assert.equal(sum(samples, 'decisions_total', 'outcome="hosts"'), 5)
        assert.equal(sum(samples, 'decision_seconds_count'), 5)
        assert.equal(sum(samples, 'preflight_seconds_count', 'result="secured"'), 3)
        assert.equal(sum(samples, 'preflight_seconds_count', 'result="refused"'), 1)
        assert.equal(sum(samples, 'sts_fetches_total'), 1)
        assert.equal(sum(samples, 'sts_fetches_total', 'cause="delivery",result="ok"'), 1)
        assert.equal(sum(samples, 'sts_lookups_total', 'source="fetched"'), 1)
        assert.ok(sum(samples, 'sts_lookups_total', 'source="warm"') >= 1)
        assert.equal(sum(samples, 'resolver_state', 'state="validating"'), 1)
        assert.equal(sum(samples, 'sts_policies', 'mode="enforce"'), 1)
        assert.equal(sum(samples, 'sts_policies_expiring'), 0)
        assert.equal(await assertCheckSaysTheSame(haraka), 4)
      } finally {
        await haraka.stop()
      }
    })
  }

  it('in mode observe the same words are counted apart', async () => {
    const haraka = await started({
      config: {
        ...settings.config,
        'tls-policy.ini': '[main]\nmode=observe\n[mta_sts]\nenabled=false\n',
      },
    })
    try {
      assert.equal((await haraka.deliver(forged.recipient)).kind, 'delivered')
      await haraka.waitForLine('the verdict', /domain=forged\.test .*mode=observe/)
      const samples = await scrape()
      assert.equal(sum(samples, 'refusals_total', 'reason="dane-no-match",mode="observe"'), 1)
      assert.equal(sum(samples, 'refusals_total', 'mode="enforce"'), 0)
      assert.equal(await assertCheckSaysTheSame(haraka), 1)
    } finally {
      await haraka.stop()
    }
  })

  it('a cluster of workers has one page, whichever worker answers', async () => {
    const nodes = 3
    const haraka = await started({ nodes })
    try {
      for (let index = 0, from = 0; index < nodes; index += 1) {
        const line = await haraka.waitForLine('each worker', /metrics for Prometheus/, { from })
        from = haraka.log().indexOf(line, from) + 1
      }
      for (let index = 0; index < 6; index += 1) {
        assert.equal((await haraka.deliver(good.recipient)).kind, 'delivered')
      }
      for (let index = 0; index < nodes; index += 1) {
        const samples = await scrape()
        assert.equal(sum(samples, 'verdicts_total', 'verdict="verified"'), 6)
        const workers = [...samples.keys()].filter((key) => key.startsWith('decision_seconds_sum'))
        assert.equal(workers.length, nodes, workers.join('\n'))
      }
      assert.equal(await assertCheckSaysTheSame(haraka), 1)
    } finally {
      await haraka.stop()
    }
  })

  it('where the HTTP listener is off there is nothing to scrape, and nothing is said', async () => {
    const haraka = await lab.haraka({ plugins: ['tls-policy'] })
    try {
      assert.equal((await haraka.deliver(good.recipient)).kind, 'delivered')
      await assert.rejects(fetch(PAGE))
      assert.ok(!haraka.log().some((line) => /metrics|prom-client/i.test(line)))
      assert.equal(await assertCheckSaysTheSame(haraka), 1)
    } finally {
      await haraka.stop()
    }
  })
})
