import assert from 'node:assert/strict'
import { readConfig } from '../../../plugins/config'
import {
  clockFinding,
  doctorText,
  exceptionFindings,
  harakaFinding,
  pluginsFinding,
} from '../../../plugins/cli/doctor'
import { COLUMNS, styleFor } from '../../../plugins/cli/words'

describe('doctor', () => {
  const lists: readonly (readonly [string, readonly string[], 'ok' | 'problem'])[] = [
    ['once', ['relay', 'tls-policy'], 'ok'],
    ['once, by its package name', ['haraka-plugin-tls-policy'], 'ok'],
    ['not at all', ['relay', 'tls'], 'problem'],
    ['twice', ['tls-policy', 'tls-policy'], 'problem'],
    ['twice, by both names', ['tls-policy', 'haraka-plugin-tls-policy'], 'problem'],
  ]
  for (const [title, plugins, level] of lists) {
    it(`in config/plugins ${title}: ${level}`, () => {
      assert.equal(pluginsFinding(plugins).level, level)
    })
  }

  const now = Date.parse('2026-11-22T12:00:00Z')
  it('a clock a little behind a file is no problem, one that is hours behind is', () => {
    const what = 'the cached policy of x.example'
    assert.equal(clockFinding({ at: now + 60_000, what }, now).level, 'ok')
    const finding = clockFinding({ at: now + 7_200_000, what }, now)
    assert.equal(finding.level, 'problem')
    assert.match(finding.text, /the cached policy of x\.example is of 2026-11-22 14:00:00 UTC/)
  })

  it('an exception has its last day to the end', () => {
    const result = readConfig(
      { destinations: { 'x.example': 'off until 2026-11-22' } },
      () => undefined,
    )
    assert.ok(result.ok)
    assert.equal(exceptionFindings(result.config, new Date(now))[0]?.level, 'ok')
    const [finding] = exceptionFindings(result.config, new Date(now + 86_400_000))
    assert.equal(finding?.level, 'problem')
  })

  it('no Haraka at all is worth a note, and no problem', () => {
    assert.equal(harakaFinding({ kind: 'missing' }).level, 'note')
  })

  it('text: aligned, on 80 columns, with the cure below', () => {
    const findings = [
      { check: 'plugins', level: 'ok', text: 'fine', cure: null },
      { check: 'store', level: 'problem', text: `no ${'place '.repeat(30)}`, cure: 'Make some.' },
    ] as const
    const lines = doctorText(
      { version: 1, command: 'doctor', findings, exitCode: 1 },
      styleFor(false),
    )
    assert.equal(lines[0], 'ok       plugins    fine')
    assert.match(lines[1] ?? '', /^problem {2}store {6}no place place/)
    assert.equal(lines.at(-1), '                    Do: Make some.')
    for (const line of lines) assert.ok(line.length <= COLUMNS)
  })
})
