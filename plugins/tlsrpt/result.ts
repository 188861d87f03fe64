/**
 * Our reasons as the result types of RFC 8460 §4.3, in one table; a new reason does not compile until it stands here. Pure.
 *
 * What is ours, or no matter of TLS, is nothing that a receiver could mend: it is not reported. A report goes to strangers: its
 * failure-reason-code is one of our words, of OpenSSL's or of Node's, or the number of a reply, and never a text with a name in it.
 */
import type { Failure } from '../dnssec-stub/types'
import type { SessionStage } from '../delivery/host-end'
import type { StsProblem } from '../mta-sts/types'
import type { ReasonCode } from '../reasons/codes'
import type { ResultType } from './types'

export interface Result {
  readonly type: ResultType
  /** `[A-Za-z0-9_.-]{1,60}` */
  readonly code?: string
}

/** Which code a failure is given: none, our reason, or what OpenSSL, Node or the server call it, and our reason where they do not. */
type Code = 'none' | 'ours' | 'theirs'

type Told = 'nothing' | readonly [type: ResultType, code: Code, when?: 'starttls-asked']

const TABLE: Readonly<Record<ReasonCode, Told>> = {
  'resolver-blind': 'nothing',
  'mx-lookup-failed': 'nothing',
  'no-such-domain': 'nothing',
  'null-mx': 'nothing',
  'no-mail-host': 'nothing',
  'bad-domain': 'nothing',
  'mx-loop': 'nothing',
  'no-address': 'nothing',
  'no-remote-address': 'nothing',
  'address-lookup-failed': 'nothing',
  'sts-domain-denied': 'nothing',
  'sts-store-unread': 'nothing',
  'tls-switched-off': 'nothing',
  'bad-route': 'nothing',
  'decision-failed': 'nothing',
  // The message demands it (RFC 8689), and no policy of the receiver's.
  'requiretls-mx-not-validated': 'nothing',
  'requiretls-policy-unknown': 'nothing',
  'requiretls-no-name': 'nothing',
  'requiretls-not-offered': 'nothing',
  // RFC 8460 §4.3.2.1.
  'tlsa-lookup-failed': ['dnssec-invalid', 'theirs'],
  'dane-required': ['dane-required', 'none'],
  'tlsa-unusable': ['tlsa-invalid', 'none'],
  // No type of its own; said as a failure of another kind (TT-20).
  'sts-mx-not-listed': ['validation-failure', 'ours'],

  // A host that cannot be reached, or that says no before TLS is asked for, is no matter of TLS (RFC 8460 §4.3.4).
  'connect-failed': 'nothing',
  'greeting-refused': 'nothing',
  'smtp-malformed-reply': ['validation-failure', 'ours', 'starttls-asked'],
  'smtp-timeout': ['validation-failure', 'ours', 'starttls-asked'],
  'smtp-closed': ['validation-failure', 'theirs', 'starttls-asked'],
  'starttls-not-offered': ['starttls-not-supported', 'none'],
  'starttls-refused': ['starttls-not-supported', 'theirs'],
  'starttls-injection': ['validation-failure', 'ours'],
  'tls-handshake-failed': ['validation-failure', 'theirs'],
  // The session was negotiated; its loss afterwards changes nothing (RFC 8460 §4.2.1).
  'tls-lost': 'nothing',

  'pkix-untrusted': ['certificate-not-trusted', 'theirs'],
  'pkix-no-certificate': ['certificate-not-trusted', 'ours'],
  'pkix-expired': ['certificate-expired', 'theirs'],
  // No type of its own (TT-30).
  'pkix-not-yet-valid': ['certificate-not-trusted', 'theirs'],
  'pkix-name-mismatch': ['certificate-host-mismatch', 'ours'],
  'dane-no-match': ['certificate-not-trusted', 'ours'],
  'dane-ta-not-in-chain': ['certificate-not-trusted', 'ours'],
  'dane-ta-name-mismatch': ['certificate-host-mismatch', 'ours'],
  'dane-ta-expired': ['certificate-expired', 'ours'],
  'dane-ta-not-yet-valid': ['certificate-not-trusted', 'ours'],
  'dane-ta-chain-invalid': ['certificate-not-trusted', 'ours'],
  'dane-ta-too-costly': ['certificate-not-trusted', 'ours'],
  'dane-no-certificate': ['certificate-not-trusted', 'ours'],
  'dane-key-too-weak': ['certificate-not-trusted', 'ours'],

  'sts-policy-fetch-error': ['sts-policy-fetch-error', 'theirs'],
  'sts-policy-invalid': ['sts-policy-invalid', 'none'],
  'sts-webpki-invalid': ['sts-webpki-invalid', 'theirs'],
  'sts-txt-invalid': ['sts-policy-invalid', 'ours'],
  'sts-txt-lookup-failed': ['sts-policy-fetch-error', 'ours'],

  'dane-ee-matched': 'nothing',
  'dane-ta-matched': 'nothing',
  'sts-matched': 'nothing',
  'dane-and-sts-matched': 'nothing',
  'operator-matched': 'nothing',
  'requiretls-matched': 'nothing',
  'tls-required-no': 'nothing',
  'tls-unauthenticated': 'nothing',
  'operator-encrypt': 'nothing',
  'verify-no-name': 'nothing',
  'no-policy': 'nothing',
  'sts-testing': 'nothing',
  'sts-none': 'nothing',
  'not-covered': 'nothing',
}

