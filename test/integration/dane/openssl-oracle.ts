/**
 * Judges one case twice over real handshakes with one server: by our client and verifyDane, and by OpenSSL's own DANE code in
 * `openssl s_client`. No name checks for DANE-EE, as SMTP has it (RFC 7672 §3.1.1); no local CAs.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { connect, createServer } from 'node:tls'
import type { X509Certificate } from 'node:crypto'
import { judgeRecords, presentRecord } from '../../../plugins/dane/tlsa'
import { verifyDane } from '../../../plugins/dane/verify'
import { presentedChain } from '../../../plugins/x509/presented'
import type { MatrixCase, Outcome, Scene } from './openssl-cases'

export interface Comparison {
  readonly id: string
  readonly ours: Outcome
  readonly openssl: Outcome
  /** True when both are as the case demands: alike, or the deliberate difference. */
  readonly asExpected: boolean
  /** What both said, for people. */
  readonly detail: string
}

/** Keys of all sizes may serve: whether they suffice is for the clients to judge. */
const CIPHERS = 'DEFAULT@SECLEVEL=0'
const PATIENCE = 20_000

export async function compare({ id, make, difference }: MatrixCase): Promise<Comparison> {
  const scene = make()
  const { key, served, close } = await serve(scene)
  try {
    const ours = await judgeHere(key, scene)
    const openssl = await askOpenssl(served, scene)
    return {
      id,
      ours: ours.outcome,
      openssl: openssl.outcome,
      asExpected:
        difference === undefined
          ? ours.outcome === openssl.outcome
          : ours.outcome === difference.ours && openssl.outcome === difference.openssl,
      detail: `ours: ${ours.detail}; openssl: ${openssl.detail}`,
    }
  } finally {
    await close()
  }
}

interface Service {
  /** The port, as our client wants it. */
  readonly key: number
  /** The same, as s_client wants it. */
  readonly served: string
  readonly close: () => Promise<void>
}

async function serve({ sent }: Scene): Promise<Service> {
  const server = createServer({
    key: sent[0]?.keyPem,
    cert: sent.map(({ pem }) => pem).join(''),
    ciphers: CIPHERS,
  })
  const sockets: Socket[] = []
  server.on('connection', (socket: Socket) => sockets.push(socket))
  server.on('secureConnection', (socket) => socket.on('error', () => socket.destroy()))
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    key: port,
    served: `127.0.0.1:${port}`,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

interface Said {
  readonly outcome: Outcome
  readonly detail: string
}

async function judgeHere(port: number, { records, name }: Scene): Promise<Said> {
  const { usable, unusable } = judgeRecords(records, { digests: ['sha512', 'sha256'] })
  if (usable.length === 0)
    return { outcome: 'unusable', detail: unusable.map(({ why }) => why).join(', ') }
  const chain = await presentedBy(port, name)
  const verdict = verifyDane({ chain, records: usable, references: [name], now: new Date() })
  return verdict.ok
    ? { outcome: 'verified', detail: `at depth ${verdict.depth}` }
    : { outcome: 'refused', detail: `${verdict.reason} ${verdict.detail}` }
}

async function presentedBy(port: number, servername: string): Promise<X509Certificate[]> {
  const socket = connect({
    host: '127.0.0.1',
    port,
    servername,
    ciphers: CIPHERS,
    rejectUnauthorized: false,
  })
  try {
    await once(socket, 'secureConnect')
    return presentedChain(socket)
  } finally {
    socket.destroy()
  }
}

async function askOpenssl(served: string, { records, name }: Scene): Promise<Said> {
  const client = spawn(
    'openssl',
    [
      's_client',
      ...['-connect', served, '-brief', '-verify_return_error', '-dane_ee_no_namechecks'],
      ...['-no-CAfile', '-no-CApath', '-no-CAstore', '-dane_tlsa_domain', name],
      ...records.flatMap((record) => ['-dane_tlsa_rrdata', presentRecord(record)]),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], timeout: PATIENCE },
  )
  let output = ''
  const collect = (chunk: Buffer): void => {
    output += chunk.toString('latin1')
  }
  client.stdout.on('data', collect)
  client.stderr.on('data', collect)
  const [status] = (await once(client, 'close')) as [number | null]
  return readOutput(output, status)
}

/** Only words that s_client itself says about the end of the verification count; anything else is an error of the test. */
function readOutput(output: string, status: number | null): Said {
  const lines = output.split('\n')
  const line = (start: string) => lines.find((one) => one.startsWith(start))
  if (line('s_client: Failed to import any TLSA records') !== undefined)
    return { outcome: 'unusable', detail: 'no usable records' }
  const error = line('verify error:') ?? line('Verification error:')
  if (error !== undefined) return { outcome: 'refused', detail: error }
  const tooWeak = lines.find((one) => /(ee key|ca key|ca md) too (small|weak)/.test(one))
  if (tooWeak !== undefined) return { outcome: 'refused', detail: tooWeak }
  const match = line('DANE TLSA ')
  if (status === 0 && line('Verification: OK') !== undefined && match !== undefined)
    return { outcome: 'verified', detail: match }
  throw new Error(
    `s_client ended with ${String(status)} and said what is not understood: ${output}`,
  )
}

/** Compares many, a few at a time, in order of completion. */
export async function compareAll(
  cases: readonly MatrixCase[],
  parallel: number,
  each: (comparison: Comparison) => void,
): Promise<void> {
  const waiting = cases[Symbol.iterator]()
  const work = async (): Promise<void> => {
    for (const next of waiting) each(await compare(next))
  }
  await Promise.all(Array.from({ length: parallel }, work))
}
