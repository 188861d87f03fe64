/** tls-policy.ini as it comes out of an editor, a full disk, or a habit from other mail servers: none of it is passed over in silence. */
import assert from 'node:assert/strict'
import { mkdir, rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DoctorReport } from '../../plugins/cli/doctor'
import { runCommand } from '../support/cli'
import { type Haraka, Lab } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { type Domain, makeDomain } from '../support/lab/world'

const LOADED = /the settings were loaded anew/
const KEPT = /the settings stay as they were/

/** Line by line: what stands there, and what is said of it. */
const MISTAKES: readonly (readonly [string, RegExp | undefined])[] = [
  ['[main]', undefined],
  ['mode: observe', /line 2: a setting is key=value: write mode=observe$/],
  ['[dane] ; off for now', /line 3: a section is one line, \[dane\], with nothing beside it/],
  ['enabled=false', /line 4: main\.enabled: no such setting/],
  ['[dns', /line 5: a section is one line, \[dns\]/],
  ['[destinations]', undefined],
  ['stripped.test = encrypt', undefined],
  ['STRIPPED.test. = encrypt', /line 8: .* the same as stripped\.test; only one of them/],
  ['*.partner.test = dane-only', undefined],
  ['.partner.test = dane-only', /line 10: .* the same as \*\.partner\.test/],
  ['lonely.test', /line 11: there is no "=" after lonely\.test/],
  ['other.test = off ; because', /line 12: .* a comment needs a line of its own$/],
  ['twice.test = off', undefined],
  ['twice.test = observe', /line 14: destinations\.twice\.test stands on line 13 already/],
  ['192.0.2.1 = off', /line 15: destinations\.192\.0\.2\.1: a domain, or \.parent/],
  ['[destinations]', /line 16: \[destinations\] stands on line 6 already/],
  ['last.test = \\', /line 17: it ends with "\\"/],
]

