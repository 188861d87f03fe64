import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { readConfig } from '../../plugins/config'
import type { Config, IniFile } from '../../plugins/config'
import { nextHopDomain } from '../../plugins/delivery/planner'
import { destinationText, endedDestinations, ruleFor } from '../../plugins/destinations'
import { clusterNodes, sentinels } from '../../plugins/store/redis/settings'

const anyServer = () => undefined

function accepted(ini: IniFile): Config {
  const result = readConfig(ini, anyServer)
  assert.ok(result.ok, result.ok ? '' : result.mistakes.join('\n'))
  return result.config
}

function mistakes(ini: IniFile): readonly string[] {
  const result = readConfig(ini, anyServer)
  return result.ok ? [] : result.mistakes
}

/** The shipped file in the shape that haraka-config gives it. */
function shippedIni(): IniFile {
  const ini: Record<string, Record<string, unknown>> = { main: {} }
  let section: Record<string, unknown> = ini['main'] ?? {}
  for (const line of readFileSync('config/tls-policy.ini', 'utf8').split('\n')) {
    if (/^\s*(;|$)/.test(line)) continue
    const name = /^\[(\w+)\]$/.exec(line)?.[1]
    if (name !== undefined) {
      section = ini[name] ??= {}
      continue
    }
    const [key = '', ...value] = line.split('=')
    const text = value.join('=')
    section[key] = /^\d+$/.test(text) ? Number(text) : text
  }
  return ini
}

