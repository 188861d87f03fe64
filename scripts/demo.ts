/**
 * `npm run demo`: the point of it all in under a minute. A world of its own (network namespace, signed DNS, honest receivers
 * and an attacker), a handful of mails through a real Haraka, and a table: where they went, how protected, and why.
 */
// Moves this very command into a namespace of its own.
import { Lab, policyText, tlsaLine } from '../test/support/lab'

interface Row {
  readonly scene: string
  readonly result: string
  readonly why: string
}

async function demo(): Promise<void> {
  const started = Date.now()
  const lab = await Lab.start()
  try {
    const [dane, sts, forged] = ['192.0.2.10', '192.0.2.11', '192.0.2.12']
    const [stripped, plain, policies] = ['192.0.2.13', '192.0.2.14', '192.0.2.15']
    const daneChain = lab.certificate('mx.dane.test')
    const genuine = lab.certificate('mx.forged.test')
    const zone = (address: string, ...more: readonly string[]) => ({
      security: 'signed' as const,
      records: ['@ MX 10 mx', `mx A ${address}`, ...more],
    })
    const withPolicy = (address: string) =>
      zone(address, '_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${policies}`)
    await lab.zones({
      'dane.test': zone(dane, tlsaLine('mx', daneChain[0])),
      'sts.test': withPolicy(sts),
      'forged.test': zone(forged, tlsaLine('mx', genuine[0])),
      'stripped.test': withPolicy(stripped),
      'plain.test': zone(plain),
    })
    await lab.receiver({ address: dane, certificate: daneChain })
    await lab.receiver({ address: sts, certificate: lab.certificate('mx.sts.test') })
    await lab.receiver({ address: forged, certificate: lab.certificate('mx.forged.test') })
    await lab.receiver({ address: stripped, fault: 'no-starttls' })
    await lab.receiver({ address: plain, certificate: lab.certificate('whatever.test') })
    await lab.policyHost({
      address: policies,
      hosts: Object.fromEntries(
        ['sts.test', 'stripped.test'].map((domain) => [
          `mta-sts.${domain}`,
          {
            answer: policyText('enforce', [`mx.${domain}`]),
            certificate: lab.certificate(`mta-sts.${domain}`),
          },
        ]),
      ),
    })
    const haraka = await lab.haraka({
      plugins: ['tls-policy'],
      config: {
        'tls-policy.ini': `[mta_sts]\nca_file=${lab.caFile}\nfetch_private=true\n`,
      },
    })

    const scenes: readonly (readonly [string, string])[] = [
      ['dane.test', 'DANE, honest receiver'],
      ['sts.test', 'MTA-STS, honest receiver'],
      ['forged.test', 'DANE, attacker shows a certificate of the same name from the same CA'],
      ['stripped.test', 'MTA-STS, attacker strips STARTTLS'],
      ['plain.test', 'neither DANE nor MTA-STS'],
    ]
    const rows: Row[] = []
    for (const [domain, scene] of scenes) {
      const outcome = await haraka.deliver(`you@${domain}`)
      const line = await haraka.waitForLine(
        `the log line of ${domain}`,
        new RegExp(`tls-policy: domain=${domain.replace('.', '\\.')} `),
      )
      const verdict = /verdict=(\S+)/.exec(line)?.[1] ?? ''
      const reason = /reason=(\S+)/.exec(line)?.[1] ?? ''
      rows.push({
        scene: `${domain}: ${scene}`,
        result: outcome.kind === 'delivered' ? `sent, ${verdict}` : outcome.kind,
        why: outcome.kind === 'deferred' ? outcome.reason : reason,
      })
    }
    print(rows)
    console.log(`\n${rows.length} mails in ${((Date.now() - started) / 1000).toFixed(1)} s.`)
  } finally {
    await lab.stop()
  }
}

function print(rows: readonly Row[]): void {
  for (const { scene, result, why } of rows) {
    console.log(`\n${scene}\n    -> ${result}`)
    for (const line of wrap(why, 74)) console.log(`       ${line}`)
  }
}

function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? ''
    if (last !== '' && last.length + word.length + 1 > width) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines
}

demo().catch((err: unknown) => {
  console.error(err instanceof Error ? err.message : err)
  process.exitCode = 1
})
