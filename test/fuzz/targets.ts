/** All targets, by the names that the command takes. */
import { certificateTarget } from './certificate'
import { dnsMessageTarget } from './dns-message'
import { requiretlsTarget } from './requiretls'
import { storeTarget } from './store'
import { smtpTarget } from './smtp'
import { stsTarget } from './sts'
import type { Target } from './target'
import { tlsaTarget } from './tlsa'
import { tlsrptTarget } from './tlsrpt'

export type TargetName =
  'dns-message' | 'tlsa' | 'certificate' | 'smtp' | 'sts' | 'store' | 'requiretls' | 'tlsrpt'

export const targets: Readonly<Record<TargetName, () => Promise<Target>>> = {
  'dns-message': dnsMessageTarget,
  tlsa: tlsaTarget,
  certificate: certificateTarget,
  smtp: smtpTarget,
  sts: stsTarget,
  store: storeTarget,
  requiretls: requiretlsTarget,
  tlsrpt: tlsrptTarget,
}

export function isTargetName(text: string): text is TargetName {
  return Object.hasOwn(targets, text)
}
