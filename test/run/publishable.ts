/**
 * Before `npm publish`: a package on the registry must say where its source and its issues are. They are not in package.json yet,
 * since the repository has no public address; who publishes fills them in.
 */
import { readFileSync } from 'node:fs'

const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Record<string, unknown>
const missing = ['author', 'repository', 'bugs', 'homepage'].filter((key) => !(key in manifest))
if (missing.length > 0) {
  console.error(`package.json of ${String(manifest['name'])} lacks: ${missing.join(', ')}`)
  process.exitCode = 1
}
