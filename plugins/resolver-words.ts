/**
 * What the self-test of the resolver found, in the operator's words: one sentence that says what holds for his mail, and one that
 * says what to do. Pure. Plugin and doctor say the same.
 */
import type { Health } from './dnssec-stub'

export interface ResolverWords {
  /** What holds for mail, and in brackets what was seen. */
  readonly says: string
  /** One sentence; undefined where nothing is to be done. */
  readonly cure: string | undefined
}

const OWN_RESOLVER =
  'run a validating resolver on this machine (apt install unbound) and set servers=127.0.0.1 under [dns] in tls-policy.ini'

export function resolverWords(health: Health): ResolverWords {
  const seen = `(${health.detail})`
  switch (health.state) {
    case 'validating':
      return { says: `DNSSEC is validated, DANE is on ${seen}`, cure: undefined }
    case 'blind':
      return health.cause === 'untestable'
        ? {
            says: `whether DNSSEC is validated cannot be told, mail goes on ${seen}`,
            cure: 'name a signed domain that the resolver does look up as self_test under [dns] in tls-policy.ini',
          }
        : {
            says: `DNSSEC is NOT validated, so DANE is off; MTA-STS goes on ${seen}`,
            cure: OWN_RESOLVER,
          }
    case 'unreachable':
      return {
        says: `${isSilent(health) ? 'no DNS resolver answers' : 'DNS lookups fail'}, so mail waits ${seen}`,
        cure: 'start the resolver, or name another one in tls-policy.ini, such as servers=127.0.0.1 under [dns]',
      }
  }
}

/** Nothing came back, as against an answer that is of no use. */
export function isSilent({ cause }: Extract<Health, { state: 'unreachable' }>): boolean {
  return cause === undefined || cause === 'timeout' || cause === 'network' || cause === 'aborted'
}
