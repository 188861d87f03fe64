/**
 * `burn`: how long a zone's owner can keep the worker from everything else with certificates and TLSA records: one attempt of 20 hosts with
 * 20 addresses each, every one with the worst there is of a kind. Beside each other: an honest DANE-TA chain, and the sets. A host's
 * records are judged in one turn of the event loop, each handshake in another, as in a delivery; what counts is the longest turn.
 */
import type * as tlsaModule from '../../plugins/dane/tlsa'
import type * as judgementsModule from '../../plugins/delivery/judgements'
import type { TlsaData } from '../../plugins/dnssec-stub/types'
import { makeCertificate, tlsaData, type TestCertificate } from '../support/certificates'
import {
  curveKeyInfo,
  fullSet,
  offCurve,
  rsaChain,
  rsaKeyInfo,
  wholeRecord,
} from '../support/costly-keys'
import { Rounds, type Row } from './report'
import { compiled } from './world'

const HOST = 'mx.evil.test'
const HOSTS = 20
const ADDRESSES = 20
const ROUNDS = 3

interface Evil {
  readonly name: string
  readonly set: readonly TlsaData[]
  readonly chain: readonly TestCertificate[]
}

export async function benchBurn(): Promise<readonly Row[]> {
  const rounds = new Rounds('burn')
  const kinds = makeKinds()
  for (let round = 0; round < ROUNDS; round++) {
    for (const evil of kinds) {
      const { longest, total } = await attempt(evil)
      rounds.add(evil.name, 'longest gap of the event loop', longest, 'ms')
      rounds.add(evil.name, 'a whole attempt', total, 'ms')
    }
  }
  return rounds.rows()
}

function makeKinds(): readonly Evil[] {
  const chain = rsaChain(HOST, 5, 3072)
  const [leaf, issuer] = chain
  if (leaf === undefined || issuer === undefined) throw new Error('no chain')
  const whole = (name: string, make: () => Buffer): Evil => ({
    name,
    set: fullSet(() => wholeRecord(2, make())),
    chain,
  })
  const names = Array.from({ length: 2400 }, (_, index) => `h${index}.t`)
  const excluded = Array.from({ length: 2400 }, (_, index) => `x${index}.t`)
  const authority = makeCertificate({ subject: 'CA', ca: true, nameConstraints: { excluded } })
  const crowded = makeCertificate({ subject: HOST, san: names, issuer: authority })
  return [
    { name: 'honest, DANE-TA', set: [tlsaData(issuer, 2, 1, 1)], chain },
    whole('RSA exponents of 3064 bits', () => rsaKeyInfo(3072, 3064)),
    whole('RSA of 16384 bits, exponents of 64', () => rsaKeyInfo(16_384, 64)),
    whole('brainpoolP512r1', () => curveKeyInfo('brainpoolP512r1', 'named')),
    whole('explicit curves', () => curveKeyInfo('P-256', 'explicit')),
    whole('points off P-521', () => offCurve(curveKeyInfo('P-521', 'named'))),
    {
      name: '2400 names, 2400 constraints',
      set: [tlsaData(authority, 2, 0, 1)],
      chain: [crowded, authority],
    },
  ]
}

async function attempt({ set, chain }: Evil): Promise<{ longest: number; total: number }> {
  const { judgeRecords } = compiled('dane/tlsa') as typeof tlsaModule
  const { createJudge } = compiled('delivery/judgements') as typeof judgementsModule
  const judge = createJudge()
  const certificates = chain.map(({ certificate }) => certificate)
  const evidence = { chain: certificates, pkix: { ok: false, code: 'none' } } as const
  let longest = 0
  let total = 0
  const turn = async <T>(work: () => T): Promise<T> => {
    await new Promise((resolve) => setImmediate(resolve))
    const began = performance.now()
    const result = work()
    const took = performance.now() - began
    longest = Math.max(longest, took)
    total += took
    return result
  }
  for (let host = 0; host < HOSTS; host++) {
    const { usable } = await turn(() => judgeRecords(set, { digests: ['sha512', 'sha256'] }))
    const dane = { base: HOST, records: usable, references: [HOST], presentation: [] }
    const requirement = { level: 'authenticate', sni: HOST, success: 'verified', dane } as const
    for (let address = 0; address < ADDRESSES; address++)
      await turn(() => judge(requirement, evidence, new Date()))
  }
  return { longest, total }
}
