/**
 * Runs in a process of its own, since Haraka's outbound code cannot be loaded without consequences: looks at one installed
 * Haraka, as it is and doctored, and prints what came of it as one line of JSON.
 *
 *     HARAKA=<empty folder> node seam-probe.js <folder of Haraka>
 */
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { guardLateErrors } from '../../plugins/haraka/facade'
import { findSeam } from '../../plugins/haraka/seam'
import type { QueueHandlers, SeamHandlers } from '../../plugins/haraka/seam'
import type { ClientPool, HarakaSocket } from '../../plugins/haraka/types'

type Require = (module: string) => unknown
type Prototype = Record<PropertyKey, unknown>
interface HMailClass {
  new (...args: never[]): unknown
  prototype: Prototype
}

export interface Findings {
  /** What findSeam said of each Haraka: a version, or its complaint. */
  readonly verdicts: Readonly<Record<string, string>>
  readonly installed: {
    /** Did each of Haraka's methods call its handler, and what did the handler's `original` return? */
    readonly calls: readonly string[]
    readonly secondTime: string
    /** Are the very same methods back in place? */
  }
  /** Of each message that was queued, in order: whose notification its own text says it is, and whose the seam says it is. */
  readonly notifications: readonly (readonly [string, string])[]
  readonly lateError: {
    readonly unguarded: string
    readonly guarded: readonly string[]
    readonly heard: string
  }
}

const folder = process.argv[2] ?? ''
const load: Require = (module) => createRequire(__filename)(join(folder, module)) as unknown

/** Haraka with another answer for one module. */
const having =
  (module: string, answer: unknown): Require =>
  (asked) =>
    asked === module ? answer : load(asked)

/** HMailItem with other methods, on a prototype of its own. */
function hmailWith(change: (prototype: Prototype) => void): Require {
  const real = load('outbound/hmail') as HMailClass
  const doctored = class {} as unknown as HMailClass
  Object.defineProperties(doctored.prototype, Object.getOwnPropertyDescriptors(real.prototype))
  change(doctored.prototype)
  return having('outbound/hmail', doctored)
}

const without = (method: string) =>
  hmailWith((prototype) => {
    Reflect.deleteProperty(prototype, method)
  })
const withMethod = (method: string, text: (...args: never[]) => unknown) =>
  hmailWith((prototype) => {
    Object.defineProperty(prototype, method, { value: text, configurable: true, writable: true })
  })

function verdict(harakaRequire: Require): string {
  try {
    return findSeam(harakaRequire).version
  } catch (err: unknown) {
    return err instanceof Error ? err.message : 'something that is no error was thrown'
  }
}

function verdicts(): Findings['verdicts'] {
  const version = (text: string) => having('package.json', { version: text })
  const pool = load('outbound/client_pool') as ClientPool
  const outbound = load('outbound') as { net_utils: object }
  const cases: Readonly<Record<string, Require>> = {
    real: load,
    '3.1.5': version('3.1.5'),
    '4.0.0': version('4.0.0'),
    '2.8.28': version('2.8.28'),
    '3.9.0': version('3.9.0'),
    'no version': having('package.json', {}),
    'no class': having('outbound/hmail', {}),
    'no get_force_tls': without('get_force_tls'),
    'no temp_fail': without('temp_fail'),
    'no found_mx': without('found_mx'),
    'get_force_tls of no argument': withMethod('get_force_tls', () => false),
    'get_mx_respond of three arguments': withMethod(
      'get_mx_respond',
      function (this: { found_mx(list: unknown): unknown }, _a: unknown, b: unknown, _c: unknown) {
        return this.found_mx(b)
      },
    ),
    'try_deliver that connects by itself': withMethod('try_deliver', () => 'net.connect'),
    'no get_client': having('outbound/client_pool', {}),
    'get_client of five arguments': having('outbound/client_pool', {
      get_client: (..._args: [1, 2, 3, 4, 5]) => pool,
    }),
    'no populate_bounce_message': without('populate_bounce_message'),
    'bounce_respond that queues by itself': withMethod('bounce_respond', () => 'queue'),
    'no send_trans_email': having('outbound', { net_utils: outbound.net_utils }),
    'no HarakaMx': having('outbound', {
      net_utils: { ...outbound.net_utils, HarakaMx: undefined },
    }),
  }
  return Object.fromEntries(
    Object.entries(cases).map(([name, harakaRequire]) => [name, verdict(harakaRequire)]),
  )
}

/** Told by the seam once it is installed. */
const notifications: [string, string][] = []
const NUMBER = 'X-Number'

interface Queued {
  readonly header: { get(name: string): string }
}
type Outbound = Record<'send_email', (from: string, to: string, text: string) => void> & {
  send_trans_email(transaction: Queued, next: unknown): void
}

