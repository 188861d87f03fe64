import assert from 'node:assert/strict'
import {
  failed,
  hang,
  insecure,
  mx,
  nodata,
  nxdomain,
  scriptedResolver,
  secure,
  tlsa,
  turns,
} from '../../support/scripted-resolver'

describe('the scripted resolver of the tests', () => {
  const zone = {
    'rcpt.test': { MX: secure(mx(10, 'mx1.rcpt.test')) },
    'mx1.rcpt.test': { A: secure('192.0.2.1'), AAAA: failed('servfail') },
    '_25._tcp.mx1.rcpt.test': { TLSA: secure(tlsa(3, 1, 1, 'ab cd')) },
    'alias.test': { CNAME: insecure('mx1.rcpt.test') },
    'loop.test': { CNAME: secure('loop.test') },
    'slow.test': { A: hang },
    'turns.test': { A: turns(failed('timeout'), secure('192.0.2.2')) },
  }

  it('answers, denies and fails as its table says, and keeps the order of questions', async () => {
    const dns = scriptedResolver(zone)
    assert.deepEqual(await dns.resolve('Rcpt.Test.', 'MX'), secure(mx(10, 'mx1.rcpt.test')))
    assert.deepEqual(await dns.resolve('mx1.rcpt.test', 'AAAA'), failed('servfail'))
    assert.deepEqual(await dns.resolve('mx1.rcpt.test', 'TXT'), nodata())
    assert.deepEqual(await dns.resolve('_tcp.mx1.rcpt.test', 'TXT'), nodata())
    assert.deepEqual(await dns.resolve('no.test', 'A'), nxdomain())
    assert.deepEqual(dns.log(), [
      'rcpt.test MX',
      'mx1.rcpt.test AAAA',
      'mx1.rcpt.test TXT',
      '_tcp.mx1.rcpt.test TXT',
      'no.test A',
    ])
    assert.equal(dns.asked('rcpt.test', 'MX'), 1)
  })

  it('follows CNAMEs with the weakest link, and sees loops', async () => {
    const dns = scriptedResolver(zone)
    assert.deepEqual(await dns.resolve('alias.test', 'A'), {
      ...insecure('192.0.2.1'),
      aliases: ['mx1.rcpt.test'],
    })
    assert.deepEqual(await dns.resolve('alias.test', 'CNAME'), insecure('mx1.rcpt.test'))
    assert.deepEqual(await dns.resolve('loop.test', 'A'), failed('alias-chain'))
  })

  it('hangs until aborted', async () => {
    const abort = new AbortController()
    const pending = scriptedResolver(zone).resolve('slow.test', 'A', { signal: abort.signal })
    abort.abort()
    assert.deepEqual(await pending, failed('aborted'))
  })

  it('takes turns, and can be changed', async () => {
    const dns = scriptedResolver(zone)
    assert.deepEqual(await dns.resolve('turns.test', 'A'), failed('timeout'))
    assert.deepEqual(await dns.resolve('turns.test', 'A'), secure('192.0.2.2'))
    dns.set('turns.test', 'A', nodata('insecure'))
    assert.deepEqual(await dns.resolve('turns.test', 'A'), nodata('insecure'))
  })
})
