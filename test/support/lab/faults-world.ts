/**
 * What every fault is tried on: a domain whose policy is known and whose host has since lost its certificate, so that mail
 * to it must wait; and any number of domains that nobody has asked for yet, behind a host that is well.
 */
import assert from 'node:assert/strict'
import { makeCertificate } from '../certificates'
import {
  type Haraka,
  type Lab,
  type PolicyAnswer,
  type PolicyHost,
  policyText,
  type Receiver,
} from './index'
import type { Presented } from './receiver'
import { assertNothingLeaked, nextAddress } from './world'

const POLICY_HOST = '198.51.100.80'
/** Messages to each domain in one go. */
const BURST = 3

export class FaultsWorld {
  #cold = 0
  /** Messages that wait, by Haraka. */
  readonly #waiting = new Map<Haraka, number>()

  private constructor(
    readonly lab: Lab,
    readonly policies: PolicyHost,
    readonly good: Receiver,
    readonly bad: Receiver,
  ) {}

  static async start(lab: Lab): Promise<FaultsWorld> {
    const addresses = [nextAddress(), nextAddress()] as const
    const certificates = [lab.certificate('good.mx.test'), lab.certificate('bad.mx.test')] as const
    const good = await lab.receiver({ address: addresses[0], certificate: certificates[0] })
    const bad = await lab.receiver({ address: addresses[1], certificate: certificates[1] })
    const policies = await lab.policyHost({ address: POLICY_HOST, hosts: {} })
    const world = new FaultsWorld(lab, policies, good, bad)
    await lab.zone('mx.test', {
      security: 'unsigned',
      records: [`good A ${addresses[0]}`, `bad A ${addresses[1]}`],
    })
    return world
  }

  /** Domains with MTA-STS records of this id, all in one go; those named `known…` are at the host that loses its certificate. */
  async domains(names: readonly string[], id = '1'): Promise<void> {
    const zones = names.map((name) => {
      const records = [
        `@ MX 10 ${hostOf(name)}.`,
        `_mta-sts 0 TXT "v=STSv1; id=${id}"`,
        `mta-sts A ${POLICY_HOST}`,
      ]
      return [name, { security: 'unsigned', records }] as const
    })
    for (const name of names) this.serve(name, policyText('enforce', [hostOf(name)]))
    await this.lab.zones(Object.fromEntries(zones))
  }

  serve(name: string, answer: PolicyAnswer, certificate?: Presented): void {
    const host = `mta-sts.${name}`
    this.policies.set(host, { answer, certificate: certificate ?? this.lab.certificate(host) })
  }

  /**
   * Mail to each domain while all is well: Haraka knows their policies then. From now on their host has lost its
   * certificate, and their policy host answers nobody: what Haraka forgets, it cannot learn again.
   */
  async learn(haraka: Haraka, ...names: readonly string[]): Promise<void> {
    for (const name of names) this.serve(name, policyText('enforce', [hostOf(name)]))
    this.bad.certificate = this.lab.certificate('bad.mx.test')
    await Promise.all(names.map((name) => this.delivers(haraka, name)))
    this.bad.certificate = makeCertificate({ subject: 'x', san: ['bad.mx.test'] })
    for (const name of names) this.serve(name, { fault: 'drop' })
  }

  /** A few messages at once; all are delivered, and verified where nothing else is said. */
  async delivers(haraka: Haraka, name: string, verdict = 'verified'): Promise<void> {
    const from = haraka.log().length
    for (const outcome of await burst(haraka, name)) {
      assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
    }
    const lines = haraka
      .log()
      .slice(from)
      .filter((line) => line.includes(`domain=${name} `))
    const verdicts = lines.flatMap((line) => / verdict=(\S+)/.exec(line)?.[1] ?? [])
    assert.deepEqual(
      verdicts,
      Array.from({ length: BURST }, () => verdict),
    )
  }

  /** A few messages at once to a host without a good certificate; all wait, since the policy is known. */
  async holds(haraka: Haraka, name: string): Promise<void> {
    for (const outcome of await burst(haraka, name)) {
      assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
      assert.match(outcome.reason, /pkix-untrusted/)
    }
    this.#waiting.set(haraka, (this.#waiting.get(haraka) ?? 0) + BURST)
  }

  /** During a fault: the policy that is known holds, and one that nobody has seen yet is fetched and applied. */
  async goesOn(haraka: Haraka, known: string, cold: string): Promise<void> {
    await Promise.all([this.holds(haraka, known), this.delivers(haraka, cold)])
  }

  /** In the end: Haraka lives, and holds what it could not deliver, and nothing else. */
  async nothingLost(haraka: Haraka): Promise<void> {
    assert.ok(haraka.running)
    await haraka.queueHolds(this.#waiting.get(haraka) ?? 0)
    assertNothingLeaked(this.good, this.bad)
  }

  /** A name for the next domain that nobody has asked for. */
  nextCold(): string {
    return `cold${++this.#cold}.test`
  }
}

function hostOf(name: string): string {
  return name.startsWith('known') ? 'bad.mx.test' : 'good.mx.test'
}

async function burst(haraka: Haraka, name: string) {
  const all = Array.from({ length: BURST })
  await Promise.all(all.map(() => haraka.send({ from: 'a@sender.test', to: [`u@${name}`] })))
  return Promise.all(all.map(() => haraka.outcome(`u@${name}`, { timeout: 30_000 })))
}
