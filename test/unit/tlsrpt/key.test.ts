import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { findKey, keyRecordName, type KeySource, recordTroubles } from '../../../plugins/tlsrpt/key'
import { makeDkimKey } from '../../support/second-opinion'

const key = makeDkimKey()
const { privateKey } = key

function source(files: Record<string, string>, sign: KeySource['sign'] = {}): KeySource {
  return { file: (name) => files[name] ?? '', sign }
}
const folder = (domain: string, changes: Record<string, string> = {}) => ({
  [`dkim/${domain}/private`]: privateKey,
  [`dkim/${domain}/selector`]: 's1\n',
  ...changes,
})
const standard = { domain: 'sender.test', selector: 'mail' }

describe('the key that signs reports', () => {
  const found: readonly (readonly [string, string, KeySource, string])[] = [
    ['in the folder of its domain', 'sender.test', source(folder('sender.test')), 's1 sender.test'],
    ['in that of its parent', 'a.sender.test', source(folder('sender.test')), 's1 sender.test'],
    [
      'the most specific of two',
      'a.sender.test',
      source({ ...folder('sender.test'), ...folder('a.sender.test') }),
      's1 a.sender.test',
    ],
    [
      'in dkim.ini',
      'sender.test',
      source({ 'dkim.private.key': privateKey }, standard),
      'mail sender.test',
    ],
    [
      'in dkim.ini, as its folder has no selector',
      'sender.test',
      source(
        {
          ...folder('sender.test', { 'dkim/sender.test/selector': '' }),
          'dkim.private.key': privateKey,
        },
        standard,
      ),
      'mail sender.test',
    ],
  ]
  for (const [where, submitter, from, expected] of found) {
    it(`TD-10 is found ${where}`, () => {
      const result = findKey(submitter, from)
      assert.ok(result.ok, JSON.stringify(result))
      assert.equal(`${result.key.selector} ${result.key.domain}`, expected)
      assert.equal(result.key.privateKey, privateKey)
    })
  }

  const ed25519 = generateKeyPairSync('ed25519', {
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  const refused: readonly (readonly [string, KeySource, RegExp])[] = [
    ['there is none', source({}), /there is no DKIM key for sender\.test/],
    ['that of dkim.ini is of another domain', source({ 'dkim.private.key': privateKey }, { ...standard, domain: 'other.test' }), /is that of other\.test, and reports come from sender\.test/],
    ['a top-level domain has one', source(folder('test')), /there is no DKIM key/],
    ['it is none', source(folder('sender.test', { 'dkim/sender.test/private': 'nonsense' })), /cannot be used/],
    ['nodemailer could not sign with it', source(folder('sender.test', { 'dkim/sender.test/private': ed25519.privateKey })), /of type ed25519, not rsa/],
    ['it is too short', source(folder('sender.test', { 'dkim/sender.test/private': makeDkimKey(512).privateKey })), /512 bits only/],
    ['its selector would break the header', source(folder('sender.test', { 'dkim/sender.test/selector': 's1; d=evil.test' })), /its selector is none/],
  ] // prettier-ignore
  for (const [why, from, sentence] of refused) {
    it(`TD-10 none is used where ${why}`, () => {
      const result = findKey('sender.test', from)
      assert.ok(!result.ok)
      assert.match(result.detail, sentence)
    })
  }
})

describe('the record of the key that signs reports', () => {
  const signing = { domain: 'sender.test', selector: 's1', privateKey }
  const pkcs1 = createPublicKey(privateKey)
    .export({ type: 'pkcs1', format: 'der' })
    .toString('base64')
  const cases: readonly (readonly [string, readonly string[], RegExp | undefined])[] = [
    ['no s=', [key.record], undefined],
    ['s=*', [key.recordWith('s=*; ')], undefined],
    ['an RSAPublicKey', [`v=DKIM1; k=rsa; p=${pkcs1}`], undefined],
    ['s=tlsrpt', [key.recordWith('s=tlsrpt; ')], /ordinary verifiers refuse that/],
    ['s=email', [key.recordWith('s=email; ')], /not for reports/],
    ['s=email:tlsrpt', [key.recordWith('s=email : tlsrpt; ')], /ordinary verifiers refuse that/],
    ['nothing', [], /no TXT record/],
    ['two records', [key.record, key.record], /2 TXT records/],
    ['a key that was taken back', ['v=DKIM1; p='], /has no key in it/],
    ['another key', [makeDkimKey().record], /is not that of config\/dkim/],
    ['no base64 at all', ['v=DKIM1; p=%%%'], /is not that of config\/dkim/],
    ['nothing that is a record', ['\0;=;;==p'], /has no key in it/],
  ]
  for (const [what, texts, trouble] of cases) {
    it(`TD-12 ${what}: ${trouble === undefined ? 'well' : 'told'}`, () => {
      const troubles = recordTroubles(signing, texts)
      assert.equal(troubles.length, trouble === undefined ? 0 : 1, troubles.join())
      if (trouble !== undefined) assert.match(troubles[0] ?? '', trouble)
    })
  }
  it('TD-12 is at the name that verifiers ask for', () => {
    assert.equal(keyRecordName(signing), 's1._domainkey.sender.test')
  })
})