describe('config', () => {
  it('the shipped file says exactly what holds without it', () => {
    assert.deepEqual(accepted(shippedIni()), accepted({}))
  })

  it('the shipped file names every setting', () => {
    const ini = shippedIni()
    for (const [name, section] of [
      ['dns', 7],
      ['dane', 4],
      ['mta_sts', 8],
      ['tls', 1],
      ['store', 3],
      ['tlsrpt', 11],
    ] as const) {
      assert.equal(Object.keys(ini[name] as object).length, section, name)
    }
  })

  it('reports are on where from is given, and nothing switches them off', () => {
    const { tlsrpt } = accepted({ tlsrpt: { from: 'R@A.Test', never: 'B.test,c@D.test' } })
    assert.deepEqual(
      [tlsrpt.enabled, tlsrpt.from, tlsrpt.never],
      [true, 'R@a.test', ['b.test', 'c@d.test']],
    )
    assert.equal(accepted({ tlsrpt: { from: 'r@a.test', enabled: false } }).tlsrpt.enabled, false)
    assert.equal(accepted({ tlsrpt: { enabled: true } }).tlsrpt.enabled, false)
  })

  it('cannot be changed', () => {
    const config = accepted({})
    assert.throws(() => {
      ;(config.dane as { enabled: boolean }).enabled = false
    }, TypeError)
  })

  it('takes values as haraka-config gives them', () => {
    const config = accepted({
      main: { mode: 'observe' },
      dns: { servers: '192.0.2.1, [2001:db8::1]:5353', trust_ad: 'listed', timeout: 2 },
      dane: { enabled: 'no', digests: 'sha256' },
      mta_sts: { fetch_private: true, with_dane: 'both' },
      redis: { host: '192.0.2.9', port: 6380 },
    })
    assert.equal(config.mode, 'observe')
    assert.deepEqual(config.dns.servers, ['192.0.2.1', '[2001:db8::1]:5353'])
    assert.equal(config.dns.timeoutSeconds, 2)
    assert.equal(config.dane.enabled, false)
    assert.deepEqual(config.dane.digests, ['sha256'])
    assert.equal(config.mtaSts.fetchPrivate, true)
    assert.deepEqual(config.redis, { host: '192.0.2.9', port: 6380 })
  })

  it('takes a Cluster, and Sentinels, with what belongs to them', () => {
    const cluster = { cluster: 'a, 192.0.2.9:7000,[2001:db8::1]:7001', db: 0, password: 'x' }
    assert.deepEqual(mistakes({ redis: cluster }), [])
    assert.deepEqual(clusterNodes(cluster), [
      { host: 'a', port: 6379 },
      { host: '192.0.2.9', port: 7000 },
      { host: '2001:db8::1', port: 7001 },
    ])
    const behind = { sentinels: 'a,b:7000', sentinel_name: 'm', sentinel_password: 'x', db: 2 }
    assert.deepEqual(mistakes({ redis: behind }), [])
    assert.deepEqual(sentinels(behind), [
      { host: 'a', port: 26379 },
      { host: 'b', port: 7000 },
    ])
  })

  const wrong: readonly (readonly [string, IniFile, RegExp])[] = [
    ['a word', { main: { mode: 'enfroce' } }, /main\.mode=enfroce: one of enforce, observe/],
    ['a boolean', { dane: { enabled: 'maybe' } }, /dane\.enabled=maybe: true or false/],
    ['a number', { dns: { timeout: '5 ; x' } }, /dns\.timeout=5 ; x: a whole number from 1 to 60/],
    ['a fraction', { dns: { timeout: 1.5 } }, /dns\.timeout=1\.5: a whole number/],
    ['a range', { mta_sts: { max_body: 1 } }, /mta_sts\.max_body=1: a whole number from 1024/],
    ['a digest', { dane: { digests: 'md5' } }, /dane\.digests=md5: sha512, sha256/],
    ['a deadline under the time-out', { dns: { deadline: 2 } }, /dns\.deadline=2: at least/],
    ['listed without servers', { dns: { trust_ad: 'listed' } }, /dns\.trust_ad=listed/],
    [
      'an unknown key',
      { dane: { enabeld: 'false' } },
      /dane\.enabeld: no such setting; \[dane\] has/,
    ],
    ['an unknown section', { dnae: {} }, /\[dnae\]: no such section/],
    ['a list for one value', { tls: { min_version: ['a', 'b'] } }, /tls\.min_version/],
    [
      'a rule',
      { destinations: { 'a.test': 'dane-onyl' } },
      /destinations\.a\.test=dane-onyl: one of/,
    ],
    [
      'a day',
      { destinations: { 'a.test': 'off until 2026-02-30' } },
      /destinations\.a\.test=off until/,
    ],
    ...(
      [
        ['no name', 'verify match='],
        ['an empty name', 'verify match=a.test,,b.test'],
        ['an address', 'verify match=192.0.2.1'],
        ['a name that no certificate can bear', 'verify match=a.0x7f.1'],
        ['a path', 'verify match=a/b'],
        ['too many', `verify match=${Array.from({ length: 33 }, (_, at) => `h${at}.test`).join()}`],
      ] as const
    ).map(
      ([title, value]) =>
        [
          `match= with ${title}`,
          { destinations: { 'a.test': value } },
          /destinations\.a\.test=verify match=\S*: match= with 1 to 32 host names, or \.parent/,
        ] as const,
    ),
    [
      'match= behind another rule',
      { destinations: { 'a.test': 'encrypt match=b.test' } },
      /destinations\.a\.test=encrypt match=b\.test: match= behind the rule verify, and no other,/,
    ],
    [
      'names without match=',
      { destinations: { 'a.test': 'verify b.test' } },
      /destinations\.a\.test=verify b\.test: one of/,
    ],
    ['a domain', { destinations: { '..a': 'off' } }, /destinations\.\.\.a: a domain/],
    [
      'an address',
      { destinations: { '192.0.2.1': 'off' } },
      /destinations\.192\.0\.2\.1: a domain/,
    ],
    ['a star alone', { destinations: { '*': 'off' } }, /destinations\.\*: a domain/],
    [
      'a star within',
      { destinations: { 'a.*.test': 'off' } },
      /destinations\.a\.\*\.test: a domain/,
    ],
    ['a name with a path', { destinations: { 'a.test/b': 'off' } }, /a\.test\/b: a domain/],
    [
      'a destination in two cases',
      { destinations: { 'a.test': 'off', 'A.test.': 'off' } },
      /destinations\.A\.test\.: the same as a\.test; only one of them/,
    ],
    [
      'a parent in two spellings',
      { destinations: { '.a.test': 'off', '*.a.test': 'dane' } },
      /destinations\.\*\.a\.test: the same as \.a\.test;/,
    ],
    [
      'a destination in two alphabets',
      { destinations: { 'xn--bcher-kva.test': 'off', 'BÜCHER.test': 'off' } },
      /destinations\.BÜCHER\.test: the same as xn--bcher-kva\.test;/,
    ],
    ['a comment behind a path', { store: { path: '/x ; y' } }, /store\.path=\/x ; y: .*its own$/],
    [
      'a name before an address',
      { tlsrpt: { from: 'R <r@a.test>' } },
      /tlsrpt\.from=R <r@a\.test>: a mail/,
    ],
    [
      'an address without a domain',
      { tlsrpt: { from: 'r@localhost' } },
      /tlsrpt\.from=r@localhost: a mail/,
    ],
    [
      'an address at an IP address',
      { tlsrpt: { from: 'r@192.0.2.1' } },
      /tlsrpt\.from=r@192\.0\.2\.1: a mail/,
    ],
    [
      'an address in another alphabet',
      { tlsrpt: { bcc: 'r@bücher.test' } },
      /tlsrpt\.bcc=r@bücher\.test: a mail/,
    ],
    [
      'no domain among those that get none',
      { tlsrpt: { never: 'a.test, b c' } },
      /tlsrpt\.never=b c: domains and/,
    ],
    ['a spread', { tlsrpt: { spread: 60 } }, /tlsrpt\.spread=60: a whole number from 600/],
    [
      'a long name',
      { tlsrpt: { organization: 'x'.repeat(300) } },
      /tlsrpt\.organization=x+: a name of/,
    ],
    ['a prefix', { store: { prefix: 'a b' } }, /store\.prefix=a b: 1 to 64/],
    ['an unknown key of Redis', { redis: { clusters: 'a:1' } }, /redis\.clusters: no such setting/],
    ['a tls that is neither', { redis: { tls: 'ture' } }, /redis\.tls=ture: true or false is/],
    [
      'a port of Redis',
      { redis: { port: 'abc' } },
      /redis\.port=abc: a whole number from 1 to 65535/,
    ],
    ['port 0 of Redis', { redis: { port: 0 } }, /redis\.port=0: a whole number from 1/],
    ['port 65536 of Redis', { redis: { port: 65536 } }, /redis\.port=65536: a whole number/],
    ['a port in hex', { redis: { port: '0x19' } }, /redis\.port=0x19: a whole number/],
    ['a database', { redis: { database: 'one' } }, /redis\.database=one: a whole number is/],
    ['a database below zero', { redis: { db: -1 } }, /redis\.db=-1: a whole number is/],
    [
      'a servername',
      { redis: { tls: true, servername: 'a b' } },
      /redis\.servername=a b: a host name/,
    ],
    ['a url', { redis: { url: 'http://:secret@a' } }, /redis\.url=\(not shown\): redis:/],
    ['a list for one value of Redis', { redis: { host: ['a', 'b'] } }, /redis\.host=.*one value/],
    [
      'nodes of a Cluster',
      { redis: { cluster: 'a:1, b:x' } },
      /redis\.cluster=a:1, b:x: host:port/,
    ],
    ['a port', { redis: { cluster: 'a:65536' } }, /redis\.cluster=a:65536: host:port/],
    [
      'Sentinels',
      { redis: { sentinels: 'a:1,,b', sentinel_name: 'm' } },
      /redis\.sentinels=a:1,,b: host:port/,
    ],
    [
      'Cluster and Sentinels',
      { redis: { cluster: 'a:1', sentinels: 'b:1' } },
      /redis\.sentinels=b:1: nothing beside cluster is/,
    ],
    [
      'Cluster and host',
      { redis: { cluster: 'a:1', host: 'b' } },
      /redis\.host=b: nothing beside cluster is/,
    ],
    [
      'a database of a Cluster',
      { redis: { cluster: 'a:1', db: 1 } },
      /redis\.db=1: only 0, or nothing, beside cluster is/,
    ],
    [
      'Sentinels without a name',
      { redis: { sentinels: 'a:1' } },
      /redis\.sentinel_name=: the master's name, as the Sentinels call it, is/,
    ],
    [
      'Sentinels and a URL, which may hold a password',
      { redis: { sentinels: 'a:1', sentinel_name: 'm', url: 'redis://:secret@b' } },
      /redis\.url=\(not shown\): nothing beside sentinels is/,
    ],
    [
      'what belongs to Sentinels, without them',
      { redis: { sentinel_password: 'secret' } },
      /redis\.sentinel_password=\(not shown\): nothing without sentinels is/,
    ],
  ]
  for (const [title, ini, expected] of wrong) {
    it(`refuses ${title}, saying section, key, value and what is allowed`, () => {
      const found = mistakes(ini)
      assert.equal(found.length, 1, found.join('\n'))
      assert.match(found[0] ?? '', expected)
    })
  }

  it('tells every mistake, one line each', () => {
    assert.equal(mistakes({ main: { mode: 'x' }, dns: { timeout: 'y', backend: 'z' } }).length, 3)
  })

  it('asks for a judgement of each server', () => {
    const result = readConfig({ dns: { servers: 'a,b' } }, (text) =>
      text === 'b' ? 'no address' : undefined,
    )
    assert.ok(!result.ok)
    assert.match(result.mistakes.join(), /dns\.servers=b: .*no address/)
  })
})

