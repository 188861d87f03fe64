import assert from 'node:assert/strict'
import { findMergedMistakes, readBoolean, wantsTls } from '../../../plugins/store/redis/settings'
import type { RedisSettings } from '../../../plugins/store/redis/settings'

function merged(own: RedisSettings, redisIni: RedisSettings): readonly string[] {
  const found: string[] = []
  findMergedMistakes(own, redisIni, (file, key, value, allowed) => {
    found.push(`${file} ${key}=${value}: ${allowed}`)
  })
  return found
}

describe('settings of Redis', () => {
  it('TLS is on for every yes, off for every no, and nothing is guessed', () => {
    for (const yes of ['true', 'True', 'YES', 'on', 'enabled', 'ok', '1', true, 1]) {
      assert.equal(wantsTls({ tls: yes }), true, String(yes))
    }
    for (const no of ['false', 'No', 'off', 'disabled', '0', false, 0, '']) {
      assert.equal(wantsTls({ tls: no }), false, String(no))
    }
    assert.equal(wantsTls({}), false)
    for (const neither of ['ture', 'y', '2', 'tls', 'true false', '-1']) {
      assert.throws(() => wantsTls({ tls: neither }), /neither true nor false/)
      assert.equal(readBoolean(neither), undefined)
    }
    assert.equal(wantsTls({ url: 'rediss://a', tls: 'false' }), true, 'never less than asked for')
  })

  const mistakes: readonly (readonly [string, RedisSettings, RedisSettings, RegExp])[] = [
    ['tls of redis.ini', {}, { tls: 'ture' }, /^redis\.ini tls=ture: true or false$/],
    ['port of redis.ini', {}, { port: 'x' }, /^redis\.ini port=x: a whole number/],
    ['db of redis.ini', {}, { db: 'x' }, /^redis\.ini db=x: a whole number/],
    ['ca_file without tls', { ca_file: 'a' }, {}, /^tls-policy\.ini ca_file=a: nothing without/],
    [
      'servername against a no',
      { servername: 'a' },
      { tls: 'no' },
      /servername=a: nothing without/,
    ],
  ]
  for (const [title, own, redisIni, expected] of mistakes) {
    it(`a mistake: ${title}`, () => {
      const found = merged(own, redisIni)
      assert.equal(found.length, 1, String(found))
      assert.match(found[0] ?? '', expected)
    })
  }

  it('no mistake: what [redis] sets right, what redis.ini has for others, and TLS from either side', () => {
    assert.deepEqual(merged({ tls: 'yes', port: 1 }, { tls: 'ture', port: 'x', pi: 'x' }), [])
    assert.deepEqual(merged({ ca_file: 'a', servername: 'b' }, { tls: 'on' }), [])
    assert.deepEqual(merged({ ca_file: 'a' }, { url: 'rediss://b' }), [])
  })
})
