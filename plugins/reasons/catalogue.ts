/**
 * The one catalogue of reasons: every code that a log line, a deferral, a DSN, a metric or the command can show, with what it
 * means, where the rule comes from, and who can do what about it. docs/reasons.md is compared with it by a test.
 * Codes are stable: operators match on them. Pure.
 */
import type { ReasonCode } from '../reasons/codes'

export interface Reason {
  readonly meaning: string
  /** RFC and section. */
  readonly rfc: string
  /** Enhanced status code without its class (RFC 3463), where mail is held back for it. */
  readonly status?: string
  /** What the sender's operator can do. */
  readonly sender: string
  /** What the receiver must mend. */
  readonly receiver: string
}

const NOTHING = 'Nothing.'
const RETRY = 'Nothing; Haraka tries again. Look at your resolver if many domains show this.'
const RESEND =
  'Nothing; the message comes back, and its author may send it again without that demand.'
const EXCEPTION =
  'Tell the receiver. To deliver meanwhile, give the domain a rule with an end under [destinations].'

export const REASONS: Readonly<Record<ReasonCode, Reason>> = {
  'dane-ee-matched': {
    meaning: 'The server certificate matches a DANE-EE record.',
    rfc: 'RFC 7672 section 3.1.1',
    sender: NOTHING,
    receiver: NOTHING,
  },
  'dane-ta-matched': {
    meaning: 'The server certificate chains to a DANE-TA record and names the host.',
    rfc: 'RFC 7672 section 3.1.2',
    sender: NOTHING,
    receiver: NOTHING,
  },
  'sts-matched': {
    meaning: 'The MX host is listed in the MTA-STS policy and its certificate is valid for it.',
    rfc: 'RFC 8461 section 4',
    sender: NOTHING,
    receiver: NOTHING,
  },
  'dane-and-sts-matched': {
    meaning: 'Both DANE and MTA-STS were demanded, and both passed.',
    rfc: 'RFC 8461 section 2',
    sender: NOTHING,
    receiver: NOTHING,
  },
  'operator-matched': {
    meaning:
      'Your own settings demand authenticated TLS (the rule verify under [destinations], or force_tls_hosts in tls.ini), and the certificate is valid for the name that they ask for.',
    rfc: 'RFC 7672 section 2.2',
    sender: NOTHING,
    receiver: NOTHING,
  },
  'requiretls-matched': {
    meaning:
      'The message demands TLS on its whole way (REQUIRETLS); the receiver has no policy, and the certificate is valid for the host.',
    rfc: 'RFC 8689 section 4.2.1',
    sender: NOTHING,
    receiver: NOTHING,
  },
  'tls-required-no': {
    meaning:
      'The message says that it would rather go without TLS than not at all (TLS-Required: No); the detail says what was not insisted on.',
    rfc: 'RFC 8689 section 4.2.2',
    sender:
      'Nothing. Where mail programs say so unasked, tls_required.honour=no insists on the policies all the same.',
    receiver: NOTHING,
  },
  'tls-unauthenticated': {
    meaning:
      'TLS was mandatory because the host has TLSA records, but none that could authenticate it.',
    rfc: 'RFC 7672 section 2.2',
    sender: NOTHING,
    receiver: 'Publish TLSA records with usage 3 or 2 (3 1 1 is best).',
  },
  'operator-encrypt': {
    meaning: 'TLS was mandatory by a rule under [destinations] or [requiretls_hops].',
    rfc: 'RFC 7672 section 2.2',
    sender: NOTHING,
    receiver: NOTHING,
  },
  'no-policy': {
    meaning:
      'The receiver publishes no DANE and no MTA-STS that can be used; delivered as plain Haraka does.',
    rfc: 'RFC 7435 section 3',
    sender: NOTHING,
    receiver: 'Publish TLSA records or an MTA-STS policy.',
  },
  'sts-testing': {
    meaning: 'The MTA-STS policy is in mode testing; delivered as plain Haraka does.',
    rfc: 'RFC 8461 section 5',
    sender: NOTHING,
    receiver: 'Move the policy to mode enforce when the reports are clean.',
  },
  'sts-none': {
    meaning: 'The MTA-STS policy is in mode none; delivered as plain Haraka does.',
    rfc: 'RFC 8461 section 5',
    sender: NOTHING,
    receiver: NOTHING,
  },
  'not-covered': {
    meaning:
      'An IP address, socket or LMTP route, or a destination switched off: no policy can apply. In mode observe also a session that your own settings keep from TLS, of which nothing can be said.',
    rfc: 'RFC 8461 section 3.4',
    sender: NOTHING,
    receiver: NOTHING,
  },
  'resolver-blind': {
    meaning:
      'Your resolver does not validate DNSSEC, and the settings let mail wait for one that does.',
    rfc: 'RFC 7672 section 2.1.1',
    status: '4.3',
    sender:
      'Mend the resolver (docs/resolver.md). dane.blind_resolver=continue delivers without DANE instead.',
    receiver: NOTHING,
  },
  'mx-lookup-failed': {
    meaning: 'The MX lookup failed; what the domain wants cannot be known.',
    rfc: 'RFC 7672 section 2.1.2',
    status: '4.3',
    sender: RETRY,
    receiver: 'Mend the zone: servers that answer, and DNSSEC signatures that verify.',
  },
  'no-such-domain': {
    meaning: 'The recipient domain does not exist.',
    rfc: 'RFC 5321 section 5.1',
    status: '1.2',
    sender: 'Correct the address.',
    receiver: NOTHING,
  },
  'null-mx': {
    meaning: 'The domain says that it accepts no mail.',
    rfc: 'RFC 7505 section 3',
    status: '1.10',
    sender: 'Correct the address.',
    receiver: NOTHING,
  },
  'no-mail-host': {
    meaning: 'The recipient domain has neither MX records nor an address.',
    rfc: 'RFC 5321 section 5.1',
    status: '1.2',
    sender: 'Correct the address.',
    receiver: 'Publish MX records, if the domain is meant to receive mail.',
  },
  'bad-domain': {
    meaning:
      'The recipient domain, or the host that a plugin routes mail to, is no name that the DNS could hold.',
    rfc: 'RFC 5321 section 4.1.2',
    status: '1.2',
    sender: 'Correct the address, or the route.',
    receiver: NOTHING,
  },
  'bad-route': {
    meaning:
      'Another plugin routes the mail to what cannot be dialled; the detail says what it is.',
    rfc: 'RFC 7672 section 2.2.2',
    status: '3.5',
    sender: 'Correct the host, port or bind address in the settings of that plugin.',
    receiver: NOTHING,
  },
  'mx-loop': {
    meaning:
      'This server is itself the best MX host that is left: by its own name, or by an address of its own.',
    rfc: 'RFC 5321 section 5.1',
    status: '4.6',
    sender: 'Accept the domain as local, or route it elsewhere.',
    receiver: 'Remove the sender from the MX records if it should not be there.',
  },
  'no-address': {
    meaning: 'The MX host has no A or AAAA record.',
    rfc: 'RFC 7672 section 2.2.2',
    status: '4.4',
    sender: NOTHING,
    receiver: 'Give the MX host an address, or remove it.',
  },
  'no-remote-address': {
    meaning:
      "Every address of the MX host leads back to this machine or its own network: loopback, link-local, unique local, or the machine's own.",
    rfc: 'RFC 6890 section 2.2',
    status: '4.4',
    sender:
      'Nothing. Where mail to this very machine is meant, set local_mx_ok=true in outbound.ini.',
    receiver: 'Give the MX host an address that others can reach, or remove it.',
  },
  'address-lookup-failed': {
    meaning: 'The address lookup of the MX host failed.',
    rfc: 'RFC 7672 section 2.1.2',
    status: '4.3',
    sender: RETRY,
    receiver: 'Mend the zone of the MX host.',
  },
  'tlsa-lookup-failed': {
    meaning:
      'The TLSA lookup failed where it must not; the host may be under attack and is not contacted.',
    rfc: 'RFC 7672 section 2.1.2',
    status: '7.5',
    sender: RETRY,
    receiver:
      'Mend the zone of the MX host: TLSA queries must be answered or denied with valid signatures.',
  },
  'dane-required': {
    meaning: 'A rule demands DANE for this destination, and the host has none that is secure.',
    rfc: 'RFC 7672 section 6',
    status: '7.5',
    sender: 'Change the rule under [destinations] if DANE is no longer to be had.',
    receiver: 'Sign the zones of domain and MX host, and publish TLSA records.',
  },
  'verify-no-name': {
    meaning:
      'A rule demands a certificate with the name of the MX host, and its MX record has an address in the place of a name.',
    rfc: 'RFC 5321 section 5.1',
    status: '7.5',
    sender: EXCEPTION,
    receiver: 'Name the MX host by its name.',
  },
  'tlsa-unusable': {
    meaning:
      'No TLSA record of the host can be used: TLS is mandatory, and where a rule demands DANE the host is not contacted.',
    rfc: 'RFC 7672 section 2.2',
    status: '7.5',
    sender: 'Change the rule under [destinations] if DANE is no longer to be had.',
    receiver: 'Publish TLSA records with usage 3 or 2 (3 1 1 is best).',
  },
  'sts-domain-denied': {
    meaning:
      'The DNS says, without a signature, that the domain does not exist, takes no mail or has no address, and the MTA-STS policy in force names mail hosts: the answer may be forged, so the mail waits.',
    rfc: 'RFC 8461 section 10.3',
    status: '4.3',
    sender:
      'Look at the domain in another way: if it is really gone, run haraka-tls-policy policies purge for it, and its mail comes back; else suspect your path to the DNS.',
    receiver:
      'A domain that shall take mail no more: publish a policy of mode none first, and sign the zone.',
  },
  'sts-mx-not-listed': {
    meaning: 'The MTA-STS policy in force does not list this MX host.',
    rfc: 'RFC 8461 section 4.1',
    status: '7.5',
    sender: EXCEPTION,
    receiver: 'List the MX host in the policy, or remove it from the MX records.',
  },
  'sts-txt-lookup-failed': {
    meaning: 'The _mta-sts TXT lookup failed.',
    rfc: 'RFC 8461 section 3.1',
    status: '4.3',
    sender: 'Haraka tries again. mta_sts.txt_failure=continue delivers without a policy instead.',
    receiver: 'Mend the zone.',
  },
  'sts-store-unread': {
    meaning:
      'The store, in which this machine or another may have put a policy, could not be read, and the TXT lookup or the fetch failed as well.',
    rfc: 'RFC 8461 section 5.1',
    status: '3.0',
    sender: 'Mend the store: haraka-tls-policy doctor says what is wrong. Mail goes on by itself.',
    receiver: 'Mend the _mta-sts record or the policy host, which failed as well.',
  },
  'tls-switched-off': {
    meaning: 'The receiver demands TLS and outbound.ini says enable_tls=false.',
    rfc: 'RFC 7672 section 2.2',
    status: '3.5',
    sender: 'Set enable_tls=true in outbound.ini.',
    receiver: NOTHING,
  },
  'requiretls-mx-not-validated': {
    meaning:
      'The message demands TLS on its whole way (REQUIRETLS), and anybody may have forged the name of the host: its MX record is not signed, and no MTA-STS policy in force names it.',
    rfc: 'RFC 8689 section 4.2.1',
    status: '7.10',
    sender: RESEND,
    receiver: 'Sign the zone of the domain, or publish an MTA-STS policy in mode enforce.',
  },
  'requiretls-policy-unknown': {
    meaning:
      'The message demands TLS on its whole way (REQUIRETLS), the MX record is not signed, and the MTA-STS policy that may name the host could not be fetched.',
    rfc: 'RFC 8689 section 4.2.1',
    status: '4.3',
    sender: RETRY,
    receiver: 'Serve the policy, or sign the zone of the domain.',
  },
  'requiretls-no-name': {
    meaning:
      'The message demands TLS on its whole way (REQUIRETLS), and the next hop is an address, or spoken to in LMTP: there is no name that a certificate could prove.',
    rfc: 'RFC 8689 section 4.2.1',
    status: '7.10',
    sender:
      'Name the host by its name. Where the way to it is safe by itself, give it a line under [requiretls_hops].',
    receiver: NOTHING,
  },
  'decision-failed': {
    meaning:
      'The plugin could not come to a decision; the mail waits rather than going out unprotected.',
    rfc: 'RFC 7672 section 10',
    status: '3.5',
    sender: 'Look at the log for the cause and report it.',
    receiver: NOTHING,
  },
  'connect-failed': {
    meaning: 'No connection to the host.',
    rfc: 'RFC 5321 section 5.1',
    status: '4.1',
    sender: RETRY,
    receiver: 'Make the host reachable.',
  },
  'greeting-refused': {
    meaning: 'The host refused with its greeting, before TLS could start.',
    rfc: 'RFC 5321 section 4.3.2',
    status: '4.2',
    sender: 'Read the server’s words; an address may be on a block list.',
    receiver: 'Accept connections, or say after STARTTLS why not.',
  },
  'starttls-not-offered': {
    meaning: 'The host must be reached over TLS and does not offer STARTTLS.',
    rfc: 'RFC 7672 section 2.2; RFC 8461 section 5',
    status: '7.4',
    sender: EXCEPTION,
    receiver: 'Offer STARTTLS on every MX host, and see that no firewall strips it.',
  },
  'starttls-refused': {
    meaning: 'The host must be reached over TLS and refused the STARTTLS command.',
    rfc: 'RFC 7672 section 2.2; RFC 8461 section 5',
    status: '7.4',
    sender: EXCEPTION,
    receiver: 'Mend the TLS settings of the mail server.',
  },
  'starttls-injection': {
    meaning: 'Cleartext followed the reply to STARTTLS: somebody on the path, or a broken server.',
    rfc: 'RFC 3207 section 6',
    status: '7.5',
    sender: 'Suspect the path between you and the host.',
    receiver: 'Send nothing between the 220 and the handshake.',
  },
  'smtp-malformed-reply': {
    meaning: 'The host sent something that is no SMTP reply.',
    rfc: 'RFC 5321 section 4.2',
    status: '4.2',
    sender: RETRY,
    receiver: 'Look at what answers on the SMTP port.',
  },
  'smtp-timeout': {
    meaning: 'The host did not answer in time, before or in the handshake.',
    rfc: 'RFC 5321 section 4.5.3.2',
    status: '4.2',
    sender: RETRY,
    receiver: 'Look at the load of the mail server.',
  },
  'smtp-closed': {
    meaning: 'The host closed the connection before TLS was up.',
    rfc: 'RFC 7672 section 2.2; RFC 8461 section 5',
    status: '4.2',
    sender: RETRY,
    receiver: 'Look at why the server drops connections.',
  },
  'tls-handshake-failed': {
    meaning: 'The TLS handshake failed.',
    rfc: 'RFC 7672 section 2.2; RFC 8461 section 5',
    status: '7.5',
    sender: 'Read the error; tls.min_version may be too strict for the host.',
    receiver: 'Offer TLS 1.2 or later with a sound certificate.',
  },
  'dane-no-match': {
    meaning: 'The server certificate matches none of the host’s TLSA records.',
    rfc: 'RFC 7672 section 3.2',
    status: '7.5',
    sender: EXCEPTION,
    receiver:
      'Publish the TLSA record of the certificate in use; at a change, publish the new one first.',
  },
  'dane-ta-not-in-chain': {
    meaning: 'No certificate of the chain leads to a DANE-TA record.',
    rfc: 'RFC 7671 section 5.2',
    status: '7.5',
    sender: EXCEPTION,
    receiver: 'Send the whole chain, the trust anchor included, or publish 3 1 1 records.',
  },
  'dane-ta-name-mismatch': {
    meaning: 'The chain matches a DANE-TA record, but the certificate does not name the host.',
    rfc: 'RFC 7672 section 3.2.2',
    status: '7.5',
    sender: EXCEPTION,
    receiver: 'Use a certificate with the MX hostname, or publish 3 1 1 records.',
  },
  'dane-ta-expired': {
    meaning: 'A certificate of the chain under a DANE-TA record has expired.',
    rfc: 'RFC 7671 section 5.2',
    status: '7.5',
    sender: EXCEPTION,
    receiver: 'Renew the certificate.',
  },
  'dane-ta-not-yet-valid': {
    meaning: 'A certificate of the chain under a DANE-TA record is not valid yet.',
    rfc: 'RFC 7671 section 5.2',
    status: '7.5',
    sender: 'See that your clock is right.',
    receiver: 'Use a certificate that is valid now.',
  },
  'dane-ta-too-costly': {
    meaning:
      'The certificates and keys under a DANE-TA record are so many or so large that checking all of them would have held up other mail; no path was found in what was checked.',
    rfc: 'RFC 7671 section 5.2',
    status: '7.5',
    sender: EXCEPTION,
    receiver: 'Send the chain that leads to the anchor and nothing else, or publish 3 1 1 records.',
  },
  'dane-ta-chain-invalid': {
    meaning: 'The chain under a DANE-TA record breaks a rule for CA certificates.',
    rfc: 'RFC 7671 section 5.2; RFC 5280 section 6',
    status: '7.5',
    sender: EXCEPTION,
    receiver: 'Mend the chain, or publish 3 1 1 records.',
  },
  'dane-no-certificate': {
    meaning: 'The server presented no certificate.',
    rfc: 'RFC 7672 section 3.2',
    status: '7.5',
    sender: EXCEPTION,
    receiver: 'Mend the TLS settings of the mail server.',
  },
  'dane-key-too-weak': {
    meaning: 'The server certificate matches, but its key is so short that it proves nothing.',
    rfc: 'RFC 7672 section 3.1.1',
    status: '7.5',
    sender: EXCEPTION,
    receiver: 'Use an RSA key of 2048 bits or an EC key, and publish its TLSA record.',
  },
  'pkix-untrusted': {
    meaning: 'The certificate does not chain to a trusted root.',
    rfc: 'RFC 8461 section 4.2',
    status: '7.5',
    sender: EXCEPTION,
    receiver: 'Use a certificate of a public CA and send its intermediates.',
  },
  'pkix-expired': {
    meaning: 'The certificate, or one above it, has expired.',
    rfc: 'RFC 8461 section 4.2',
    status: '7.5',
    sender: EXCEPTION,
    receiver: 'Renew the certificate.',
  },
  'pkix-not-yet-valid': {
    meaning: 'The certificate, or one above it, is not valid yet.',
    rfc: 'RFC 8461 section 4.2',
    status: '7.5',
    sender: 'See that your clock is right.',
    receiver: 'Use a certificate that is valid now.',
  },
  'pkix-name-mismatch': {
    meaning:
      'The certificate does not name the MX host, or bears none of the names that your rule verify has under match=.',
    rfc: 'RFC 8461 section 4.2',
    status: '7.5',
    sender: EXCEPTION,
    receiver: 'Use a certificate with the MX hostname as a DNS name.',
  },
  'pkix-no-certificate': {
    meaning: 'The server presented no certificate.',
    rfc: 'RFC 8461 section 4.2',
    status: '7.5',
    sender: EXCEPTION,
    receiver: 'Mend the TLS settings of the mail server.',
  },
  'requiretls-not-offered': {
    meaning:
      'The message demands TLS on its whole way (REQUIRETLS), and the host does not promise inside TLS to keep that.',
    rfc: 'RFC 8689 section 4.2.1',
    status: '7.30',
    sender: RESEND,
    receiver: 'Offer REQUIRETLS inside TLS, if the server can keep the promise.',
  },
  'tls-lost': {
    meaning: 'TLS was up and verified, and then the connection was lost, or the host fell silent.',
    rfc: 'RFC 7672 section 2.2',
    status: '4.2',
    sender: RETRY,
    receiver: 'Look at why the server drops connections.',
  },
  'sts-txt-invalid': {
    meaning:
      'The _mta-sts TXT record is missing, malformed or not the only one, while a policy is cached; the policy stays.',
    rfc: 'RFC 8461 section 3.1',
    sender: NOTHING,
    receiver: 'Publish exactly one valid record; to end a policy, publish mode none first.',
  },
  'sts-policy-fetch-error': {
    meaning:
      'The MTA-STS policy could not be fetched; a cached one stays, without one there is no MTA-STS.',
    rfc: 'RFC 8461 section 3.3',
    sender: NOTHING,
    receiver: 'Serve the policy with status 200 and as text/plain.',
  },
  'sts-policy-invalid': {
    meaning:
      'The MTA-STS policy that was fetched is not valid; a cached one stays, without one there is no MTA-STS.',
    rfc: 'RFC 8461 section 3.2',
    sender: NOTHING,
    receiver: 'Mend the policy file.',
  },
  'sts-webpki-invalid': {
    meaning:
      'The certificate of the policy host is not valid for it; a cached policy stays, without one there is no MTA-STS.',
    rfc: 'RFC 8461 section 3.3',
    sender: NOTHING,
    receiver: 'Mend the certificate of the policy host.',
  },
}

