#!/usr/bin/env node
/** `haraka-tls-policy`: what a delivery would do and why, the policies that are kept, and what is wrong with a set-up. */
import { EXIT } from './conclude'
import { run } from './run'

/** Milliseconds for connections to close; what hangs then is cut off. */
const FAREWELL = 2000

// A process that dies early must not exit with 0, which says that mail is safe.
process.exitCode = EXIT.software

// A reader that goes away (`| head`) is no failure.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined)

run(process.argv.slice(2), {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  env: process.env,
  cwd: process.cwd(),
  terminal: process.stdout.isTTY,
  now: () => new Date(),
})
  .then((exitCode) => {
    process.exitCode = exitCode
  })
  .catch((err: unknown) => {
    process.stderr.write(`${String(err)}\n`)
  })
  .finally(() => setTimeout(() => process.exit(), FAREWELL).unref())
