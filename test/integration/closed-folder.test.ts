/**
 * Haraka becomes another user as soon as it listens (smtp.ini user), and that one may have no right to read the package: what is needed
 * of it is read before. A process of its own, since there is no way back.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const repository = join(__dirname, '../..')
const NOBODY = 65534

/** What a worker does: loads, prepares, becomes another user, starts. */
const WORKER = `
const { chmodSync } = require('node:fs')
const [folder, storeFolder, backend] = process.argv.slice(-3)
const { prepareStore, wire } = require(folder + '/plugins/wiring.ts')
const { readConfig } = require(folder + '/plugins/config.ts')
const silent = () => undefined
const log = { info: silent, notice: silent, warn: silent, error: silent }
const read = readConfig({ main: {}, store: { backend } }, (text) => text)
const owner = { user: undefined, group: undefined }
prepareStore(read.config, { storeFolder, owner, log })
chmodSync(folder, 0)
if (process.getuid() === 0) process.setuid(${NOBODY})
wire({
  config: () => read.config, log, storeFolder, owner, redisIni: { port: 1 }, redisCa: undefined,
  ca: silent, self: { localMxOk: () => true, name: () => 'x.test', publicIp: async () => undefined },
  tlsSwitchedOff: () => false, onHealth: silent,
}).then((wiring) => {
  // 'redis-settings' is what a backend whose code cannot be read is called.
  console.log('started: ' + wiring.store.troubles().map(({ kind, text }) => kind + ' (' + text + ')').join(' '))
  process.exit(0)
}, (err) => {
  console.log(String(err))
  process.exit(1)
})
`

/** The same with reports: the first one is written when the folder has long been closed. */
const REPORTER = `
const { chmodSync } = require('node:fs')
const { generateKeyPairSync } = require('node:crypto')
const [folder, from] = process.argv.slice(-2)
const { prepareReports } = require(folder + '/plugins/reports.ts')
const { composeReport } = require(folder + '/plugins/tlsrpt/mail.ts')
const { readConfig } = require(folder + '/plugins/config.ts')
const log = { warn: (text) => console.log('warned: ' + text) }
const config = (tlsrpt) => readConfig({ main: {}, tlsrpt }, (text) => text).config
const { privateKey } = generateKeyPairSync('rsa', {
  modulusLength: 2048, privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' },
})
prepareReports(config(from === 'later' ? {} : { from }), log)
chmodSync(folder, 0)
if (process.getuid() === 0) process.setuid(${NOBODY})
if (from === 'later') prepareReports(config({ from: 'tls@send.test' }), log)
composeReport({
  from: 'tls@send.test', to: 'r@rcpt.test', domain: 'rcpt.test', submitter: 'send.test', reportId: 'a@send.test', subject: 'x',
  fileName: 'x.json.gz', date: new Date(0), text: 'x', gzipped: Buffer.from('x'),
}, { domain: 'send.test', selector: 's', privateKey }).then((done) => {
  console.log(done.ok ? 'composed' : 'failed: ' + done.detail.replaceAll('\\n', ' '))
})
`

describe('a package that is closed to the user that Haraka becomes', function () {
  this.timeout(60_000)
  let folder: string
  let storeFolder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tls-policy-closed-'))
    storeFolder = mkdtempSync(join(tmpdir(), 'tls-policy-store-'))
    chmodSync(storeFolder, 0o777)
    for (const name of ['plugins', 'package.json', 'tsconfig.json'])
      cpSync(join(repository, name), join(folder, name), { recursive: true })
    symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'))
  })
  afterEach(() => {
    chmodSync(folder, 0o700)
    for (const each of [folder, storeFolder]) rmSync(each, { recursive: true })
  })

  function run(script: string, ...args: readonly string[]): { stdout: string; stderr: string } {
    return spawnSync(process.execPath, ['--import', 'tsx', '-e', script, '--', ...args], {
      cwd: repository,
      encoding: 'utf8',
    })
  }

  for (const backend of ['memory', 'lmdb', 'redis']) {
    it(`XC-09 starts all the same, with backend=${backend}`, () => {
      const { stdout, stderr } = run(WORKER, folder, storeFolder, backend)
      assert.match(stdout, /^started: /m, stdout + stderr)
      assert.doesNotMatch(stdout, /redis-settings/)
    })
  }
  it('XC-09 writes the first report all the same, where reports were wanted at start', () => {
    const { stdout, stderr } = run(REPORTER, folder, 'tls@send.test')
    assert.equal(stdout, 'composed\n', stderr)
  })
  it('XC-09 says why no report is mailed, where they are wanted later', () => {
    const { stdout, stderr } = run(REPORTER, folder, 'later')
    assert.match(
      stdout,
      /^warned: no report is mailed: nodemailer cannot be loaded \(Cannot find module .*\)\. Restart Haraka.*\nfailed: Cannot find module .*\n$/,
      stderr,
    )
  })
})
