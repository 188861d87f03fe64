/**
 * The REQUIRETLS parameter of a MAIL command (RFC 8689 §2), and what is answered to it. Never a success that is forgotten: the
 * tag is taken, or the command refused. RFC 8689 names no codes for a server; these are SMTP's own (RFC 5321 §4.1.1.11, RFC
 * 3207 §4, RFC 3463). Pure.
 */
import type { Offer } from './offer'

export type MailAnswer =
  | { readonly kind: 'untagged' }
  | { readonly kind: 'take' }
  | { readonly kind: 'refuse'; readonly code: number; readonly text: string }

export const PARAMETER = 'REQUIRETLS'

/**
 * @param parameters of the command as Haraka has them: by keyword in upper case; null where a keyword has no value.
 * @param offer what holds for this client
 */
export function answerMail(parameters: unknown, offer: () => Offer): MailAnswer {
  if (!isRecord(parameters) || !Object.hasOwn(parameters, PARAMETER)) return { kind: 'untagged' }
  const value = parameters[PARAMETER]
  if (value !== null && value !== undefined) return refuse(501, '5.5.4 REQUIRETLS takes no value')
  const offered = offer()
  switch (offered.kind) {
    case 'offered':
      return { kind: 'take' }
    case 'needs-tls':
      return refuse(530, '5.7.10 REQUIRETLS needs TLS: say STARTTLS first')
    case 'not-offered':
      return refuse(555, '5.5.4 REQUIRETLS is not offered here')
  }
}

/** To a tagged message that came so far and would leave the only road on which its tag is kept. */
export const LOST_ROAD = '5.7.30 this server cannot keep REQUIRETLS for the message'

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function refuse(code: number, text: string): MailAnswer {
  return { kind: 'refuse', code, text }
}
