import assert from 'node:assert/strict'
import { StartTlsDialogue } from '../../../plugins/haraka/starttls'
import type { Due } from '../../../plugins/haraka/starttls'

const GREETING = '220 mx.rcpt.test ESMTP\r\n'
const OFFER = '250-mx1.rcpt.test at your service\r\n250-PIPELINING\r\n250 STARTTLS\r\n'

type Step = string | readonly ['asked', 'EHLO' | 'STARTTLS']
const EHLO: Step = ['asked', 'EHLO']
const STARTTLS: Step = ['asked', 'STARTTLS']

/** Octets of the server as text, and commands of ours. @returns what was due at last */
function after(...steps: readonly Step[]): {
  readonly dialogue: StartTlsDialogue
  readonly due: Due | undefined
} {
  const dialogue = new StartTlsDialogue()
  let due: Due | undefined
  for (const step of steps) {
    if (typeof step === 'string') due = dialogue.hear(Buffer.from(step, 'latin1'))
    else dialogue.asked(step[1])
  }
  return { dialogue, due }
}

describe('the words of a server before TLS', () => {
  const cases: readonly (readonly [string, readonly Step[], Due | undefined])[] = [
    ['a greeting', [GREETING], 'EHLO'],
    ['half of one', ['220 mx.rc'], undefined],
    ['an offer', [GREETING, EHLO, OFFER], 'STARTTLS'],
    ['an offer in pieces', [GREETING, EHLO, OFFER.slice(0, 40), OFFER.slice(40)], 'STARTTLS'],
    ['leave to begin', [GREETING, EHLO, OFFER, STARTTLS, '220 go\r\n'], 'handshake'],
    ['leave by another success, as Haraka takes it', [GREETING, EHLO, OFFER, STARTTLS, '250 go\r\n'], 'handshake'],
    ['a refusal at once', ['554 no\r\n'], { reason: 'greeting-refused', detail: 'greeting was "554 no"', reply: 554 }],
    ['EHLO refused', [GREETING, EHLO, '502 what?\r\n'], { reason: 'starttls-not-offered', detail: 'EHLO was answered "502 what?"', reply: 502 }],
    ['nothing offered', [GREETING, EHLO, '250 mx\r\n'], { reason: 'starttls-not-offered', detail: 'EHLO offers no extension' }],
    ['other things offered', [GREETING, EHLO, '250-mx\r\n250 SIZE 9\r\n'], { reason: 'starttls-not-offered', detail: 'EHLO offers SIZE 9' }],
    ['STARTTLS refused', [GREETING, EHLO, OFFER, STARTTLS, '454 later\r\n'], { reason: 'starttls-refused', detail: 'STARTTLS was answered "454 later"', reply: 454 }],
    ['cleartext behind the leave', [GREETING, EHLO, OFFER, STARTTLS, '220 go\r\n250 x\r\n'], { reason: 'starttls-injection', detail: '7 octets of cleartext behind the STARTTLS reply' }],
    ['the same, later', [GREETING, EHLO, OFFER, STARTTLS, '220 go\r\n', '250 x\r\n'], { reason: 'starttls-injection', detail: '7 octets of cleartext behind the STARTTLS reply' }],
    ['octets behind the greeting', [GREETING + '250 x\r\n'], { reason: 'smtp-malformed-reply', detail: 'unasked-for octets behind the greeting' }],
    ['a reply before it was asked for', [GREETING, OFFER], { reason: 'smtp-malformed-reply', detail: 'unasked-for octets behind the greeting' }],
    ['octets behind the offer', [GREETING, EHLO, OFFER, '220 go\r\n'], { reason: 'smtp-malformed-reply', detail: 'unasked-for octets behind the EHLO reply' }],
    ['no SMTP', ['SSH-2.0-x\r\n'], { reason: 'smtp-malformed-reply', detail: 'not an SMTP reply: SSH-2.0-x?' }],
    ['anything after its end', ['554 no\r\n', OFFER], undefined],
  ] // prettier-ignore
  for (const [title, steps, expected] of cases) {
    it(title, () => {
      assert.deepEqual(after(...steps).due, expected)
    })
  }

  it('TJ-17 the name is that of the EHLO reply, else of the greeting, and one word', () => {
    assert.equal(after(GREETING).dialogue.name, 'mx.rcpt.test')
    assert.equal(after(GREETING, EHLO, OFFER).dialogue.name, 'mx1.rcpt.test')
    assert.equal(after(GREETING, EHLO, '250 \r\n').dialogue.name, 'mx.rcpt.test')
    assert.equal(after('220 \r\n').dialogue.name, undefined)
    assert.equal(after(`220 ${'x'.repeat(900)}\r\n`).dialogue.name?.length, 200)
  })

  it('a session that ends by other means names its stage, and the first reason stands', () => {
    const { dialogue } = after(GREETING, EHLO)
    assert.equal(dialogue.stage, 'ehlo')
    const closed = { reason: 'smtp-closed', detail: 'it closed during the EHLO reply' }
    assert.deepEqual(dialogue.failed('closed', 'it closed'), closed)
    assert.deepEqual(dialogue.failed('timeout', ''), closed)
    const silent = after(GREETING, EHLO, OFFER, STARTTLS).dialogue
    assert.deepEqual(silent.failed('timeout', ''), {
      reason: 'smtp-timeout',
      detail: 'no answer during the STARTTLS reply',
    })
    const shaking = after(GREETING, EHLO, OFFER, STARTTLS, '220 go\r\n').dialogue
    assert.equal(shaking.stage, 'handshake')
    assert.deepEqual(shaking.failed('closed', 'ECONNRESET'), {
      reason: 'tls-handshake-failed',
      detail: 'ECONNRESET during the TLS handshake',
    })
  })
})
