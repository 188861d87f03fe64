import assert from 'node:assert/strict'
import fc from 'fast-check'
import { readArguments, USAGE } from '../../../plugins/cli/arguments'

describe('the command line', () => {
  const plain = { kind: 'check', connect: false, route: {}, asked: null }
  const understood: readonly (readonly [string, unknown])[] = [
    ['check example.com', { ...plain, target: 'example.com' }],
    ['check --connect u@example.com', { ...plain, target: 'u@example.com', connect: true }],
    ['check x.example --requiretls', { ...plain, target: 'x.example', asked: 'requiretls' }],
    [
      'check --tls-required-no x.example',
      { ...plain, target: 'x.example', asked: 'tls-required-no' },
    ],
    [
      'check x.example --host relay.example --port 587',
      { ...plain, target: 'x.example', route: { host: 'relay.example', port: 587 } },
    ],
    ...['bücher.example', 'a_b.example.', '[192.0.2.1]', '[IPv6:2001:db8::1]', '2001:db8::1'].map(
      (target) => [`check ${target}`, { ...plain, target }] as const,
    ),
    ['policies list', { kind: 'list' }],
    ['policies show x.example', { kind: 'show', domain: 'x.example' }],
    ['policies refresh x.example', { kind: 'refresh', domain: 'x.example' }],
    ['policies purge x.example', { kind: 'purge', domain: 'x.example' }],
    ['reports today', { kind: 'reports today' }],
    ['reports today x.example', { kind: 'reports today', domain: 'x.example' }],
    ['reports show x.example', { kind: 'reports show', domain: 'x.example' }],
    [
      'reports show x.example --day 2026-11-27',
      { kind: 'reports show', domain: 'x.example', day: '2026-11-27' },
    ],
    ['doctor', { kind: 'doctor' }],
  ]
  for (const [line, command] of understood) {
    it(line, () => {
      const read = readArguments(line.split(' '))
      assert.ok(read.kind === 'command')
      assert.deepEqual(read.command, command)
      assert.equal(read.json, false)
      assert.equal(read.folder, undefined)
    })
  }

  it('-c and --json go with every command', () => {
    for (const line of ['check x', 'policies list', 'doctor']) {
      const read = readArguments(['-c', '/haraka', ...line.split(' '), '--json'])
      assert.ok(read.kind === 'command' && read.json && read.folder === '/haraka')
    }
  })

  const wrong: readonly string[] = [
    '',
    'chekc x',
    'check',
    'check a b',
    'check http://foo.lab/',
    'check foo.lab:25',
    'check foo.lab/x',
    'check user@',
    'check x --host smtp://relay.example',
    'policies show https://mta-sts.x.example/',
    'check x --port 0',
    'check x --port 65536',
    'check x --port smtp',
    'check x --conect',
    'policies',
    'policies list x',
    'policies show',
    'policies show a b',
    'policies drop x',
    'reports',
    'reports yesterday',
    'reports today a b',
    'reports today http://x/',
    'reports today --day 2026-11-27',
    'reports show',
    'reports show a b',
    'reports show x --day 27.11.2026',
    'reports show x --day 2026-02-30',
    'doctor now',
    'doctor --connect',
    'policies list --host x',
    'check x --requiretls --tls-required-no',
    'doctor --requiretls',
  ]
  for (const line of wrong) {
    it(`"${line}" is wrong, in one sentence`, () => {
      const read = readArguments(line === '' ? [] : line.split(' '))
      assert.ok(read.kind === 'wrong')
      assert.match(read.sentence, /^[^\n]+$/)
    })
  }

  it('never throws', () => {
    fc.assert(fc.property(fc.array(fc.string()), (argv) => void readArguments(argv)))
  })

  it('help fits on 80 columns', () => {
    for (const line of USAGE.split('\n')) assert.ok(line.length <= 80, line)
  })
})
