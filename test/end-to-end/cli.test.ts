import assert from 'node:assert/strict'
import { chown, mkdir, readFile, utimes, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { CheckReport } from '../../plugins/cli/report'
import type { DoctorReport, Finding } from '../../plugins/cli/doctor'
import type { PoliciesReport } from '../../plugins/cli/policies'
import { lmdbStore } from '../../plugins/store/lmdb/store'
import { makeCertificate } from '../support/certificates'
import { type Ran, runCommand, runCommandIn } from '../support/cli'
import { type Haraka, Lab, policyText, type PolicyHost, tlsaLine } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { assertNothingLeaked, makeDomain } from '../support/lab/world'

const POLICY_HOST = '198.51.100.80'
const NOBODY = 65_534

describe('end to end: the command', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka
  let policyHost: PolicyHost
  let settings: string
  let count = 0

  before(async () => {
    lab = await Lab.start()
    policyHost = await lab.policyHost({ address: POLICY_HOST, hosts: {} })
    settings = `[mta_sts]\nca_file=${lab.caFile}\nfetch_private=true\nfetch_timeout=3\n`
    haraka = await lab.haraka({
      plugins: ['tls-policy'],
      config: { 'outbound.ini': 'connect_timeout=2', 'tls-policy.ini': settings },
    })
  })
  after(() => lab.stop())

  const run = (...args: readonly string[]) => runCommand(haraka.folder, ...args)

  /** As a worker does whose daily refresh has failed. */
  async function leaveNote(domain: string, name: string, text: string): Promise<void> {
    const log = { info: fail, notice: fail, warn: fail, error: fail }
    const store = lmdbStore(join(haraka.folder, 'tls-policy/policies.mdb'), { log, now: Date.now })
    assert.ok((await store.setNote(domain, name, text, 60_000)).ok)
    await store.close()
  }

  async function withPolicy(name: string, mode: string) {
    policyHost.set(`mta-sts.${name}`, {
      answer: policyText(mode, [`mx1.${name}`]),
      certificate: lab.certificate(`mta-sts.${name}`),
    })
    return makeDomain(lab, name, {
      security: 'unsigned',
      records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
      hosts: [{}],
    })
  }

  /** A Haraka folder in which nothing runs. */
  async function folderWith(files: Readonly<Record<string, string>>): Promise<string> {
    const folder = join(lab.folder, `folder-${++count}`)
    await mkdir(join(folder, 'config'), { recursive: true })
    await mkdir(join(folder, 'queue'))
    for (const [name, text] of Object.entries({ plugins: 'tls-policy\n', ...files })) {
      await writeFile(join(folder, 'config', name), text)
    }
    return folder
  }

  describe('check', () => {
    it('prints every step on 80 columns, without colour where nobody looks', async () => {
      const wrong = makeCertificate({ subject: 'x' })
      await makeDomain(lab, 'steps.test', {
        hosts: [{ tlsa: [tlsaLine('mx1', wrong, [3, 1, 1]), [1, 1, 1]] }, { tlsa: [[3, 1, 2]] }],
      })
      const { code, stdout, stderr } = await run('check', 'user@steps.test', '--connect')
      assert.equal(stderr, '')
      assert.equal(code, 0)
      assertFits(stdout)
      for (const step of [
        /^ {2}secure {3}MX {3}steps\.test \(TTL \d+\)$/m,
        /^ {16}10 mx1\.steps\.test$/m,
        /^ {2}secure {3}TLSA _25\._tcp\.mx1\.steps\.test/m,
        /not usable: usage 1/,
        /^ {2}1\. mx1\.steps\.test \(preference 10, port 25\)$/m,
        /RFC 7672 section 2\.2/,
        /verdict {3}refused; not used$/m,
        /dane-no-match/,
        /verdict {3}verified; mail would go here$/m,
        /presented 0\. CN=mx2\.steps\.test$/m,
        /^Would be delivered, verified$/m,
      ]) {
        assert.match(stdout, step)
      }
    })

    it('sends no MAIL FROM, also to hosts of which nobody demands anything', async () => {
      const demanding = await makeDomain(lab, 'demanding.test', { hosts: [{ tlsa: [[3, 1, 1]] }] })
      const clear = await makeDomain(lab, 'clear.test', { hosts: [{ fault: 'no-starttls' }] })
      assert.equal((await run('check', 'demanding.test', '--connect')).code, 0)
      assert.equal((await run('check', 'clear.test', '--connect')).code, 1)
      assertNothingLeaked(...demanding.hosts, ...clear.hosts)
      assert.match(demanding.hosts[0]?.sessions.entries[0]?.secured ?? '', /^EHLO \S+\r\nQUIT\r\n$/)
    })

    it('without --connect opens no connection', async () => {
      const domain = await makeDomain(lab, 'planned.test', { hosts: [{ tlsa: [[3, 1, 1]] }] })
      const { code, stdout } = await run('check', 'planned.test')
      assert.equal(code, 1)
      assert.match(stdout, /^Would be delivered if verified$/m)
      assert.match(stdout, /--connect\s+looks/)
      assert.equal(domain.hosts[0]?.sessions.entries.length, 0)
    })

    it('fetches a policy once, and then has it from the cache', async () => {
      await withPolicy('cached.test', 'enforce')
      const sources = []
      while (sources.length < 2) {
        const { stdout } = await run('check', 'cached.test', '--json')
        sources.push((JSON.parse(stdout) as CheckReport).sts.policy?.source)
      }
      assert.deepEqual(sources, ['fetched', 'cache'])
    })

    it('--host and --port: a route has the policy of its own host', async () => {
      const certificate = lab.certificate('relay.routes.test')
      await lab.receiver({ address: '192.0.2.19', port: 587, certificate })
      await lab.zone('routes.test', {
        security: 'signed',
        records: ['relay A 192.0.2.19', tlsaLine('relay', certificate[0], [3, 1, 1], 587)],
      })
      const route = ['--host', 'relay.routes.test', '--port', '587', '--connect'] as const
      const { code, stdout } = await run('check', 'anywhere.test', ...route)
      assert.equal(code, 0, stdout)
      assert.match(stdout, /_587\._tcp\.relay\.routes\.test/)
    })

    it('names the line of a rule and its last day, and an exception that is over', async () => {
      await makeDomain(lab, 'sub.ruled.test', { hosts: [{}] })
      const folder = await folderWith({
        'tls-policy.ini':
          '[destinations]\nsub.ruled.test=off until 2020-01-01\n*.ruled.test=encrypt until 2031-12-31\n',
      })
      const { stdout } = await runCommand(folder, 'check', 'u@sub.ruled.test')
      const words = stdout.replaceAll(/\s+/g, ' ')
      assert.match(words, /exception "sub\.ruled\.test=off until 2020-01-01" .* is over/)
      assert.match(words, /\(rule "\.ruled\.test = encrypt until 2031-12-31" under/)
    })

    it('an address literal has no policy; by itself Haraka lets such mail wait', async () => {
      const literal = await run('check', 'u@[192.0.2.19]', '--json')
      assert.equal(literal.code, 2)
      assert.equal((JSON.parse(literal.stdout) as CheckReport).treatment, 'off')
      const routed = await run('check', 'u@x.test', '--host', '192.0.2.19', '--json')
      assert.equal(routed.code, 1)
      assert.equal((JSON.parse(routed.stdout) as CheckReport).treatment, 'off')
    })
  })

  describe('policies', () => {
    it('list, show and refresh what a running Haraka keeps', async () => {
      const domain = await withPolicy('kept.test', 'enforce')
      assert.equal((await haraka.deliver(domain.recipient)).kind, 'delivered')
      const listed = await run('policies', 'list')
      assertFits(listed.stdout)
      assert.match(listed.stdout, /^enforce +in \d+ days +kept\.test \(1\)$/m)
      const shown = await run('policies', 'show', 'KEPT.test')
      assert.match(shown.stdout, /^ {2}mx: mx1\.kept\.test$/m)
      const before = policyHost.requests.entries.length
      const refreshed = await run('policies', 'refresh', 'kept.test')
      assert.equal(refreshed.code, 0, refreshed.stdout)
      assert.equal(policyHost.requests.entries.length, before + 1)
    })

    it('a refresh that fails says so, and leaves the policy', async () => {
      policyHost.set('mta-sts.kept.test', {
        answer: { status: 404 },
        certificate: lab.certificate('mta-sts.kept.test'),
      })
      const refreshed = await run('policies', 'refresh', 'kept.test')
      assert.equal(refreshed.code, 1)
      assert.match(refreshed.stdout, /^Problem: sts-policy-fetch-error: /m)
      assert.equal((await run('policies', 'show', 'kept.test')).code, 0)
    })

    it('purge: a running Haraka forgets the policy as well, and looks anew', async () => {
      const domain = await withPolicy('purged.test', 'enforce')
      const requests = () =>
        policyHost.requests.entries.filter(({ host }) => host === 'mta-sts.purged.test').length
      assert.equal((await haraka.deliver(domain.recipient)).kind, 'delivered')
      assert.equal((await haraka.deliver(domain.recipient)).kind, 'delivered')
      assert.equal(requests(), 1)
      assert.equal((await run('policies', 'purge', 'purged.test')).code, 0)
      assert.equal((await run('policies', 'show', 'purged.test')).code, 1)
      assert.equal((await run('policies', 'purge', 'purged.test')).code, 1)
      // Workers look for changes a few times a second.
      for (let mails = 0; mails < 10 && requests() === 1; mails += 1) {
        assert.equal((await haraka.deliver(domain.recipient)).kind, 'delivered')
      }
      assert.equal(requests(), 2)
    })

    it('check says what the delivery does with what is kept, and without', async () => {
      assert.equal(await assertCheckSaysTheSame(haraka), 2)
    })
  })

  describe('doctor', () => {
    async function findingsIn(folder: string, env = {}): Promise<readonly [Ran, DoctorReport]> {
      const ran = await runCommandIn(env, folder, 'doctor', '--json')
      assert.equal(ran.stderr, '')
      return [ran, JSON.parse(ran.stdout) as DoctorReport]
    }
    async function findings(files: Readonly<Record<string, string>>) {
      return findingsIn(await folderWith(files))
    }
    function assertOnlyProblem(
      [ran, { findings: all }]: readonly [Ran, DoctorReport],
      check: Finding['check'],
      text: RegExp,
    ): void {
      const problems = all.filter(({ level }) => level === 'problem')
      assert.deepEqual(
        problems.map((finding) => finding.check),
        [check],
        ran.stdout,
      )
      assert.match(problems[0]?.text ?? '', text)
      assert.ok(problems[0]?.cure)
      assert.equal(ran.code, 1)
    }

    it('finds nothing where all is well, and says so on 80 columns', async () => {
      const { code, stdout } = await run('doctor')
      assert.equal(code, 0, stdout)
      assertFits(stdout)
      for (const check of [
        'settings',
        'plugins',
        'haraka',
        'outbound',
        'road',
        'resolver',
        'store',
        'clock',
      ]) {
        assert.match(stdout, new RegExp(`^ok       ${check} `, 'm'))
      }
    })

    it('a resolver that does not validate', async () => {
      await lab.validator({ address: '127.0.0.2', validates: false })
      const found = await findings({ 'tls-policy.ini': '[dns]\nservers=127.0.0.2\n' })
      assertOnlyProblem(found, 'resolver', /^DNSSEC is not validated/)
    })

    it('a resolver whose AD comes over an untrusted path', async () => {
      await lab.validator({ address: '192.0.2.11' })
      const found = await findings({ 'tls-policy.ini': '[dns]\nservers=192.0.2.11\n' })
      assertOnlyProblem(found, 'resolver', /the path to it is not trusted/)
    })

    it('a resolver that does not answer', async () => {
      const found = await findings({
        'tls-policy.ini': '[dns]\nservers=127.0.0.3\ntimeout=1\ndeadline=2\n',
      })
      assertOnlyProblem(found, 'resolver', /^no resolver answers/)
    })

    it('Redis down, and up', async () => {
      const files = {
        'tls-policy.ini': '[store]\nbackend=redis\n',
        'redis.ini': '[server]\nport=6380\n',
      }
      assertOnlyProblem(await findings(files), 'store', /Redis/)
      const redis = await lab.redis({ port: 6380 })
      const [ran, report] = await findings(files)
      assert.equal(ran.code, 0, JSON.stringify(report))
      await redis.stop()
    })

    it('Redis with another password: the finding says so', async () => {
      const redis = await lab.redis({ port: 6381, password: 'right' })
      const ini = (password: string) => ({
        'tls-policy.ini': `[store]\nbackend=redis\n[redis]\nport=6381\npassword=${password}\n`,
      })
      assertOnlyProblem(await findings(ini('wrong')), 'store', /WRONGPASS/)
      const [ran, report] = await findings(ini('right'))
      assert.equal(ran.code, 0, JSON.stringify(report))
      await redis.stop()
    })

    it('a store in a folder that cannot be made', async () => {
      const file = join(lab.folder, 'a-file')
      await writeFile(file, '')
      const found = await findings({ 'tls-policy.ini': `[store]\npath=${file}/store\n` })
      assertOnlyProblem(found, 'store', /cannot be (?:made|opened)/)
    })

    it('a store that is closed to the owner of the queue, also when asked as root', async () => {
      const folder = await folderWith({})
      await mkdir(join(folder, 'tls-policy'), { mode: 0o700 })
      await chown(join(folder, 'queue'), NOBODY, NOBODY)
      assertOnlyProblem(await findingsIn(folder), 'store', /permission denied/i)
    })

    it('a clock that is behind', async () => {
      const folder = await folderWith({})
      const tomorrow = new Date(Date.now() + 86_400_000)
      await utimes(join(folder, 'config/plugins'), tomorrow, tomorrow)
      assertOnlyProblem(await findingsIn(folder), 'clock', /config\/plugins is of/)
    })

    it('enable_tls=false', async () => {
      const found = await findings({ 'outbound.ini': 'enable_tls=false\n' })
      assertOnlyProblem(found, 'outbound', /enable_tls=false/)
    })

    it('the plugin not in config/plugins, or twice', async () => {
      assertOnlyProblem(await findings({ plugins: '; tls-policy\nrelay\n' }), 'plugins', /not in/)
      assertOnlyProblem(
        await findings({ plugins: 'tls-policy\nhost_pool\nharaka-plugin-tls-policy\n' }),
        'plugins',
        /2 times/,
      )
    })

    it('a Haraka that the plugin does not know', async () => {
      const folder = await folderWith({})
      const program = join(folder, 'node_modules/Haraka')
      await mkdir(program, { recursive: true })
      await writeFile(join(program, 'package.json'), '{"name":"Haraka","version":"4.0.0"}')
      assertOnlyProblem(await findingsIn(folder), 'haraka', /4\.0\.0/)
    })

    it('an exception that is over', async () => {
      const found = await findings({
        'tls-policy.ini': '[destinations]\nold.test=off until 2020-01-01\n',
      })
      assertOnlyProblem(found, 'exceptions', /old\.test=off until 2020-01-01/)
    })

    it('settings with mistakes, each', async () => {
      const files = { 'tls-policy.ini': '[main]\nmode=maybe\n[dane]\nenabeld=1\n' }
      const [ran, report] = await findings(files)
      assert.equal(ran.code, 1)
      assert.equal(report.findings.length, 2)
      assert.match(report.findings[0]?.text ?? '', /main\.mode=maybe/)
    })
  })

  it('exit code 78 and each mistake on stderr where the settings have mistakes', async () => {
    const folder = await folderWith({ 'tls-policy.ini': '[main]\nmode=maybe\n' })
    const { code, stdout, stderr } = await runCommand(folder, 'check', 'x.test')
    assert.equal(code, 78)
    assert.equal(stdout, '')
    assert.match(stderr, /main\.mode=maybe/)
  })

  it('exit code 64 where it was not understood, or there is no Haraka folder', async () => {
    assert.equal((await run('chekc', 'x.test')).code, 64)
    const url = await run('check', 'http://foo.test/')
    assert.equal(url.code, 64)
    assert.match(url.stderr, /"http:\/\/foo\.test\/" is no domain name/)
    const { code, stderr } = await runCommand(join(lab.folder, 'nowhere'), 'doctor')
    assert.equal(code, 64)
    assert.match(stderr, /no Haraka folder/)
  })

  it('docs/command.md names every field of the JSON, and no other', async () => {
    await withPolicy('documented.test', 'enforce')
    policyHost.set('mta-sts.ailing.test', {
      answer: { status: 404 },
      certificate: lab.certificate('mta-sts.ailing.test'),
    })
    await makeDomain(lab, 'ailing.test', {
      records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
      hosts: [
        {
          tlsa: [
            [3, 1, 1],
            [1, 1, 1],
          ],
        },
      ],
    })
    await lab.zone('documented-alias.test', {
      security: 'signed',
      records: ['@ MX 10 mx', 'mx CNAME mx1.ailing.test.'],
    })
    const watching = await folderWith({ 'tls-policy.ini': `[main]\nmode=observe\n${settings}` })
    const json = async (folder: string, ...args: readonly string[]) =>
      JSON.parse((await runCommand(folder, ...args, '--json')).stdout) as CheckReport
    const checks = [
      await json(haraka.folder, 'check', 'documented.test', '--connect'),
      await json(haraka.folder, 'check', 'documented-alias.test'),
      await json(haraka.folder, 'check', 'x.test', '--host', 'mx1.ailing.test'),
      await json(watching, 'check', 'ailing.test', '--connect'),
    ]
    await leaveNote('documented.test', 'refresh-failed', 'sts-policy-fetch-error HTTP status 404')
    assert.match(
      (await run('policies', 'list')).stdout,
      /the last refresh failed: sts-policy-fetch-error, HTTP\s+status 404/,
    )
    const list = JSON.parse((await run('policies', 'list', '--json')).stdout) as PoliciesReport
    const doctor = JSON.parse((await run('doctor', '--json')).stdout) as DoctorReport
    const page = await readFile(resolve(__dirname, '../../docs/command.md'), 'utf8')
    assert.deepEqual(fieldsOf(...checks), documented(page, 'check'))
    assert.deepEqual(fieldsOf(list), documented(page, 'policies'))
    assert.deepEqual(fieldsOf(doctor), documented(page, 'doctor'))
  })
})

function fail(text: string): never {
  throw new Error(text)
}

function assertFits(text: string): void {
  for (const line of text.split('\n')) assert.ok(line.length <= 80, line)
  // eslint-disable-next-line no-control-regex -- no escape sequences is the point
  assert.doesNotMatch(text, /[\x00-\x09\x0b-\x1f\x7f]/)
}

/** The fields of the table under this heading of the part on JSON. */
function documented(page: string, heading: string): readonly string[] {
  const [, json = ''] = page.split('\n## JSON\n')
  const section = json.split('\n### ').find((part) => part.startsWith(`${heading}\n`)) ?? ''
  return [...section.matchAll(/^\| `([^`]+)`/gm)].map(([, field]) => field ?? '').sort()
}

function fieldsOf(...values: readonly unknown[]): readonly string[] {
  const fields = new Set<string>()
  const walk = (value: unknown, path: string): void => {
    if (Array.isArray(value)) {
      fields.add(`${path}[]`)
      for (const item of value) walk(item, `${path}[]`)
    } else if (typeof value === 'object' && value !== null) {
      if (path !== '' && !path.endsWith('[]')) fields.add(path)
      for (const [key, inner] of Object.entries(value)) {
        walk(inner, path === '' ? key : `${path}.${key}`)
      }
    } else if (!path.endsWith('[]')) {
      fields.add(path)
    }
  }
  for (const value of values) walk(value, '')
  return [...fields].sort()
}