/** Forty messages come back at once, and are read and written up in each other's midst; ordinary mail is queued between. */
async function notify(): Promise<void> {
  const { prototype } = load('outbound/hmail') as HMailClass
  const outbound = load('outbound') as Outbound
  const sender = { user: 'a', host: 'sender.test', address: () => 'a@sender.test' }
  const bounced = Array.from({ length: 40 }, (_none, number) => {
    const stream = new PassThrough()
    const hmail = Object.assign(Object.create(prototype) as Record<string, unknown>, {
      ...{ number, filename: 'x', todo: { mail_from: sender, rcpt_to: [] } },
      data_stream: () => stream,
      bounce_error: 'so',
    }) as unknown as { readonly number: number; bounce_respond(retval: number): void }
    return { hmail, stream }
  })
  const CONT = 900
  for (const { hmail } of bounced) hmail.bounce_respond(CONT)
  // Not in the order in which they came back; some in one breath.
  for (const [index, { stream }] of [...bounced].reverse().entries()) {
    stream.end('Subject: x\r\n\r\nx\r\n')
    if (index % 3 === 0) await new Promise(setImmediate)
    if (index % 4 === 0)
      outbound.send_email('<a@sender.test>', '<u@rcpt.test>', 'Subject: x\r\n\r\nx\r\n')
  }
  while (notifications.length < 50) await new Promise(setImmediate)
}

const numberOf = (value: object | undefined) =>
  value !== undefined && 'number' in value ? String(value.number) : ''

function installation(): Findings['installed'] {
  const { prototype } = load('outbound/hmail') as HMailClass
  const pool = load('outbound/client_pool') as ClientPool
  const calls: string[] = []
  const handlers: SeamHandlers & QueueHandlers = {
    getMxRespond: (_hmail, retval) => calls.push(`get_mx_respond ${retval}`),
    getForceTls: (_hmail, _mx, original) => {
      calls.push(`get_force_tls ${original()}`)
      return true
    },
    getClient: (mx) => {
      calls.push(`get_client ${mx.exchange ?? ''}`)
    },
    tempFail: (_hmail, err) => calls.push(`temp_fail ${String(err)}`),
    queued: (transaction, bounced) => {
      const { header } = transaction as unknown as Queued
      notifications.push([header.get(NUMBER).trim(), numberOf(bounced)])
    },
    bouncing: () => undefined,
    notified: (hmail, lines) => lines.unshift(`${NUMBER}: ${numberOf(hmail)}\r\n`),
  }
  // Nothing is put into a queue here.
  const outbound = load('outbound') as Outbound
  outbound.send_trans_email = (_transaction, _next) => undefined
  findSeam(load).install(handlers)
  const hmail = Object.create(prototype) as Record<string, (...args: unknown[]) => unknown>
  hmail['get_mx_respond']?.(1, [])
  // No exchange: Haraka's own answer is false.
  hmail['get_force_tls']?.({})
  hmail['temp_fail']?.('because')
  pool.get_client({ exchange: '192.0.2.1' }, () => undefined)
  return { calls, secondTime: verdict(load) }
}

/** Haraka lets go of a socket, and then the socket fails. */
async function lateError(): Promise<Findings['lateError']> {
  const pool = load('outbound/client_pool') as ClientPool & {
    release_client(socket: HarakaSocket, mx: object): void
  }
  const server = createServer((socket) => socket.on('error', () => undefined))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const mx = { exchange: '127.0.0.1', port }
  const connected = () =>
    new Promise<HarakaSocket>((resolve, reject) => {
      pool.get_client(mx, (err, socket) => {
        if (socket) resolve(socket)
        else reject(new Error(String(err)))
      })
    })
  const emitLate = (socket: HarakaSocket) => {
    pool.release_client(socket, mx)
    try {
      socket.emit('error', new Error('late'))
      return 'nothing'
    } catch (err: unknown) {
      return String(err)
    }
  }
  const unguarded = emitLate(await connected())
  const socket = await connected()
  guardLateErrors(socket, false)
  const guarded = [emitLate(socket), emitLate(socket)]
  socket.removeAllListeners('error')
  guarded.push(emitLate(socket))
  const other = await connected()
  guardLateErrors(other, false)
  const heard = await new Promise<string>((resolve) => {
    other.on('error', (err: Error) => {
      resolve(`${err.message} ${'source' in err ? 'marked' : 'unmarked'}`)
    })
    other.emit('error', Object.assign(new Error('in time'), { source: 'tls' }))
  })
  return { unguarded, guarded, heard }
}

async function main(): Promise<void> {
  const before = { verdicts: verdicts(), lateError: await lateError() }
  // Last, as it stays.
  const installed = installation()
  await notify()
  const findings: Findings = { ...before, installed, notifications }
  process.stdout.write(`FINDINGS ${JSON.stringify(findings)}\n`, () => process.exit(0))
}

void main()
