/** No text from the network costs more than its length: megabytes of it, which takes seconds. */
import assert from 'node:assert/strict'
import { parsePolicy } from '../../../plugins/mta-sts/policy'
import { parseRecords } from '../../../plugins/mta-sts/record'
import { cpuMilliseconds } from '../../support/cpu'

describe('MTA-STS policy file (RFC 8461 §3.2)', () => {
  it('takes time linear in the size: 4 MB of any repeated filler', () => {
    for (const filler of [
      '\n',
      '\r',
      ' ',
      '\t',
      ':',
      'a: b\n',
      'mx: a.test\n',
      'mode: x ',
      '\r\n',
      '. ',
      'a.',
    ]) {
      const filled = filler.repeat(4_000_000 / filler.length)
      const spent = cpuMilliseconds(() => {
        for (const body of [`x: ${filled}!`, `mx: ${filled}!`, filled, `version: ${filled}`])
          parsePolicy(Buffer.from(body))
      })
      assert.ok(spent < 8000, `${spent} ms on ${JSON.stringify(filler)}`)
    }
  }).timeout(60_000)
})

describe('MTA-STS TXT record (RFC 8461 §3.1)', () => {
  it('takes time linear in the size: 4 MB of any repeated filler', () => {
    for (const filler of [' ', ';', '\t;', 'a', '=', ' x=y ;', 'id=1;', '; ; ']) {
      const record = Buffer.from('v=STSv1' + filler.repeat(4_000_000 / filler.length) + '!')
      const spent = cpuMilliseconds(() => void parseRecords([record]))
      assert.ok(spent < 4000, `${spent} ms on ${JSON.stringify(filler)}`)
    }
  })
})
