/**
 * The lab for end-to-end tests: real DNS with a chain of trust, real receivers, policy hosts, Redis and Haraka, in a
 * network namespace of its own. Importing this file moves the test run into that namespace.
 *
 *     const lab = await Lab.start()
 *     await lab.zones({ 'good.test': { security: 'signed', records: ['@ MX 10 mx', 'mx A 192.0.2.10'] } })
 *     const mx = await lab.receiver({ address: '192.0.2.10', certificate: lab.certificate('mx.good.test') })
 *     const haraka = await lab.haraka({ plugins: ['tls-policy'] })
 *     await haraka.deliver('u@good.test')   // { kind: 'delivered', tls: true, … }
 *     await lab.stop()
 *
 * One lab a test file (`before`, `after`): all labs of a run share one network, one after the other.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeCertificate, type TestCertificate, tlsaData } from '../certificates'
import {
  ask,
  NameServer,
  RefusingServer,
  type Reply,
  Validator,
  type ValidatorSettings,
} from './dns'
import { run } from './daemon'
import { Haraka, type HarakaSettings } from './haraka'
import { enterNamespace, labFolder } from './namespace'
import { PolicyHost, type PolicyHostSettings } from './policy-host'
import { Postfix, type PostfixSettings } from './postfix'
import { Receiver, type ReceiverSettings } from './receiver'
import { Redis, type RedisSettings } from './redis'
import type { ZoneSettings } from './zones'

export { addresses } from './namespace'
export type { Fault } from './faults'
export {
  type DeliveryStatus,
  Haraka,
  type HarakaSettings,
  type HarakaVersion,
  harakaVersions,
  type Outcome,
} from './haraka'
export { type PolicyAnswer, PolicyHost, policyText } from './policy-host'
export { Postfix } from './postfix'
export { type ReceivedMessage, Receiver, type Session } from './receiver'
export { Redis } from './redis'
export { type Mail, MailClient, submit } from './submission'
export type { ZoneSettings } from './zones'

enterNamespace()

export class Lab {
  /** Signs what `certificate` makes. */
  readonly ca: TestCertificate
  /** PEM file with the CA, for `ca_file`. */
  readonly caFile: string
  readonly #zones = new Map<string, ZoneSettings>()
  readonly #validators: Validator[] = []
  readonly #stops: (() => Promise<unknown>)[] = []
  #count = 0

  private constructor(
    readonly folder: string,
    private readonly nameServer: NameServer,
    /** The validating resolver at 127.0.0.1, where /etc/resolv.conf points. */
    readonly resolver: Validator,
    /** File with the key that signs the root, for validators. */
    readonly anchor: string,
  ) {
    this.ca = makeCertificate({ subject: 'Lab CA', ca: true })
    this.caFile = join(folder, 'ca.pem')
  }

  static async start(): Promise<Lab> {
    const folder = await mkdtemp(join(labFolder(), 'lab-'))
    const nameServer = new NameServer(join(folder, 'nsd'))
    const anchor = await nameServer.trustAnchor()
    const resolver = new Validator(join(folder, 'unbound'), anchor)
    const lab = new Lab(folder, nameServer, resolver, anchor)
    const refusing = new RefusingServer()
    lab.#stops.push(
      () => nameServer.stop(),
      () => resolver.stop(),
      () => refusing.stop(),
    )
    try {
      await refusing.start()
      await writeFile(lab.caFile, lab.ca.pem)
      await run('chmod', ['755', folder])
      await nameServer.serve(lab.#zones)
      await resolver.start()
      return lab
    } catch (error: unknown) {
      await lab.stop()
      throw error
    }
  }

  /** Adds zones or puts others in their place, by absolute name; caches forget. Parents other than `test` come along. */
  async zones(zones: Readonly<Record<string, ZoneSettings | undefined>>): Promise<void> {
    for (const [name, settings] of Object.entries(zones)) {
      if (settings === undefined) this.#zones.delete(name)
      else this.#zones.set(name, settings)
    }
    await this.nameServer.serve(this.#zones)
    const caches = [this.resolver, ...this.#validators].filter(({ running }) => running)
    await Promise.all(caches.map((validator) => validator.flush()))
  }

  /** As `zones`, for one. */
  zone(name: string, settings: ZoneSettings): Promise<void> {
    return this.zones({ [name]: settings })
  }

  /** Puts another line in the place of one, or removes it. */
  async changeRecord(zone: string, line: string, by: string | undefined): Promise<void> {
    const settings = this.#zones.get(zone)
    const records = settings?.records ?? []
    if (!settings || !records.includes(line)) throw new Error(`${zone} has no line ${line}`)
    const changed = records.flatMap((record) => (record !== line ? [record] : by ? [by] : []))
    await this.zone(zone, { ...settings, records: changed })
  }

  /** What a stub resolver hears; from the lab's validating resolver by default. */
  ask(
    name: string,
    type: Parameters<typeof ask>[1],
    server = this.resolver.address,
    patience?: number,
  ): Promise<Reply> {
    return ask(name, type, server, patience)
  }

  /** Puts other words into /etc/resolv.conf. */
  async resolvConf(text: string): Promise<void> {
    await writeFile(join(labFolder(), 'resolv.conf'), text)
  }

  /** One more recursive resolver, such as one that does not validate. */
  async validator(settings: ValidatorSettings & { readonly address: string }): Promise<Validator> {
    const validator = new Validator(this.#folder('unbound'), this.anchor, settings)
    this.#validators.push(validator)
    this.#stops.push(() => validator.stop())
    await validator.start()
    return validator
  }

  /** A chain of leaf and CA for these names. */
  certificate(...names: readonly string[]): readonly [TestCertificate, TestCertificate] {
    const subject = names[0] ?? 'nameless'
    return [makeCertificate({ subject, san: names, issuer: this.ca }), this.ca]
  }

  async receiver(settings: ReceiverSettings): Promise<Receiver> {
    const receiver = await Receiver.start(settings)
    this.#stops.push(() => receiver.stop())
    return receiver
  }

  async policyHost(settings: PolicyHostSettings): Promise<PolicyHost> {
    const host = await PolicyHost.start(settings)
    this.#stops.push(() => host.stop())
    return host
  }

  async postfix(settings: PostfixSettings): Promise<Postfix> {
    const postfix = await Postfix.start(this.#folder('postfix'), settings)
    this.#stops.push(() => postfix.stop())
    return postfix
  }

  async redis(settings: RedisSettings = {}): Promise<Redis> {
    const redis = new Redis(settings)
    this.#stops.push(() => redis.stop())
    await redis.start()
    return redis
  }

  async haraka(settings: HarakaSettings = {}): Promise<Haraka> {
    const haraka = await Haraka.start(this.#folder('haraka'), settings)
    this.#stops.push(() => haraka.stop())
    return haraka
  }

  #folder(kind: string): string {
    return join(this.folder, `${kind}-${++this.#count}`)
  }

  /** Ends everything, last started first, and leaves nothing behind. */
  async stop(): Promise<void> {
    const failures: unknown[] = []
    for (const stop of this.#stops.splice(0).reverse()) {
      await stop().catch((error: unknown) => failures.push(error))
    }
    await rm(this.folder, { recursive: true, force: true })
    if (failures.length > 0) throw new AggregateError(failures, 'The lab could not stop everything')
  }
}

/** A master-file line with the TLSA record that `certificate` satisfies (RFC 6698 §2.2): `_25._tcp.mx TLSA 3 1 1 …`. */
export function tlsaLine(
  host: string,
  certificate: TestCertificate,
  [usage, selector, matchingType]: readonly [number, number, number] = [3, 1, 1],
  port = 25,
): string {
  const { data } = tlsaData(certificate, usage, selector, matchingType)
  return `_${port}._tcp.${host} TLSA ${usage} ${selector} ${matchingType} ${data.toString('hex')}`
}
