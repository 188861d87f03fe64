/** Mail that another plugin takes before Haraka's own delivery is mail on which no policy is enforced: that is told, and no more. */
import assert from 'node:assert/strict'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { DoctorReport, Finding } from '../../plugins/cli/doctor'
import { runCommand } from '../support/cli'
import { type Haraka, Lab, tlsaLine } from '../support/lab'
import { makeCertificate } from '../support/certificates'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { Daemon } from '../support/lab/daemon'
import { makeDomain, nextAddress } from '../support/lab/world'

const PROGRAM = resolve('node_modules/Haraka/bin/haraka')
/** What is said of roads, and nothing else that is. */
const ABOUT_ROADS =
  /\[tls-policy\] (.*(?:takes the outgoing mail away|queue_outbound|lets a client relay).*)$/

const saidOfRoads = (lines: readonly string[]) =>
  lines.flatMap((line) => ABOUT_ROADS.exec(line)?.[1] ?? [])

async function doctorOnRoads(folder: string): Promise<readonly Finding[]> {
  const { stdout } = await runCommand(folder, 'doctor', '--json')
  const { findings } = JSON.parse(stdout) as DoctorReport
  return findings.filter(({ check }) => check === 'road')
}

const sentences = (findings: readonly Finding[]) =>
  findings.map(({ text, cure }) => `${text}. ${cure ?? ''}`)

describe('end to end: other roads', function () {
  this.timeout(240_000)
  let lab: Lab

  before(async () => {
    lab = await Lab.start()
  })
  after(() => lab.stop())

  it('smtp_forward with enable_outbound: mail goes past the policy; start and doctor say which switch it is', async () => {
    const address = nextAddress()
    const smarthost = await lab.receiver({ address, certificate: lab.certificate('any.test') })
    const other = makeCertificate({ subject: 'another key' })
    const domain = await makeDomain(lab, 'guarded.test', {
      hosts: [{ tlsa: [tlsaLine('mx1', other, [3, 1, 1])] }],
    })
    const haraka = await lab.haraka({
      plugins: ['tls-policy', 'queue/smtp_forward'],
      config: { 'smtp_forward.ini': `host=${address}\nport=25\nenable_outbound=true\n` },
    })
    const [said, ...more] = saidOfRoads(haraka.log())
    assert.match(
      said ?? '',
      /^the plugin queue\/smtp_forward takes the outgoing mail away, .* enable_outbound=false under \[main\] in smtp_forward\.ini, and restart Haraka\.$/,
    )
    assert.deepEqual(more, [])
    assert.ok(haraka.log().some((line) => line.includes('[WARN]') && line.includes(said ?? '-')))

    await haraka.send({ from: 'sender@sender.test', to: [domain.recipient] })
    await smarthost.nextMessage()
    assert.deepEqual(
      haraka.log().filter((line) => line.includes('tls-policy: domain=')),
      [],
    )

    const findings = await doctorOnRoads(haraka.folder)
    assert.deepEqual(sentences(findings), [said])
    assert.equal(findings[0]?.level, 'problem')

    await haraka.configure('smtp_forward.ini', `host=${address}\nport=25\n`)
    await haraka.restart()
    assert.deepEqual(saidOfRoads(haraka.log()), [])
    assert.deepEqual(
      (await doctorOnRoads(haraka.folder)).map(({ level }) => level),
      ['ok'],
    )
    assert.equal((await haraka.deliver(domain.recipient)).kind, 'deferred')
    assert.equal(await assertCheckSaysTheSame(haraka), 1)
    await haraka.stop()
  })

  it('smtp_proxy and qmail-queue by their defaults, and a plugin of which nothing is known, two workers: told once', async () => {
    const haraka = await lab.haraka({ plugins: ['tls-policy'], nodes: 2 })
    await haraka.stop()
    const program = join(haraka.folder, 'qmail-queue')
    await writeFile(program, '#!/bin/sh\n')
    await chmod(program, 0o755)
    await mkdir(join(haraka.folder, 'plugins'))
    await writeFile(
      join(haraka.folder, 'plugins/archive.js'),
      "exports.register = function () { this.register_hook('queue_outbound', 'keep') }\n" +
        'exports.keep = (next) => next()\n',
    )
    await haraka.configure('qmail-queue.path', program)
    const takers = ['queue/smtp_proxy', 'queue/qmail-queue', 'archive']
    await haraka.configure('plugins', ['lab', ...takers, 'tls-policy'].join('\n'))
    await haraka.restart()
    const said = saidOfRoads(haraka.log())
    assert.equal(said.length, 3, said.join('\n'))
    assert.match(said.join('\n'), /queue\/smtp_proxy takes .* in smtp_proxy\.ini/)
    assert.match(said.join('\n'), /queue\/qmail-queue takes .* in qmail-queue\.ini/)
    assert.match(said.join('\n'), /the plugin archive has a hook on queue_outbound/)
    const findings = await doctorOnRoads(haraka.folder)
    assert.deepEqual(sentences(findings), said)
    assert.deepEqual(
      findings.map(({ level }) => level),
      ['problem', 'problem', 'note'],
    )
    await haraka.stop()
  })

  it('plugins that look at outgoing mail, sign it or put it aside are no reason for a word', async () => {
    const redis = await lab.redis()
    const harmless = ['karma', 'dkim', 'queue/discard', 'queue/quarantine', 'queue/deliver']
    const haraka: Haraka = await lab.haraka({
      plugins: ['redis', ...harmless, 'tls-policy'],
      config: { 'redis.ini': `[server]\nhost=${redis.address}\nport=${redis.port}\n` },
    })
    assert.deepEqual(saidOfRoads(haraka.log()), [])
    assert.deepEqual(sentences(await doctorOnRoads(haraka.folder)), [
      'no plugin takes outgoing mail away. ',
    ])
    await haraka.stop()
  })

  it('as `haraka -i` makes it, with the plugin added: nothing relays, which is said once', async () => {
    const haraka = await lab.haraka({ plugins: ['tls-policy'] })
    await haraka.stop()
    const fresh = ['mail_from.is_resolvable', 'rcpt_to.in_host_list', 'queue/smtp_forward']
    await haraka.configure('plugins', [...fresh, 'tls-policy'].join('\n'))
    // The lab's own plugin lets every client relay.
    const daemon = new Daemon({
      name: 'Haraka',
      program: process.execPath,
      args: [PROGRAM, '-c', haraka.folder],
      cwd: haraka.folder,
    })
    try {
      await daemon.waitForLine('the note', /lets a client relay/)
      await daemon.waitForLine('the start', /mode enforce/)
      const said = saidOfRoads(daemon.log.entries)
      assert.equal(said.length, 1)
      const [finding] = await doctorOnRoads(haraka.folder)
      assert.deepEqual(finding && sentences([finding]), said)
      assert.equal(finding?.level, 'note')
    } finally {
      await daemon.stop('SIGKILL')
    }
  })
})
