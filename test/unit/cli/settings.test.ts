import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { isHarakaFolder, readSettings, type Settings } from '../../../plugins/cli/settings'

describe('settings of a Haraka folder', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'settings-'))
    mkdirSync(join(folder, 'config'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  function read(files: Readonly<Record<string, string>>): Settings {
    for (const [name, text] of Object.entries(files)) {
      writeFileSync(join(folder, 'config', name), text)
    }
    const result = readSettings(folder)
    assert.ok(result.ok)
    return result.settings
  }

  it('an empty config/: the shipped settings, and what Haraka does by itself', () => {
    const settings = read({})
    assert.equal(settings.config.mode, 'enforce')
    assert.deepEqual(settings.outbound, {
      enableTls: true,
      localMxOk: false,
      connectTimeoutMs: 30_000,
    })
    assert.equal(settings.helo, hostname())
    assert.equal(settings.queueFolder, join(folder, 'queue'))
    assert.equal(settings.storeFolder, join(folder, 'tls-policy'))
    assert.deepEqual(settings.plugins, [])
    assert.deepEqual(settings.outboundTls, {})
  })

  it('the operator lays his file over the shipped one', () => {
    const { config } = read({
      'tls-policy.ini': '[main]\nmode=observe\n[destinations]\na.example=dane until 2030-01-01\n',
    })
    assert.equal(config.mode, 'observe')
    assert.equal(config.dns.timeoutSeconds, 5)
    assert.deepEqual(config.destinations.get('a.example'), { rule: 'dane', until: '2030-01-01' })
  })

  it('mistakes are told, each with line, section and key', () => {
    writeFileSync(join(folder, 'config/tls-policy.ini'), '[dns]\nservers=dns.example\nbackend=x\n')
    const result = readSettings(folder)
    assert.ok(!result.ok)
    assert.equal(result.mistakes.length, 2)
    for (const mistake of result.mistakes)
      assert.match(mistake, /^tls-policy\.ini, line [23]: dns\./)
  })

  it('a ca_file that cannot be read is a mistake', () => {
    writeFileSync(join(folder, 'config/tls-policy.ini'), '[mta_sts]\nca_file=none.pem\n')
    const result = readSettings(folder)
    assert.ok(!result.ok)
    assert.match(result.mistakes[0] ?? '', /ca_file=none\.pem/)
  })

  it('outbound.ini: only words for true are true, as Haraka has it', () => {
    const text = 'enable_tls=maybe\nlocal_mx_ok=yes\nconnect_timeout=7\n'
    assert.deepEqual(read({ 'outbound.ini': text }).outbound, {
      enableTls: false,
      localMxOk: true,
      connectTimeoutMs: 7000,
    })
  })

  it('redis.ini: [server], with what [opts] adds', () => {
    const { redisIni } = read({ 'redis.ini': '[server]\nhost=r.example\n[opts]\nhost=x\ndb=3\n' })
    assert.deepEqual(redisIni, { host: 'r.example', db: 3 })
  })

  it('tls.ini: what Haraka leaves without TLS, and where it demands TLS', () => {
    const { unaidedTls } = read({
      'tls.ini': [
        '[outbound]',
        'no_tls_hosts[]=192.0.2.1',
        'no_tls_hosts[]=198.51.100.0/24',
        'no_tls_hosts[]=plain.example',
        'no_tls_hosts[]=2001:db8::/32',
        'no_tls_hosts[]=1.2.3.4/99',
        'force_tls_hosts[]=mx.safe.example',
        'force_tls_hosts[]=safe.example',
        'force_tls_hosts[]=192.0.2.128/25',
        '',
      ].join('\n'),
    })
    const cases = [
      ['x.example', 'mx.x.example', '192.0.2.1', 'never'],
      ['x.example', 'mx.x.example', '198.51.100.77', 'never'],
      ['x.example', 'mx.x.example', '2001:db8::1', 'never'],
      ['plain.example', 'mx.x.example', '192.0.2.2', 'never'],
      ['x.example', 'mx.x.example', '192.0.2.2', 'offered'],
      ['x.example', 'plain.example', '192.0.2.2', 'offered'],
      ['x.example', 'mx.safe.example', '192.0.2.1', 'forced'],
      ['safe.example', 'mx.x.example', '192.0.2.2', 'forced'],
      ['x.example', 'mx.x.example', '192.0.2.130', 'forced'],
    ] as const
    for (const [domain, host, address, expected] of cases) {
      assert.equal(unaidedTls(domain, host, address), expected, `${domain} ${host} ${address}`)
    }
  })

  it('enable_tls=false: no TLS for anybody', () => {
    const { unaidedTls } = read({ 'outbound.ini': 'enable_tls=false\n' })
    assert.equal(unaidedTls('x.example', 'mx.x.example', '192.0.2.2'), 'never')
  })

  it('enable_tls=false where TLS is forced: no delivery', () => {
    const { unaidedTls } = read({
      'outbound.ini': 'enable_tls=false\n',
      'tls.ini': '[outbound]\nforce_tls_hosts[]=x.example\n',
    })
    assert.equal(unaidedTls('x.example', 'mx.x.example', '192.0.2.2'), 'impossible')
  })

  it('tls.ini: [outbound] over [main]; key and certificate are files of config/', () => {
    const { outboundTls } = read({
      'tls.ini':
        'key=a.pem\ncert=missing.pem\nciphers=A\n[outbound]\nciphers=B\nminVersion=TLSv1.3\n',
      'a.pem': 'the key',
    })
    assert.deepEqual(outboundTls, { key: 'the key', ciphers: 'B', minVersion: 'TLSv1.3' })
  })

  it('queue_dir moves the store as well', () => {
    const { storeFolder } = read({ queue_dir: '/var/spool/haraka/queue\n' })
    assert.equal(storeFolder, '/var/spool/haraka/tls-policy')
  })

  it('a folder without config/ is none', () => {
    assert.equal(isHarakaFolder(folder), true)
    assert.equal(isHarakaFolder(join(folder, 'config')), false)
  })
})
