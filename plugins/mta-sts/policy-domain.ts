/** The domain by which policies are kept. Pure. */
import { own } from '../bounded/octets'
import { normalizeHostName } from '../x509/names'

/** `_mta-sts.` and the policy host must still be names. */
const MAX_DOMAIN = 253 - '_mta-sts.'.length

/** @returns undefined for a domain that can have no policy: an address, a name too long */
export function policyDomain(domain: string): string | undefined {
  const name = normalizeHostName(domain)
  return name === undefined || name.length > MAX_DOMAIN ? undefined : own(name)
}
