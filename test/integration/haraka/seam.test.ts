/** The seam in the outbound code of each Haraka that is installed here; and what is said where Haraka is another. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { Findings } from '../../support/seam-probe'
import { compiled } from '../../support/compiled'

const folders = { '3.1.6': 'haraka-3.1.6', '3.2.1': 'haraka-3.2.1', '3.3.4': 'Haraka' } as const

/** What each doctored Haraka lacks, in the words of the refusal. */
const complaints: Readonly<Record<string, RegExp>> = {
  '3.1.5': /\(3\.1\.5\): the version is not supported\./,
  '4.0.0': /\(4\.0\.0\): the version is not supported\./,
  '2.8.28': /\(2\.8\.28\): the version is not supported\./,
  'no version': /\(unknown version\): the version is not supported\./,
  'no class': /: outbound\/hmail is no class\./,
  'no get_force_tls': /: HMailItem\.get_force_tls is not as known\./,
  'no temp_fail': /: HMailItem has no method temp_fail\./,
  'no found_mx': /: HMailItem has no method found_mx\./,
  'get_force_tls of no argument': /: HMailItem\.get_force_tls is not as known\./,
  'get_mx_respond of three arguments': /: HMailItem\.get_mx_respond is not as known\./,
  'try_deliver that connects by itself': /: HMailItem\.try_deliver does not contain /,
  'no get_client': /: outbound\/client_pool\.get_client is not as known\./,
  'get_client of five arguments': /: outbound\/client_pool\.get_client is not as known\./,
  'no populate_bounce_message': /: HMailItem\.populate_bounce_message is not as known\./,
  'bounce_respond that queues by itself': /: HMailItem\.bounce_respond does not contain /,
  'no send_trans_email': /: outbound\.send_trans_email is not as known\./,
  'no HarakaMx': /: outbound\.net_utils\.HarakaMx is missing\./,
}

for (const [version, folder] of Object.entries(folders)) {
  describe(`the seam of Haraka ${version}`, function () {
    this.timeout(30_000)
    let home: string
    let findings: Findings

    before(async () => {
      home = await mkdtemp(join(tmpdir(), 'seam-'))
      await mkdir(join(home, 'config'))
      await mkdir(join(home, 'queue'))
      await writeFile(join(home, 'config/me'), 'sender.test\n')
      const { stdout } = await promisify(execFile)(
        process.execPath,
        [compiled('test/support/seam-probe.ts'), resolve('node_modules', folder)],
        { env: { ...process.env, HARAKA: home }, timeout: 25_000 },
      )
      const line = stdout.split('\n').find((text) => text.startsWith('FINDINGS '))
      assert.ok(line, stdout)
      findings = JSON.parse(line.slice('FINDINGS '.length)) as Findings
    })
    after(() => rm(home, { recursive: true, force: true }))

    it('is found', () => {
      assert.equal(findings.verdicts['real'], version)
      assert.equal(findings.verdicts['3.9.0'], '3.9.0')
    })

    it('is refused in a sentence where something is missing', () => {
      for (const [name, complaint] of Object.entries(complaints)) {
        const said = findings.verdicts[name] ?? ''
        assert.match(said, complaint, name)
        assert.match(said, /^tls-policy does not know this Haraka .* It was not loaded/, name)
      }
      const names = Object.keys(findings.verdicts).filter((name) => !(name in complaints))
      assert.deepEqual(names.sort(), ['3.9.0', 'real'])
    })

    it('leads Haraka’s calls to the handlers, once installed', () => {
      assert.deepEqual(findings.installed.calls, [
        'get_mx_respond 1',
        'get_force_tls false',
        'temp_fail because',
        'get_client 192.0.2.1',
      ])
    })

    it('RQ-15 NO-13 of forty messages that come back at once, each notification is known for its own, and ordinary mail for none', () => {
      const { notifications } = findings
      for (const [own, told] of notifications) assert.equal(told, own)
      const numbers = notifications.map(([own]) => own).filter((own) => own !== '')
      assert.equal(new Set(numbers).size, 40)
      assert.notDeepEqual(
        numbers,
        [...numbers].sort((a, b) => Number(a) - Number(b)),
      )
      assert.equal(notifications.length, 50, 'ordinary mail between them')
    })

    it('cannot be taken twice', () => {
      assert.match(findings.installed.secondTime, /^tls-policy is loaded already: /)
    })

    it('an error of a socket that Haraka has let go of ends nothing, however it did that; one in time is heard, without the mark of a host without TLS', () => {
      const { unguarded, guarded, heard } = findings.lateError
      assert.equal(unguarded, 'Error: late')
      assert.deepEqual(guarded, ['nothing', 'nothing', 'nothing'])
      assert.equal(heard, 'in time unmarked')
    })
  })
}
