/** `npm start`, as a newcomer meets it; and the package, as an operator installs it. */
import assert from 'node:assert/strict'
import { join, resolve } from 'node:path'
import { runCommand } from '../support/cli'
import { Lab, submit } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { Daemon } from '../support/lab/daemon'

describe('the relay of npm start', function () {
  this.timeout(240_000)
  let lab: Lab
  let relay: Daemon

  before(async () => {
    lab = await Lab.start()
    await lab.zone('good.test', { security: 'signed', records: ['@ MX 10 mx', 'mx A 192.0.2.10'] })
    relay = new Daemon({
      name: 'npm start',
      program: process.execPath,
      args: ['--import', 'tsx', resolve('test/run/start.ts'), join(lab.folder, 'relay')],
    })
    await relay.waitForLine('the relay to be ready', /Settings: /)
  })

  after(async () => {
    await relay.stop('SIGKILL')
    await lab.stop()
  })

  it('takes mail from this machine and sends it', async () => {
    const receiver = await lab.receiver({
      address: '192.0.2.10',
      certificate: lab.certificate('mx.good.test'),
    })
    const mail = { from: 'you@sender.test', to: ['someone@good.test'] }
    await submit(mail, { host: '127.0.0.1', port: 2525 })
    assert.equal((await receiver.nextMessage()).tls, true)
    const folder = join(lab.folder, 'relay')
    const checked = await runCommand(folder, 'check', 'someone@good.test', '--connect')
    assert.match(checked.stdout, /^Would be delivered, not verified$/m)
  })

  it('has no complaint', () => {
    assert.deepEqual(
      relay.log.entries.filter((line) => /\[(WARN|ERROR|CRIT|ALERT|EMERG)\]/.test(line)),
      [],
    )
  })

  it('ends with code 0 when asked to', async () => {
    assert.deepEqual(await relay.stop('SIGTERM'), { code: 0, signal: null })
  })
})

describe('the package', function () {
  this.timeout(240_000)

  it('works as npm would install it', async () => {
    const lab = await Lab.start()
    try {
      await lab.zone('good.test', {
        security: 'signed',
        records: ['@ MX 10 mx', 'mx A 192.0.2.10'],
      })
      await lab.receiver({ address: '192.0.2.10', certificate: lab.certificate('mx.good.test') })
      const haraka = await lab.haraka({ plugins: ['tls-policy'], installation: 'packed' })
      assert.equal((await haraka.deliver('u@good.test')).kind, 'delivered')
      await haraka.waitForLine(
        'the line of the decision',
        /tls-policy.*domain=good\.test.*verdict=/,
      )
      assert.equal(await assertCheckSaysTheSame(haraka), 1)
    } finally {
      await lab.stop()
    }
  })
})
