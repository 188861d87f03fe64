/**
 * The lab's own network. Importing the lab moves the whole test run into a fresh network, mount and pid namespace, by
 * running the same command once more inside it: any way of starting mocha works, a single file included.
 *
 * Promises: port 25, 53 and 443 are free, /etc/resolv.conf names 127.0.0.1, nothing leaves the machine, and whatever
 * was started inside ends with the run, also when the run is killed. Refuses to run without root or without the
 * programs that it needs: a skipped end-to-end test would look like a passed one.
 */
import { spawnSync } from 'node:child_process'
import { missingPackages, searchPath } from '../../run/debian-packages'

/** Set inside the namespace: a folder in memory, for everything that the lab writes. */
const marker = 'TLS_POLICY_LAB'

/**
 * Addresses inside. TEST-NET-1, TEST-NET-2, 198.18.0.0/15 (RFC 2544) and 2001:db8::/32 are all local: a server may listen
 * on any of them. The first of each network is the interface's own: of all of them, Haraka takes these alone for this
 * machine, so that receivers at the others need no `local_mx_ok`.
 * TEST-NET-3 swallows: packets to 203.0.113.53 and 203.0.113.25 go out and never come back.
 */
const addresses = {
  nameServer: '192.0.2.53',
  resolver: '127.0.0.1',
  silent: { nameServer: '203.0.113.53', mailServer: '203.0.113.25' },
  /** Answers every question with REFUSED. */
  refusing: { nameServer: '192.0.2.54' },
} as const

export { addresses }

const setUp = `
set -e
ip link set lo up
ip addr add 192.0.2.1/24 dev lo
ip addr add 198.51.100.1/24 dev lo
ip addr add 198.18.0.1/15 dev lo
if [ -e /proc/sys/net/ipv6/ip_nonlocal_bind ]; then
  ip addr add 2001:db8::1/64 dev lo nodad
  ip -6 route add local 2001:db8::/32 dev lo
  echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind
fi
ip link add lab0 type veth peer name lab1
ip link set lab0 up
ip link set lab1 up
ip addr add 203.0.113.1/24 dev lab0
ip neigh add ${addresses.silent.nameServer} lladdr 02:00:00:00:00:53 dev lab0 nud permanent
ip neigh add ${addresses.silent.mailServer} lladdr 02:00:00:00:00:25 dev lab0 nud permanent

folder=$(mktemp -d)
mount -t tmpfs -o mode=755 lab "$folder"
echo "nameserver ${addresses.resolver}" > "$folder/resolv.conf"
mount --bind "$folder/resolv.conf" /etc/resolv.conf
export ${marker}="$folder"
set +e
"$@"
status=$?
umount -l "$folder" && rmdir "$folder"
exit $status
`

/**
 * Returns at once inside the lab's namespace. Outside, runs this very command inside a new one and ends this process
 * with its exit code.
 *
 * @throws Error when not root, or when programs are missing; the message says what to do.
 */
export function enterNamespace(): void {
  if (process.env[marker] !== undefined) return
  if (process.getuid?.() !== 0)
    throw new Error('The end-to-end tests make network namespaces: run them as root')
  const missing = missingPackages()
  if (missing.length > 0) {
    throw new Error(
      `The end-to-end tests need: ${missing.join(' ')}. Run: npx tsx test/run/debian-packages.ts`,
    )
  }

  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  const namespaces = ['--net', '--mount', '--pid', '--mount-proc', '--fork', '--kill-child']
  const inside = spawnSync(
    'setpriv',
    ['--pdeathsig', 'KILL', 'unshare', ...namespaces, 'sh', '-c', setUp, 'lab', ...again],
    { stdio: 'inherit', env: { ...process.env, PATH: searchPath } },
  )
  if (inside.error) throw inside.error
  process.exit(inside.status ?? 1)
}

/** The folder in memory that ends with the run. @throws Error outside the namespace. */
export function labFolder(): string {
  const folder = process.env[marker]
  if (folder === undefined) throw new Error('Not inside the lab: call enterNamespace first')
  return folder
}
