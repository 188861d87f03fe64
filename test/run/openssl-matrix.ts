/**
 * Compares verifyDane with OpenSSL's own DANE verification over the whole grid of test/integration/dane/openssl-cases.ts. The test run
 * takes a sample of it; this takes all, about three minutes on two cores. Exit 1 when a case comes out otherwise than it must.
 *
 * tsx test/run/openssl-matrix.ts [part of a case's id …]
 */
import { matrix } from '../integration/dane/openssl-cases'
import { compareAll } from '../integration/dane/openssl-oracle'

const PARALLEL = 3

async function main(): Promise<void> {
  const wanted = process.argv.slice(2)
  const cases = matrix().filter(({ id }) => wanted.every((part) => id.includes(part)))
  const counts: Record<string, number> = {}
  let wrong = 0
  const started = Date.now()
  await compareAll(cases, PARALLEL, ({ id, ours, openssl, asExpected, detail }) => {
    const label = ours === openssl ? ours : `${ours} here, ${openssl} by OpenSSL`
    counts[label] = (counts[label] ?? 0) + 1
    if (asExpected) return
    wrong++
    console.log(`${id}\n  ours ${ours}, openssl ${openssl}\n  ${detail}`)
  })
  const seconds = Math.round((Date.now() - started) / 1000)
  console.log(`${cases.length} cases in ${seconds} s, ${wrong} not as they must be`, counts)
  process.exitCode = wrong === 0 ? 0 : 1
}

void main()
