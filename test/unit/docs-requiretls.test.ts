/** What the pages say of REQUIRETLS and TLS-Required: No, beside what the code says and does. */
import assert from 'node:assert/strict'
import { readConfig } from '../../plugins/config'
import type { Config } from '../../plugins/config'
import { isForGood, REASONS, statusCode } from '../../plugins/reasons/catalogue'
import type { ReasonCode } from '../../plugins/reasons/codes'
import type { Offer } from '../../plugins/requiretls/offer'
import { answerMail, LOST_ROAD } from '../../plugins/requiretls/parameter'
import { tellRequireTls } from '../../plugins/tell-start'
import { readPage, tableRows } from '../support/docs-pages'

const answerTo = (offer: Offer, value: string | null) => {
  const answer = answerMail({ REQUIRETLS: value }, () => offer)
  assert.equal(answer.kind, 'refuse')
  return `${answer.code} ${answer.text}`.split(' ').slice(0, 2).join(' ')
}
const NEEDS_TLS = answerTo({ kind: 'needs-tls' }, null)
const WITH_VALUE = answerTo({ kind: 'offered' }, 'x')
const NOT_OFFERED = answerTo({ kind: 'not-offered', why: '' }, null)
const LOST = `550 ${LOST_ROAD.split(' ')[0] ?? ''}`

function config(ini: Record<string, Record<string, string>>): Config {
  const result = readConfig(ini, () => undefined)
  assert.ok(result.ok)
  return result.config
}

describe('what the pages say of REQUIRETLS', () => {
  it('requiretls.md: the answers to clients are those of the code', () => {
    const answers = tableRows(readPage('requiretls.md')).map(([, answer]) => answer)
    const never = `550 ${statusCode('requiretls-mx-not-validated', 5)}`
    assert.deepEqual(answers, [NEEDS_TLS, WITH_VALUE, NOT_OFFERED, never, LOST])
  })

  it('troubleshooting.md: so are those there, and what the log says', () => {
    const page = readPage('troubleshooting.md')
    for (const words of [NEEDS_TLS, NOT_OFFERED, LOST]) assert.ok(page.includes(words), words)
    const told: string[] = []
    const log = { info: () => undefined, notice: (text: string) => told.push(text) }
    tellRequireTls(log, config({}), 'so')
    assert.deepEqual(told, ['REQUIRETLS is not offered to clients: so'])
    assert.ok(page.includes('`REQUIRETLS is not offered to clients:`'))
  })

  it('troubleshooting.md: every reason of its own is there, and those with which a message comes back have the codes that are named', () => {
    const page = readPage('troubleshooting.md')
    const own = (Object.keys(REASONS) as ReasonCode[]).filter(
      (code) => code.startsWith('requiretls-') && REASONS[code].status !== undefined,
    )
    assert.ok(own.length > 3)
    for (const code of own) {
      assert.ok(page.includes(`\`${code}\``), code)
      const named = ['5.7.10', '5.7.30'].includes(statusCode(code, 5))
      assert.equal(named, isForGood(code), code)
    }
  })

  it('the setting that does not heed TLS-Required: No is the one that they name', () => {
    for (const name of ['security-model.md', 'troubleshooting.md', 'requiretls.md']) {
      const page = readPage(name).replaceAll('\n', ' ')
      assert.match(page, /honour=false/, name)
      assert.match(page, /\[tls_required\]/, name)
    }
    assert.equal(config({ tls_required: { honour: 'false' } }).tlsRequired.honour, false)
    assert.equal(config({}).tlsRequired.honour, true)
  })
})