/**
 * The enhanced status code that mail held back for this reason gets.
 * @param kind 4: it waits. 5: it came back.
 */
export function statusCode(code: ReasonCode, kind: 4 | 5): string {
  return `${kind}.${REASONS[code].status ?? '7.0'}`
}

export function isReason(text: string): text is ReasonCode {
  return Object.hasOwn(REASONS, text)
}

/** Is it a failure of security that will be the same in an hour? A TLSA lookup that failed may have been an attack, or a bad day. */
export function isForGood(code: ReasonCode): boolean {
  return code !== 'tlsa-lookup-failed' && REASONS[code].status?.startsWith('7.') === true
}

/** Is the domain one that takes no mail, whatever its policies? That is the address's fault, and no refusal of ours. */
export function isOfTheAddress(code: string): code is ReasonCode {
  return code === 'null-mx' || (ADDRESS_WRONG as ReadonlySet<string>).has(code)
}

/**
 * Where the rule comes from; of a rule that two policies have, the source of the one that was at work.
 * @param policy As in the log line.
 */
export function sourceOf(code: ReasonCode, policy?: string): string {
  const { rfc } = REASONS[code]
  const other = { dane: 'RFC 8461', sts: 'RFC 7672' }[policy ?? '']
  const sources = rfc.split('; ')
  const own = sources.filter((source) => other === undefined || !source.startsWith(other))
  return own.length === 0 ? rfc : own.join('; ')
}

