import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const PLUGINS = join(__dirname, '../../plugins')
/** They follow no RFC of their own. */
const OF_NO_RFC = ['bounded', 'cli', 'reasons', 'store', 'telemetry', 'waiting']

describe('the README of a room', () => {
  const rooms = readdirSync(PLUGINS, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !OF_NO_RFC.includes(entry.name))
    .map(({ name }) => name)
  for (const room of rooms) {
    it(`${room}: tells of its RFC in its first screen, and names files that there are`, () => {
      const text = readFileSync(join(PLUGINS, room, 'README.md'), 'utf8')
      assert.match(text.split('\n').slice(0, 15).join('\n'), /RFC \d{4}/)
      const named = [...text.matchAll(/`((?:[a-z-]+\/)?[a-z0-9-]+\.ts)`|\]\((\.\.[^)#]*)/g)]
      for (const [, file, link] of named) {
        const places = file === undefined ? [join(room, link ?? '')] : [join(room, file), file]
        assert.ok(
          places.some((place) => existsSync(join(PLUGINS, place))),
          places.join(),
        )
      }
    })
  }
})
