/**
 * `npm run demo`: the point of it all in under a minute. A world of its own (network namespace, signed DNS, honest receivers
 * and an attacker), a handful of mails through a real Haraka, and a table: where they went, how protected, and why.
 */
// Moves this very command into a namespace of its own.
import { Lab, type Outcome, policyText, tlsaLine } from '../support/lab'

interface Row {
  readonly to: string
  readonly scene: string
  readonly sentTo: string
  readonly withoutPlugin: string
  readonly protection: string
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

    const without = await lab.haraka({ port: 2526 })

    const scenes: readonly (readonly [string, string])[] = [
      ['dane.test', 'DANE; honest receiver'],
      ['sts.test', 'MTA-STS; honest receiver'],
      ['forged.test', 'DANE; attacker shows another certificate for the same name'],
      ['stripped.test', 'MTA-STS; attacker strips STARTTLS'],
      ['plain.test', 'neither DANE nor MTA-STS'],
    ]
    const attacked: readonly string[] = ['forged.test', 'stripped.test']
    const rows: Row[] = []
    for (const [domain, scene] of scenes) {
      const outcome = await haraka.deliver(`you@${domain}`)
      const other = await without.deliver(`you@${domain}`)
      const line = await haraka.waitForLine(
        `the log line of ${domain}`,
        new RegExp(`tls-policy: domain=${domain.replace('.', '\\.')} `),
      )
      const word = (key: string) =>
        new RegExp(` ${key}=(?:"([^"]*)"|(\\S+))`).exec(line)?.slice(1).find(Boolean) ?? ''
      const sent = outcome.kind === 'delivered'
      rows.push({
        to: `you@${domain}`,
        scene,
        sentTo: sent ? outcome.host : `nobody: ${outcome.kind}`,
        withoutPlugin: withoutPlugin(other, attacked.includes(domain)),
        protection: sent ? word('verdict') : '-',
        why: sent ? word('detail') || word('reason') : `${word('reason')}: ${word('detail')}`,
      })
    }
    print(rows)
    console.log(`${rows.length} mails in ${((Date.now() - started) / 1000).toFixed(1)} s.`)
  } finally {
    await lab.stop()
  }
}

/** @param attacked whether it is an attacker who answers for the receiver */
function withoutPlugin(outcome: Outcome, attacked: boolean): string {
  if (outcome.kind !== 'delivered') return outcome.kind
  const how = outcome.tls ? 'over TLS' : 'in CLEARTEXT'
  return attacked ? `sent to the ATTACKER, ${how}` : `sent ${how}, to anybody who answers`
}

const COLUMNS = [
  ['to', 'TO', 17],
  ['scene', 'SITUATION', 24],
  ['withoutPlugin', 'PLAIN HARAKA', 20],
  ['sentTo', 'WITH THE PLUGIN', 16],
  ['protection', 'PROTECTION', 10],
  ['why', 'WHY', 40],
] as const

function print(rows: readonly Row[]): void {
  const heads = Object.fromEntries(COLUMNS.map(([key, title]) => [key, title]))
  for (const row of [heads as unknown as Row, ...rows]) {
    const cells = COLUMNS.map(([key, , width]) => wrap(row[key], width))
    const height = Math.max(...cells.map((lines) => lines.length))
    for (let line = 0; line < height; line++) {
      const text = cells.map((lines, index) => (lines[line] ?? '').padEnd(COLUMNS[index]?.[2] ?? 0))
      console.log(text.join('  ').trimEnd())
    }
    console.log()
  }
}

function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = ['']
  // Digests are longer than any column.
  const words = text
    .split(' ')
    .flatMap((word) => word.match(new RegExp(`.{1,${width}}`, 'g')) ?? [])
  for (const word of words) {
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