const ELSEWHERE = 'Please reach the recipient in another way'
const ADDRESS_WRONG: ReadonlySet<ReasonCode> = new Set([
  'no-such-domain',
  'bad-domain',
  'no-mail-host',
])
const OWN_SIDE: ReadonlySet<ReasonCode> = new Set([
  'tls-switched-off',
  'decision-failed',
  'resolver-blind',
  'bad-route',
])

/**
 * For the author of a message that came back, who knows nothing of mail servers: what happened, and what to do.
 * @param asked whether the author himself asked for protection (REQUIRETLS)
 * @returns Sentences of no more than 400 characters for any domain name.
 */
export function plainWords(code: ReasonCode, domain: string, asked = false): string {
  const name = domain.length > 64 ? 'the recipient' : domain
  if (ADDRESS_WRONG.has(code)) {
    return `There is no mail server for ${name}, so the address cannot be right. Please check it for typing errors.`
  }
  if (code === 'null-mx') return `${name} accepts no mail at all. ${ELSEWHERE}.`
  if (OWN_SIDE.has(code)) {
    return (
      `Your own mail service could not send mail to ${name} safely, so your message was not sent. ` +
      'This is not your mistake. Please tell those who run your mail service, and show them this notice.'
    )
  }
  const isOfSecurity = REASONS[code].status?.startsWith('7.')
  if (code.startsWith('requiretls-') || (asked && isOfSecurity)) {
    return (
      `You asked that your message go over protected connections only, and the mail servers of ${name} do not promise ` +
      'that, so it was not sent to any of them. Please send it again without that request if you accept that, or reach ' +
      'the recipient in another way.'
    )
  }
  return isOfSecurity
    ? `Mail to ${name} must be protected on its way, and no mail server there could be reached safely, so your message was ` +
        `not sent to any of them. This is not your mistake. ${ELSEWHERE}, and pass this notice on: those who run the mail ` +
        `of ${name} can mend it.`
    : `The mail servers of ${name} could not be reached, however often it was tried. This is not your mistake. ` +
        `Please try again later, or reach the recipient in another way.`
}
