/**
 * The programs that the end-to-end tests drive, and the Debian packages that bring them.
 *
 * Run by itself it installs what is missing when it may (root, apt-get), and otherwise says what to install and ends
 * with 1; with --bench, also what the benchmarks compare with. It never lets a freshly installed daemon start, and leaves the machine's own policy-rc.d as it found it.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'

interface Need {
  readonly debianPackage: string
  /** Programs looked up on PATH, or files by absolute path; all must be there. */
  readonly brings: readonly string[]
}

const needs: readonly Need[] = [
  { debianPackage: 'nsd', brings: ['nsd', 'nsd-control'] },
  { debianPackage: 'ldnsutils', brings: ['ldns-keygen', 'ldns-signzone', 'drill'] },
  { debianPackage: 'unbound', brings: ['unbound', 'unbound-control'] },
  { debianPackage: 'redis-server', brings: ['redis-server'] },
  { debianPackage: 'postfix', brings: ['postfix', 'postconf'] },
  { debianPackage: 'swaks', brings: ['swaks'] },
  { debianPackage: 'libgetdns-dev', brings: ['/usr/include/getdns/getdns.h'] },
  { debianPackage: 'iproute2', brings: ['ip'] },
  {
    debianPackage: 'python3-dkim',
    brings: ['/usr/lib/python3/dist-packages/dkim/__init__.py'],
  },
]

/** What the benchmarks compare with. */
const peers: readonly Need[] = [
  { debianPackage: 'postfix-mta-sts-resolver', brings: ['mta-sts-daemon'] },
  {
    debianPackage: 'python3-redis',
    brings: ['/usr/lib/python3/dist-packages/redis/asyncio/__init__.py'],
  },
]

/** Daemons live in sbin, which is not on every user's PATH. */
export const searchPath = [
  ...new Set([...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']),
].join(delimiter)

/** The Debian packages whose programs are not on this machine; empty when the end-to-end tests can run. */
export function missingPackages(wanted = needs): readonly string[] {
  return wanted.filter((need) => !need.brings.every(isPresent)).map((need) => need.debianPackage)
}

function isPresent(program: string): boolean {
  if (program.startsWith('/')) return existsSync(program)
  return searchPath.split(delimiter).some((folder) => isExecutable(join(folder, program)))
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** @throws Error when a package is still missing afterwards; its message says which. */
export function installMissingPackages(wanted = needs): void {
  const missing = missingPackages(wanted)
  if (missing.length === 0) return
  const advice = `apt-get install --no-install-recommends ${missing.join(' ')}`
  if (process.getuid?.() !== 0) throw new Error(`Debian packages are missing. As root: ${advice}`)
  if (!isPresent('apt-get'))
    throw new Error(`Programs of these Debian packages are missing: ${missing.join(' ')}`)

  withoutStartingDaemons(() => {
    if (!install(missing)) {
      run('apt-get', ['update'])
      install(missing)
    }
  })
  const left = missingPackages(wanted)
  if (left.length > 0) throw new Error(`apt-get could not install: ${left.join(' ')}`)
}

function install(packages: readonly string[]): boolean {
  return run('apt-get', ['install', '--yes', '--no-install-recommends', ...packages])
}

function run(program: string, args: readonly string[]): boolean {
  const env = { ...process.env, PATH: searchPath, DEBIAN_FRONTEND: 'noninteractive' }
  return spawnSync(program, args, { stdio: 'inherit', env }).status === 0
}

/** invoke-rc.d asks this file before it starts a service; 101 means "not allowed" (Debian Policy §9.3.3). */
const policyFile = '/usr/sbin/policy-rc.d'

function withoutStartingDaemons(work: () => void): void {
  if (existsSync(policyFile)) {
    work()
    return
  }
  writeFileSync(policyFile, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    work()
  } finally {
    rmSync(policyFile, { force: true })
  }
}

if (require.main === module) {
  try {
    installMissingPackages(process.argv.includes('--bench') ? [...needs, ...peers] : needs)
  } catch (error: unknown) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  }
}