describe('end to end: the settings file', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka
  let stripped: Domain
  const path = () => join(haraka.folder, 'config/tls-policy.ini')

  before(async () => {
    lab = await Lab.start()
    stripped = await makeDomain(lab, 'stripped.test', {
      security: 'unsigned',
      hosts: [{ fault: 'no-starttls' }],
    })
    haraka = await lab.haraka({ plugins: ['tls-policy'] })
  })
  after(() => lab.stop())

  async function doctorSays(): Promise<readonly string[]> {
    const ran = await runCommand(haraka.folder, 'doctor', '--json')
    const { findings } = JSON.parse(ran.stdout) as DoctorReport
    return findings.filter(({ check }) => check === 'settings').map(({ text }) => text)
  }

  async function change(how: () => Promise<void>, told: RegExp): Promise<string> {
    const from = haraka.log().length
    await how()
    return haraka.waitForLine('the reload', told, { from, timeout: 30_000 })
  }

  it('all that Haraka passes over is told by line, with its cure, by the plugin, doctor and check alike', async () => {
    await writeFile(path(), MISTAKES.map(([line]) => line).join('\n'))
    await assert.rejects(haraka.restart())
    const told = haraka.log().filter((line) => line.includes('[CRIT] [-] [tls-policy] '))
    const expected = MISTAKES.flatMap(([, mistake]) => mistake ?? [])
    const all = told.map((line) => line.replace(/^.*\[tls-policy\] /, ''))
    for (const mistake of expected) {
      assert.ok(
        all.some((line) => mistake.test(line)),
        `${String(mistake)}\n${all.join('\n')}`,
      )
    }
    assert.equal(all.length, expected.length, all.join('\n'))
    assert.deepEqual(await doctorSays(), all)
    const check = await runCommand(haraka.folder, 'check', 'stripped.test')
    assert.equal(check.code, 78)
    assert.match(check.stderr, /line 2: a setting is key=value/)
  })

  it('a file in UTF-16, or in another encoding, is told as such', async () => {
    await writeFile(path(), '\ufeff[main]\r\nmode=observe\r\n', 'utf16le')
    await assert.rejects(haraka.restart())
    const [text, ...more] = await doctorSays()
    assert.match(text ?? '', /in another encoding than UTF-8/)
    assert.deepEqual(more, [])
    await writeFile(path(), '[destinations]\nb\xfccher.test=dane-only\n', 'latin1')
    assert.match((await doctorSays()).join('\n'), /line 2: .* another encoding than UTF-8/)
  })

  it("what cannot be read is not passed over, though Haraka's own reader would", async () => {
    await rm(path())
    await mkdir(path())
    await assert.rejects(haraka.restart())
    assert.ok(haraka.log().some((line) => /tls-policy\.ini cannot be read/.test(line)))
    assert.match((await doctorSays()).join('\n'), /tls-policy\.ini cannot be read/)
    await rmdir(path())
  })

  it('*.parent and a name in its own letters hold; a byte order mark and CRLF do no harm', async () => {
    const names = ['a.partner.test', 'xn--bcher-kva.test']
    for (const name of names) {
      await makeDomain(lab, name, { security: 'unsigned', hosts: [{ fault: 'no-starttls' }] })
    }
    const rules = '*.partner.test = encrypt\r\nbücher.test = encrypt\r\nstripped.test=encrypt\r\n'
    await writeFile(path(), `\ufeff[destinations]\r\n${rules}`)
    await haraka.restart()
    for (const name of names) {
      assert.equal((await haraka.deliver(`u@${name}`)).kind, 'deferred', name)
    }
    assert.equal((await haraka.deliver(stripped.recipient)).kind, 'deferred')
    assert.equal(await assertCheckSaysTheSame(haraka), 3)
  })

  const emptied: readonly (readonly [string, () => Promise<void>, RegExp])[] = [
    ['emptied', () => writeFile(path(), ''), /has no setting in it any more/],
    ['left with comments alone', () => writeFile(path(), '; nothing\n\n# here\n'), /no setting/],
    ['taken away', () => rm(path()), /is not there any more/],
  ]
  for (const [what, how, why] of emptied) {
    it(`a file that is ${what} changes nothing, and the log says what would be gone`, async () => {
      const line = await change(how, KEPT)
      assert.match(line, why)
      assert.match(line, /destinations\.stripped\.test=encrypt/)
      assert.match(line, /write the one line \[main\] into it/)
      assert.equal((await haraka.deliverApart(stripped.recipient)).kind, 'deferred')
      await change(() => writeFile(path(), '[destinations]\nstripped.test=encrypt\n'), LOADED)
    })
  }

  it('all defaults again is the one line [main]; the log says what is no longer set', async () => {
    const line = await change(() => writeFile(path(), '[main]\n'), LOADED)
    assert.match(line, /no longer set: destinations\.stripped\.test=encrypt/)
    assert.equal((await haraka.deliverApart(stripped.recipient)).kind, 'delivered')
  })

  it('a setting that has no effect beside another is told, by the log and by doctor', async () => {
    const text = '[redis]\nhost=192.0.2.9\n[mta_sts]\nenabled=false\n[destinations]\nx.test=sts\n'
    await writeFile(path(), text)
    await haraka.restart()
    const expected = [
      '[redis] has no effect: [store] says backend=lmdb',
      'destinations.x.test=sts has no effect: [mta_sts] says enabled=false',
    ]
    const warnings = haraka.log().filter((line) => line.includes('[WARN] [-] [tls-policy] '))
    for (const sentence of expected) {
      assert.equal(warnings.filter((line) => line.endsWith(sentence)).length, 1, sentence)
    }
    assert.deepEqual((await doctorSays()).slice(1), expected)
  })

  it('with an empty file Haraka does not start: doctor and check say the same, and how to have the defaults', async () => {
    for (const text of ['', '\ufeff\r\n \n']) {
      await writeFile(path(), text)
      await assert.rejects(haraka.restart())
      assert.ok(haraka.log().some((line) => /tls-policy\.ini is there and empty/.test(line)))
      assert.match((await doctorSays()).join('\n'), /is there and empty.* the one line \[main\]/)
      assert.equal((await runCommand(haraka.folder, 'check', 'stripped.test')).code, 78)
    }
  })

  it('at a start comments alone are the defaults, which the log and doctor say; so is no file', async () => {
    await writeFile(path(), '; nothing yet\n')
    await haraka.restart()
    await haraka.waitForLine('the note', /tls-policy\.ini has no setting in it/)
    assert.match((await doctorSays()).join('\n'), /tls-policy\.ini has no setting in it/)
    await rm(path())
    await haraka.restart()
  })
})
