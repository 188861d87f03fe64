/** docs/resolver.md as somebody follows it, with the lab's root in place of the Internet's: Unbound as it stands there. */
import assert from 'node:assert/strict'
import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runCommand } from '../support/cli'
import { blocks } from '../support/docs-pages'
import { Lab, tlsaLine } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { Daemon } from '../support/lab/daemon'
import { addresses } from '../support/lab/namespace'
import { makeCertificate } from '../support/certificates'
import { makeDomain } from '../support/lab/world'

const KEY = '/var/lib/unbound/root.key'

describe('end to end: docs/resolver.md', function () {
  this.timeout(240_000)
  let lab: Lab
  let unbound: Daemon

  before(async () => {
    lab = await Lab.start()
    await lab.resolver.stop()
    const [text = ''] = blocks('resolver.md', 'conf unbound-checkconf')
    const folder = join(lab.folder, 'as-documented')
    await mkdir(folder)
    // Unbound keeps the key current, and writes it.
    await copyFile(lab.anchor, join(folder, 'root.key'))
    const hints = join(folder, 'root.hints')
    await writeFile(hints, `. 3600 NS ns.test.\nns.test. 3600 A ${addresses.nameServer}\n`)
    const file = join(folder, 'unbound.conf')
    const ofTheLab = `chroot: ""\nusername: ""\npidfile: ""\nuse-syslog: no\nroot-hints: ${hints}\nlocal-zone: "test." nodefault\n`
    await writeFile(file, `${text.replaceAll(KEY, join(folder, 'root.key'))}server:\n${ofTheLab}`)
    unbound = new Daemon({
      name: 'Unbound as documented',
      program: 'unbound',
      args: ['-d', '-p', '-c', file],
    })
    await unbound.waitForLine('Unbound to serve', /start of service/)
  })
  after(async () => {
    await unbound.stop()
    await lab.stop()
  })

  it('a signed name is authentic, a broken one an error', async () => {
    await lab.zone('broken.test', { security: 'bogus', records: ['@ A 192.0.2.9'] })
    assert.equal((await lab.ask('.', 'SOA')).authentic, true)
    assert.equal((await lab.ask('broken.test', 'A')).rcode, 'SERVFAIL')
  })

  it('DNS-01 with the settings there the log and doctor say that DANE is on, and it is', async () => {
    // Both before any question: the denial of one name (Haraka asks for its own) proves those beside it away.
    const good = await makeDomain(lab, 'good.test', { hosts: [{ tlsa: [[3, 1, 1]] }] })
    const bad = await makeDomain(lab, 'bad.test', {
      hosts: [{ tlsa: [tlsaLine('mx1', makeCertificate({ subject: 'x' }))] }],
    })
    const [settings = ''] = blocks('resolver.md', 'ini tls-policy.ini')
    const haraka = await lab.haraka({
      plugins: ['tls-policy'],
      config: { 'tls-policy.ini': settings },
    })
    await haraka.waitForLine('the choice', /DNSSEC is validated, DANE is on/)
    const { stdout } = await runCommand(haraka.folder, 'doctor')
    assert.match(stdout, /^ok +resolver /m)
    assert.equal((await haraka.deliver(good.recipient)).kind, 'delivered')
    assert.equal((await haraka.deliver(bad.recipient)).kind, 'deferred')
    assert.equal(await assertCheckSaysTheSame(haraka), 2)
  })
})
