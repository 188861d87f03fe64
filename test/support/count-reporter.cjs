'use strict'
// mocha's ordinary output, and the totals with what failed as JSON in the file that TLS_POLICY_TOTALS names.

const { writeFileSync } = require('node:fs')
const { reporters, Runner } = require('mocha')

module.exports = class CountReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options)
    const wrong = []
    runner.on(Runner.constants.EVENT_TEST_FAIL, (test, err) => {
      wrong.push(`${test.fullTitle()}: ${String(err?.message ?? err).slice(0, 300)}`)
    })
    runner.once(Runner.constants.EVENT_RUN_END, () => {
      const { passes, failures, pending } = this.stats
      const file = process.env.TLS_POLICY_TOTALS
      if (file)
        writeFileSync(file, JSON.stringify({ passed: passes, failed: failures + pending, wrong }))
    })
  }
}