export interface Circumstances {
  /** Left out where the host was never contacted. */
  readonly stage?: SessionStage | undefined
  /** What others call the failure. */
  readonly code?: string | undefined
}

/** @returns undefined where it is nothing to report */
export function resultOf(
  reason: ReasonCode,
  { stage, code }: Circumstances = {},
): Result | undefined {
  const told = TABLE[reason]
  if (told === 'nothing') return undefined
  const [type, whose, when] = told
  if (when === 'starttls-asked' && stage !== 'starttls' && stage !== 'handshake') return undefined
  if (whose === 'none') return { type }
  return { type, code: shortCode(whose === 'theirs' ? (code ?? reason) : reason) }
}

function shortCode(text: string): string {
  return text.replace(/[^A-Za-z0-9_.-]/g, '-').slice(0, 60)
}

/** Why a lookup failed, in a few fixed words; undefined where the fault is ours: no resolver could be asked. */
export function dnsCode({ cause, extendedError }: Failure): string | undefined {
  switch (cause) {
    case 'network':
      return undefined
    case 'aborted':
      return 'dns-timeout'
    case 'bogus':
    case 'servfail':
    case 'refused':
    case 'rcode':
    case 'timeout':
    case 'malformed':
    case 'too-large':
    case 'alias-chain':
    case 'bad-name':
      return extendedError === undefined
        ? `dns-${cause}`
        : `dns-extended-error-${extendedError.code}`
  }
}

/** Out of the words in which a policy's trouble is told, which may hold addresses: only what is known to be harmless. */
export function problemCode({ detail }: StsProblem): string | undefined {
  const status = /\bHTTP status (\d{3})\b/.exec(detail)?.[1]
  if (status !== undefined) return `http-${status}`
  const openssl = CERTIFICATE_CODES.exec(detail)?.[0]
  if (openssl !== undefined) return `tls-${openssl}`
  const node = /\bE(?:CONN(?:REFUSED|RESET|ABORTED)|HOSTUNREACH|NETUNREACH|TIMEDOUT|PIPE)\b/.exec(
    detail,
  )?.[0]
  if (node !== undefined) return node
  if (/\bcertificate does not name\b/.test(detail)) return 'tls-name-mismatch'
  if (/\b(?:in time|no time left|aborted)\b/.test(detail)) return 'timeout'
  return undefined
}

/** OpenSSL's names for what is wrong with a certificate, as Node has them. */
const CERTIFICATE_CODES =
  /\b(?:UNABLE_TO_[A-Z_]{3,50}|CERT_[A-Z_]{3,50}|CRL_[A-Z_]{3,50}|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|ERROR_IN_CERT_[A-Z_]{3,50}|INVALID_(?:CA|PURPOSE)|PATH_LENGTH_EXCEEDED|HOSTNAME_MISMATCH|OUT_OF_MEM)\b/
