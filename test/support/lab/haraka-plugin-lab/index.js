'use strict'
/**
 * Put by the lab into every Haraka that it starts. Lets any client relay, and tells on stdout, one JSON line an event,
 * when Haraka is ready and what became of each recipient. It looks on last and changes no delivery.
 */

const { ok } = require('haraka-constants')

const LAST = 1000

exports.register = function () {
  this.register_hook('init_master', 'ready', LAST)
  this.register_hook('init_child', 'ready', LAST)
  this.register_hook('connect_init', 'relay')
  // Of clients of which a test wants something else.
  const { public: isPublic, takesSenders, takesRecipients } = this.config.get('lab.json')
  if (isPublic) this.register_hook('connect_init', 'call_public', -LAST)
  if (takesSenders) this.register_hook('mail', 'take', -99)
  if (takesRecipients) this.register_hook('rcpt', 'take')
  this.register_hook('delivered', 'delivered', LAST)
  this.register_hook('deferred', 'deferred', LAST)
  this.register_hook('bounce', 'bounced', LAST)
}

exports.ready = function (next, server) {
  next()
  const deliversNothing = server.cluster && server.cluster.isMaster
  if (!deliversNothing) tell({ kind: 'ready' })
}

exports.relay = function (next, connection) {
  connection.relaying = !this.config.get('lab.json').stranger
  next()
}

/** As for a client on the Internet. */
exports.call_public = function (next, connection) {
  connection.remote.is_private = false
  next()
}

exports.take = function (next) {
  next(ok)
}

exports.delivered = function (next, hmail, params) {
  const [host, ip, response, , port, , recipients, tls] = params
  for (const recipient of recipients) {
    tell({ kind: 'delivered', ...common(hmail, recipient), host, ip, port, response, tls: !!tls })
  }
  next()
}

/** Told only once Haraka has put the message back into its queue: from then on it can be retried. */
exports.deferred = function (next, hmail, params) {
  const events = hmail.todo.rcpt_to.map((recipient) => ({
    kind: 'deferred',
    ...common(hmail, recipient),
    reason: `${params.err}`,
    delay: params.delay,
    dsn: dsn(recipient),
  }))
  const requeued = hmail.next_cb
  hmail.next_cb = function (...args) {
    hmail.next_cb = requeued
    setImmediate(() => events.forEach(tell))
    return requeued.apply(this, args)
  }
  next()
}

exports.bounced = function (next, hmail, error) {
  for (const recipient of hmail.todo.rcpt_to) {
    const reason = error instanceof Error ? error.message : `${error}`
    tell({ kind: 'bounced', ...common(hmail, recipient), reason, dsn: dsn(recipient) })
  }
  next()
}

function common(hmail, recipient) {
  const { address } = recipient
  return {
    recipient: typeof address === 'function' ? recipient.address() : address,
    message: hmail.todo.uuid,
    file: hmail.filename,
  }
}

function dsn(recipient) {
  return {
    status: recipient.dsn_status,
    action: recipient.dsn_action,
    remoteMta: recipient.dsn_remote_mta,
    diagnostic: [recipient.dsn_smtp_code, recipient.dsn_smtp_extc, recipient.dsn_smtp_response]
      .filter(Boolean)
      .join(' '),
    message: recipient.dsn_msg,
  }
}

function tell(event) {
  process.stdout.write(`LAB ${JSON.stringify(event)}\n`)
}
