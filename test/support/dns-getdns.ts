/** Where tests find the optional getdns package; a suite that needs it must not pass without. */
import { findGetdns } from '../../plugins/dnssec-stub/getdns'

/**
 * The folder named by TLS_POLICY_GETDNS, or `getdns` where it is installed beside the project.
 * @throws Error with a sentence that says what to install
 */
export function getdnsModule(): string {
  const folder = process.env['TLS_POLICY_GETDNS'] ?? 'getdns'
  if (findGetdns(folder) !== undefined) return folder
  throw new Error(
    'These tests need the npm package getdns, built for this Node (it needs the Debian package libgetdns-dev): ' +
      'install it, or name its folder in TLS_POLICY_GETDNS',
  )
}
