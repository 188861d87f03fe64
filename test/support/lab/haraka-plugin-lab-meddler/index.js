'use strict'
/**
 * Another plugin, as operators have them: answers get_mx, well or badly. What it does with which recipient domain stands in
 * config/meddler.json: { "a.test": { "do": "route", "answer": … } }. Domains that are not listed it leaves alone.
 */

const { existsSync, watch } = require('node:fs')
const { dirname } = require('node:path')
const { deny, denysoft, ok } = require('haraka-constants')

exports.register = function () {
  this.register_hook('send_email', 'before')
  this.register_hook('get_mx', 'route')
}

exports.before = function (next, hmail) {
  const { do: deed, for: path } = this.ruleFor(hmail.todo.domain)
  if (deed === 'wait') return waitFor(path, next)
  if (deed === 'poison') this.poison(hmail)
  if (deed === 'stall') this.stall()
  // As Haraka itself does it.
  if (deed === 'shutdown') process.emit('message', { event: 'plugins.shutdown' })
  next()
}

exports.route = function (next, hmail, domain) {
  const { do: deed, answer } = this.ruleFor(domain)
  switch (deed) {
    case 'throw':
      throw new Error('the meddler throws')
    case 'deny':
      return next(deny, 'the meddler says no')
    case 'denysoft':
      return next(denysoft, 'the meddler says not now')
    case 'hang':
      return undefined
    case 'route':
      return next(ok, answer)
    default:
      return next()
  }
}

exports.ruleFor = function (domain) {
  return this.config.get('meddler.json')[domain] ?? {}
}

/** Reading the domain throws until Haraka has deferred the message once. */
exports.poison = function (hmail) {
  const { domain } = hmail.todo
  let reads = 0
  Object.defineProperty(hmail.todo, 'domain', {
    configurable: true,
    enumerable: true,
    get() {
      reads += 1
      // Haraka's own reading, for the argument of get_mx, comes first.
      if (reads > 1 && hmail.num_failures === 0) throw new Error('the domain is poisoned')
      return domain
    },
  })
}

/** A lookup of the plugin's own, as it lies in dist/, never ends again: every one that others answer has a time limit. */
exports.stall = function () {
  const discovery = require('../../../../dist/dane/discovery.js')
  discovery.discoverTlsa = () => new Promise(() => undefined)
}

/** Holds the message back until there is such a file. */
function waitFor(path, next) {
  const watcher = watch(dirname(path), look)
  function look() {
    if (!existsSync(path)) return
    watcher.close()
    next()
  }
  look()
}
