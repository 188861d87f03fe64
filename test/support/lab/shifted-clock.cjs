'use strict'
/**
 * Loaded into a Haraka before all else (`--require`): its clock is off by the milliseconds that stand in the file LAB_CLOCK,
 * and jumps when they change. It is the clock of JavaScript, by which Haraka and the plugin go; the validity of certificates
 * is judged by OpenSSL, by the machine's own.
 */
const { readFileSync } = require('node:fs')

const RealDate = Date
const realNow = Date.now
const now = () => realNow() + Number(readFileSync(process.env.LAB_CLOCK, 'utf8'))

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, self) =>
    Reflect.construct(target, args.length > 0 ? args : [now()], self),
  apply: () => new RealDate(now()).toString(),
  get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
})