describe('a name under [destinations]', () => {
  for (const [written, asked] of [
    ['Example.TEST.', 'example.test'],
    ['bücher.test', 'xn--bcher-kva.test'],
    ['xn--abc.test', 'xn--abc.test'],
    ['0x7f.1', '0x7f.1'],
    ['_under.test', '_under.test'],
  ] as const) {
    it(`${written}: finds the next hop that a delivery asks for`, () => {
      const config = accepted({ destinations: { [written]: 'encrypt' } })
      assert.equal(nextHopDomain(written), asked)
      assert.equal(ruleFor(config, asked, new Date(0)), 'encrypt')
    })
  }
})

describe('destinations', () => {
  const config = accepted({
    destinations: {
      'a.test': 'dane-only',
      '.a.test': 'encrypt',
      '.sub.a.test': 'observe until 2026-12-31',
      'bücher.test': 'off',
      '*.Star.test': 'sts',
    },
  })
  const day = new Date('2026-12-31T23:59:59Z')
  const nextDay = new Date('2027-01-01T00:00:00Z')
  const table: readonly (readonly [string, Date, string | undefined])[] = [
    ['a.test', day, 'dane-only'],
    ['mail.a.test', day, 'encrypt'],
    ['x.sub.a.test', day, 'observe'],
    ['x.sub.a.test', nextDay, 'encrypt'],
    ['sub.a.test', day, 'encrypt'],
    ['ba.test', day, undefined],
    ['test', day, undefined],
    ['xn--bcher-kva.test', day, 'off'],
    ['star.test', day, undefined],
    ['x.y.star.test', day, 'sts'],
  ]
  for (const [name, now, expected] of table) {
    it(`${name} on ${now.toISOString().slice(0, 10)} -> ${expected ?? 'no rule'}`, () => {
      assert.equal(ruleFor(config, name, now), expected)
    })
  }

  it('MAND-09 names of verify are kept as a delivery compares them, and written as in the file', () => {
    const { destinations } = accepted({
      destinations: {
        'a.test': 'verify match=MX.Partner.test, *.bücher.test until 2026-12-31',
        'b.test': 'verify',
      },
    })
    const [named, plain] = ['a.test', 'b.test'].map((name) => destinations.get(name))
    const match = ['mx.partner.test', '.xn--bcher-kva.test']
    assert.deepEqual(named, { rule: 'verify', match, until: '2026-12-31' })
    assert.deepEqual(plain, { rule: 'verify' })
    assert.equal(
      destinationText(named),
      'verify match=mx.partner.test,.xn--bcher-kva.test until 2026-12-31',
    )
  })

  it('exceptions that are over are told', () => {
    assert.deepEqual(endedDestinations(config, day), [])
    assert.deepEqual(endedDestinations(config, nextDay), ['.sub.a.test=observe until 2026-12-31'])
  })
})
