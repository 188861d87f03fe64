import assert from 'node:assert/strict'
import { serversAsked } from '../../../plugins/dnssec-stub/ad'
import { parseServer, serverText, withTrust } from '../../../plugins/dnssec-stub/servers'

describe('dnssec-stub servers', () => {
  const good: [spec: string, text: string][] = [
    ['127.0.0.1', '127.0.0.1:53'],
    [' 192.0.2.1:5353 ', '192.0.2.1:5353'],
    ['::1', '[::1]:53'],
    ['[::1]', '[::1]:53'],
    ['[2001:DB8::53]:853', '[2001:db8::53]:853'],
    ['2001:db8:0:0::1', '[2001:db8::1]:53'],
    ['0:0:0:0:0:0:0:1', '[::1]:53'],
    ['::ffff:127.0.0.53', '127.0.0.53:53'],
    ['fe80::1%eth0', '[fe80::1%eth0]:53'],
  ]
  for (const [spec, text] of good) {
    it(`"${spec}" is ${text}`, () => assert.equal(serverText(parseServer(spec)), text))
  }

  const bad = [
    '',
    'localhost',
    'dns.example:53',
    '127.0.0.1:',
    '127.0.0.1:0',
    '127.0.0.1:65536',
    '127.1',
    '300.0.0.1',
    '[127.0.0.1]:53',
    '[::1]:x',
    '127.0.0.1,127.0.0.2',
  ]
  for (const spec of bad) {
    it(`"${spec}" is refused, with what is allowed`, () => {
      assert.throws(
        () => parseServer(spec),
        (error: Error) => {
          assert.ok(error.message.startsWith(`"${spec}" is no DNS server`))
          assert.match(error.message, /ip:port/)
          return true
        },
      )
    })
  }

  const believed: [spec: string, loopback: boolean][] = [
    ['127.0.0.1', true],
    ['127.0.0.1:5353', true],
    ['127.9.9.9', true],
    ['::1', true],
    ['0:0::1', true],
    ['127.0.0.11', false],
    ['127.0.0.53', false],
    ['127.0.0.54', false],
    ['::ffff:127.0.0.53', false],
    ['192.0.2.1', false],
    ['10.0.0.1', false],
    ['2001:db8::1', false],
    ['fe80::1%lo', false],
    ['::2', false],
  ]
  for (const [spec, loopback] of believed) {
    it(`DNS-01 AD of ${spec}: ${loopback ? 'believed' : 'not believed'} under loopback, under listed only if listed, under never not at all`, () => {
      const trusted = (trustAd: 'loopback' | 'listed' | 'never', listed: boolean) =>
        withTrust([parseServer(spec)], trustAd, listed)[0]?.trusted
      assert.equal(trusted('loopback', true), loopback)
      assert.equal(trusted('loopback', false), loopback)
      assert.equal(trusted('listed', true), true)
      assert.equal(trusted('listed', false), false)
      assert.equal(trusted('never', true), false)
    })
  }

  it('DNS-01 where some servers are trusted, only they are asked', () => {
    const servers = withTrust(['192.0.2.1', '127.0.0.1', '::1'].map(parseServer), 'loopback', true)
    assert.deepEqual(serversAsked(servers).map(serverText), ['127.0.0.1:53', '[::1]:53'])
    const untrusted = withTrust(['192.0.2.1', '192.0.2.2'].map(parseServer), 'loopback', true)
    assert.equal(serversAsked(untrusted).length, 2)
  })
})
