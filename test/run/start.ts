/**
 * `npm start`: a real Haraka with this plugin, as a relay for this machine, with the settings of test/relay/. It
 * listens on loopback only, and keeps its queue, its cached policies and its tls-policy.ini in .relay/ (or the folder that is its
 * argument), which may be deleted at any time when it is not running.
 */
import { spawn } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { createInterface } from 'node:readline'

const repository = resolve(__dirname, '../..')
const settings = join(repository, 'test/relay')
const relay = resolve(process.argv[2] ?? join(repository, '.relay'))

/** A Haraka folder (as `haraka --install` makes one) around what the repository already has. */
function furnish(): void {
  mkdirSync(join(relay, 'queue'), { recursive: true })
  mkdirSync(join(relay, 'node_modules'), { recursive: true })
  const config = join(relay, 'config')
  // An earlier version had a link here.
  if (lstatSync(config, { throwIfNoEntry: false })?.isSymbolicLink()) unlinkSync(config)
  mkdirSync(config, { recursive: true })
  for (const name of readdirSync(settings)) link(join(config, name), join(settings, name))
  // A copy: Haraka sees changes only of what lies in this folder.
  const own = join(config, 'tls-policy.ini')
  if (!existsSync(own)) copyFileSync(join(repository, 'config/tls-policy.ini'), own)
  link(join(relay, 'node_modules/haraka-plugin-tls-policy'), repository)
}

function link(from: string, to: string): void {
  if (lstatSync(from, { throwIfNoEntry: false }) === undefined) {
    symlinkSync(relative(dirname(from), to), from)
  }
}

/** Where smtp.ini tells Haraka to listen. */
function listenAddress(): string {
  const smtp = readFileSync(join(settings, 'smtp.ini'), 'utf8')
  return /^listen\s*=\s*(\S+)/m.exec(smtp)?.[1] ?? 'port 25'
}

function welcome(): void {
  const address = listenAddress()
  console.log(`
The relay takes mail from this machine on ${address}, and sends it by the policies of its receivers.
  Send a test mail:   swaks --server ${address} --from you@example.org --to someone@example.net
  Look before:        node dist/cli/main.js -c .relay check example.net
  Settings:           .relay/config/tls-policy.ini (taken while it runs)
  Stop:               Ctrl-C
`)
}

function start(): void {
  furnish()
  const program = join(repository, 'node_modules/Haraka/bin/haraka')
  const haraka = spawn(process.execPath, [program, '-c', relay], {
    cwd: repository,
    stdio: ['ignore', 'pipe', 'inherit'],
    // A process group of its own: Ctrl-C reaches it through us, once. Twice would make it quit in disorder.
    detached: true,
  })
  createInterface({ input: haraka.stdout }).on('line', (line) => {
    console.log(line)
    if (line.includes('Listening on ')) welcome()
  })

  let asked = false
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (!asked) haraka.kill('SIGINT')
      asked = true
    })
  }
  haraka.once('error', (error) => {
    console.error(`Haraka did not start: ${error.message}`)
    process.exitCode = 1
  })
  haraka.once('close', (code) => {
    process.exitCode = code ?? 1
  })
}

start()
