/** Haraka that is started as root and becomes another user (smtp.ini user and group), with its queue elsewhere: the store works. */
import assert from 'node:assert/strict'
import { chmod, chown, mkdir, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Haraka, Lab } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { run } from '../support/lab/daemon'
import { runCommand } from '../support/cli'
import { FaultsWorld } from '../support/lab/faults-world'
import { openRepository } from '../support/lab/open-repository'

describe('end to end: Haraka drops its privileges', function () {
  this.timeout(240_000)
  let lab: Lab
  let world: FaultsWorld
  let mail: { readonly uid: number; readonly gid: number }
  let count = 0

  before(async () => {
    await openRepository()
    lab = await Lab.start()
    await chmod(lab.folder, 0o755)
    world = await FaultsWorld.start(lab)
    await world.domains([
      'known.test',
      ...Array.from({ length: 20 }, (_, n) => `cold${n + 1}.test`),
    ])
    mail = {
      uid: Number(await run('id', ['-u', 'mail'])),
      gid: Number(await run('id', ['-g', 'mail'])),
    }
  })
  after(() => lab.stop())

  interface Spool {
    /** Where the store belongs. */
    readonly folder: string
    readonly haraka: (settings?: { nodes?: number; main?: string }) => Promise<Haraka>
  }
  async function makeSpool(): Promise<Spool> {
    const spool = join(lab.folder, `spool${++count}`)
    const queue = join(spool, 'queue')
    await mkdir(queue, { recursive: true })
    await chown(queue, mail.uid, mail.gid)
    return {
      folder: join(spool, 'tls-policy'),
      haraka: ({ nodes = 0, main = 'user=mail\ngroup=mail\n' } = {}) =>
        lab.haraka({
          plugins: ['tls-policy'],
          nodes,
          config: {
            'tls-policy.ini': `[mta_sts]\nca_file=${lab.caFile}\nfetch_private=true\n`,
            'smtp.ini': main,
            queue_dir: queue,
          },
        }),
    }
  }
  async function look(path: string): Promise<string> {
    const { uid, gid, mode } = await stat(path)
    return `${uid}:${gid} ${(mode & 0o777).toString(8)}`
  }
  async function assertOwn(folder: string): Promise<void> {
    assert.equal(await look(folder), `${mail.uid}:${mail.gid} 750`)
    const names = (await readdir(folder)).sort()
    assert.deepEqual(names, ['policies.mdb', 'policies.mdb-lock'])
    for (const name of names) {
      assert.equal(await look(join(folder, name)), `${mail.uid}:${mail.gid} 640`, name)
    }
  }
  const said = (haraka: Haraka, words: string) =>
    haraka.log().filter((line) => line.includes(words))

  for (const nodes of [0, 2]) {
    it(`nodes=${nodes}: the folder is made and given away, workers and command share it, and it outlives a restart`, async () => {
      const { folder, haraka: start } = await makeSpool()
      const haraka = await start({ nodes })
      await assertOwn(folder)
      const line = await haraka.waitForLine('where policies are', /policies are kept in a file/)
      assert.ok(line.includes(folder))
      assert.deepEqual(said(haraka, 'in memory'), [])
      await world.delivers(haraka, 'cold1.test')
      const list = await runCommand(haraka.folder, 'policies', 'list')
      assert.match(list.stdout, /cold1\.test/)
      const doctor = await runCommand(haraka.folder, 'doctor')
      assert.match(doctor.stdout, /ok +store +policies are kept in/)
      await assertOwn(folder)
      await haraka.restart()
      assert.match((await runCommand(haraka.folder, 'policies', 'list')).stdout, /cold1\.test/)
      await haraka.stop()
    })
  }

  it('a folder and files that an earlier doctor made as root are mended, and that is said', async () => {
    const { folder, haraka: start } = await makeSpool()
    const first = await start({ main: '' })
    await first.stop()
    assert.equal(await look(folder), '0:0 750')
    await chmod(join(folder, 'policies.mdb'), 0o644)
    const haraka = await start()
    await assertOwn(folder)
    assert.equal(said(haraka, `the folder ${folder} was root's and is now Haraka's`).length, 1)
    await haraka.stop()
  })

  it('a link in its place, or a folder that holds more than ours, is left alone, told, and not called a file shared by workers', async () => {
    const elsewhere = join(lab.folder, 'elsewhere')
    await mkdir(elsewhere, { mode: 0o755 })
    await writeFile(join(elsewhere, 'theirs'), '')
    for (const link of [true, false]) {
      const { folder, haraka: start } = await makeSpool()
      if (link) await symlink(elsewhere, folder)
      else {
        await mkdir(folder)
        await writeFile(join(folder, 'theirs'), '')
      }
      const haraka = await start()
      assert.equal(await look(link ? elsewhere : folder), '0:0 755')
      assert.equal(await look(join(folder, 'theirs')), '0:0 644')
      const [warning = ''] = said(haraka, 'cannot be prepared')
      assert.ok(warning.includes(`Do: install -d -m 750 -o mail -g mail ${folder}`), warning)
      await haraka.waitForLine('the truth', /kept in the memory of each worker only/)
      assert.deepEqual(said(haraka, 'policies are kept in a file'), [])
      const doctor = await runCommand(haraka.folder, 'doctor')
      assert.equal(doctor.code, 1)
      assert.ok(
        doctor.stdout
          .replaceAll(/\s+/g, ' ')
          .includes(`install -d -m 750 -o mail -g mail ${folder}`),
      )
      await haraka.stop()
    }
    await rm(elsewhere, { recursive: true })
  })

  it('the command says what the deliveries did', async () => {
    const { haraka: start } = await makeSpool()
    const haraka = await start()
    await world.delivers(haraka, 'cold2.test')
    assert.equal(await assertCheckSaysTheSame(haraka, { only: ['cold2.test'] }), 1)
    await haraka.stop()
  })
})
