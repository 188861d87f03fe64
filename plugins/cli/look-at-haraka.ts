/** Runs as a child process: loads the Haraka that is its argument, looks for the seam, says what it saw and ends. */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { findSeam } from '../haraka/seam'
import type { Look } from './find-haraka'
import { errorText } from '../x509/trouble'

const [root = ''] = process.argv.slice(2)
const harakaRequire = createRequire(join(root, 'package.json'))

function look(): Look {
  try {
    const { version } = findSeam((module): unknown => harakaRequire(`./${module}`))
    return { ok: true, version }
  } catch (err: unknown) {
    return { ok: false, why: errorText(err) }
  }
}

process.send?.(look(), () => process.exit())
