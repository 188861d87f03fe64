import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isTaker, otherRoads, relaysNothing } from '../../../plugins/haraka/roads'

const MODULES = join(__dirname, '../../../node_modules')
const HARAKAS = ['Haraka', 'haraka-3.1.6', 'haraka-3.2.1']

/** The plugins that come with Haraka, by name, with their source. */
function shipped(haraka: string): readonly (readonly [string, string])[] {
  const folder = join(MODULES, haraka, 'plugins')
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.js'))
    .map((file) => [file.replace(/\.js$/, ''), readFileSync(join(folder, file), 'utf8')])
}

/** The packages that Haraka brings along. */
function packages(): readonly (readonly [string, string])[] {
  return readdirSync(MODULES)
    .filter((name) => name.startsWith('haraka-plugin-'))
    .map((name) => [
      name.replace('haraka-plugin-', ''),
      readFileSync(join(MODULES, name, 'index.js'), 'utf8'),
    ])
}

const hooked = (plugin: string) => otherRoads([{ plugin, method: 'x' }])

describe('other roads for outgoing mail', () => {
  for (const haraka of HARAKAS) {
    it(`${haraka}: each of its plugins on queue_outbound is known, and so is its switch`, () => {
      const known = [...shipped(haraka), ...packages()]
        .filter(([, source]) => source.includes('queue_outbound'))
        .map(([name, source]) => {
          const [road] = hooked(name)
          assert.notEqual(road?.takes, 'maybe', name)
          assert.equal(isTaker(name), source.includes('main.enable_outbound'), name)
          return name
        })
      assert.ok(known.includes('queue/smtp_forward') && known.includes('dkim'))
    })

    it(`${haraka}: a plugin that sets connection.relaying, or sends, is not said to relay nothing`, () => {
      const relaying = /\.relaying = true|outbound\??\.send_(?:trans_)?email\(/
      for (const [name, source] of [...shipped(haraka), ...packages()]) {
        if (relaying.test(source) && relaysNothing([name])) {
          assert.fail(name)
        }
      }
    })
  }

  it('as `haraka -i` has it nothing relays; with relay, auth or a stranger nothing is said', () => {
    const fresh = ['mail_from.is_resolvable', 'rcpt_to.in_host_list', 'queue/smtp_forward']
    assert.equal(relaysNothing([...fresh, 'haraka-plugin-tls-policy']), true)
    for (const more of ['relay', 'auth/flat_file', 'auth-ldap', 'queue/lmtp', 'my_own']) {
      assert.equal(relaysNothing([...fresh, more]), false, more)
    }
  })

  it('a plugin with several hooks is one road; a stranger is told as such', () => {
    const hooks = ['a', 'b'].map((method) => ({ plugin: 'archive', method }))
    assert.deepEqual(
      otherRoads(hooks).map(({ plugin, takes }) => [plugin, takes]),
      [['archive', 'maybe']],
    )
  })
})
