/** `npx tsx test/run/reasons.ts`: writes docs/reasons.md from the catalogue in the code; a test compares the two. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { reasonsPage } from '../support/reasons-page'

writeFileSync(join(__dirname, '../..', 'docs/reasons.md'), reasonsPage())
