/**
 * The peer: postfix-mta-sts-resolver (Debian package), which answers Postfix over a socket (socketmap), with Redis behind it. It
 * wants aioredis 2, and Debian 12 has 1.3 of it: it gets redis.asyncio of python3-redis instead, which is the same by another name.
 */
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { Daemon } from '../support/lab/daemon'
import type { Lab } from '../support/lab'

const PORT = 8461
const AIOREDIS = 'from redis.asyncio import *\nfrom redis.asyncio import Redis, from_url\n'

export interface Peer {
  readonly pid: number
  stop(): Promise<unknown>
}

/** @param redis its URL. */
export async function startPeer(lab: Lab, redis: string): Promise<Peer> {
  const configuration = join(lab.folder, 'mta-sts-daemon.yml')
  // Within the grace it asks Redis alone, no DNS; its default is 60 seconds.
  const lines = [
    'host: 127.0.0.1',
    `port: ${PORT}`,
    'cache_grace: 3600',
    'cache:',
    '  type: redis',
    '  options:',
    `    url: "${redis}/0"`,
  ]
  await writeFile(configuration, lines.join('\n'))
  const modules = join(lab.folder, 'python')
  await mkdir(modules)
  await writeFile(join(modules, 'aioredis.py'), AIOREDIS)
  const daemon = new Daemon({
    name: 'mta-sts-daemon',
    program: 'mta-sts-daemon',
    args: ['-c', configuration],
    env: { SSL_CERT_FILE: lab.caFile, PYTHONPATH: modules },
  })
  await daemon.waitForLine('the peer to serve', /Server started/)
  return { pid: daemon.pid ?? NaN, stop: () => daemon.stop() }
}

export interface PeerClient {
  /** What it says of a domain: `OK secure match=…`, or `NOTFOUND`. */
  ask(domain: string): Promise<string>
  close(): void
}

/** One connection, one question at a time, as a Postfix process has it. */
export async function openPeerClient(): Promise<PeerClient> {
  const socket: Socket = connect(PORT, '127.0.0.1')
  socket.setNoDelay()
  await once(socket, 'connect')
  let input = ''
  let answered: ((answer: string) => void) | undefined
  socket.on('data', (bytes: Buffer) => {
    input += bytes.toString('latin1')
    const colon = input.indexOf(':')
    const end = colon + 1 + Number(input.slice(0, colon))
    if (colon < 0 || input.length <= end) return
    const answer = input.slice(colon + 1, end)
    input = input.slice(end + 1)
    answered?.(answer)
  })
  return {
    ask: (domain) =>
      new Promise((resolve) => {
        answered = resolve
        const question = `postfix ${domain}`
        socket.write(`${question.length}:${question},`)
      }),
    close: () => {
      socket.destroy()
    },
  }
}
