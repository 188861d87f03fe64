/**
 * A real Postfix as receiver: takes mail for its domains into maildirs, with or without TLS. Own configuration, queue
 * and data folders.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Daemon, run } from './daemon'
import type { WaitOptions } from './journal'
import { type Presented, pemOf } from './receiver'

export interface PostfixSettings {
  readonly address: string
  readonly name: string
  /** Mail to any address in these domains is taken. */
  readonly domains: readonly string[]
  /** Left out: no TLS. */
  readonly certificate?: Presented
  /** More main.cf settings. */
  readonly parameters?: Readonly<Record<string, string>>
}

const delivered = 'status=sent (delivered to maildir)'

export class Postfix {
  readonly #daemon: Daemon
  #taken = 0

  private constructor(
    private readonly folder: string,
    daemon: Daemon,
  ) {
    this.#daemon = daemon
  }

  /** @param folder becomes its home; must be reachable by the user `postfix`. */
  static async start(folder: string, settings: PostfixSettings): Promise<Postfix> {
    const configuration = join(folder, 'etc')
    const mailFolder = join(folder, 'mail')
    for (const part of ['etc', 'spool', 'data', 'mail'])
      await mkdir(join(folder, part), { recursive: true })
    await run('chown', ['postfix', join(folder, 'data')])
    await run('chown', ['nobody', mailFolder])
    const uid = (await run('id', ['-u', 'nobody'])).trim()
    const parameters: Record<string, string> = {
      compatibility_level: '3.6',
      queue_directory: join(folder, 'spool'),
      data_directory: join(folder, 'data'),
      maillog_file: '/dev/stdout',
      myhostname: settings.name,
      mydestination: '',
      mynetworks: '127.0.0.0/8',
      alias_maps: '',
      local_recipient_maps: '',
      smtpd_peername_lookup: 'no',
      virtual_mailbox_domains: settings.domains.join(' '),
      virtual_mailbox_base: mailFolder,
      virtual_mailbox_maps: 'static:all/',
      virtual_uid_maps: `static:${uid}`,
      virtual_gid_maps: `static:${uid}`,
      ...(await tlsParameters(configuration, settings.certificate)),
      ...settings.parameters,
    }
    const lines = Object.entries(parameters).map(([name, value]) => `${name} = ${value}`)
    await writeFile(join(configuration, 'main.cf'), `${lines.join('\n')}\n`)
    // Not by inet_interfaces, which takes only addresses that an interface has.
    const listener = `[${settings.address}]:25 inet n - n - - smtpd`
    await writeFile(join(configuration, 'master.cf'), `${listener}\n${masterServices}`)
    // Through a pipe: Postfix opens /dev/stdout by name, which cannot be done with the sockets that node gives.
    const daemon = new Daemon({
      name: 'postfix',
      program: 'sh',
      args: ['-c', '"$@" 2>&1 | cat', 'sh', 'postfix', '-c', configuration, 'start-fg'],
    })
    await daemon.waitForLine('Postfix to serve', /daemon started/)
    return new Postfix(folder, daemon)
  }

  /** What Postfix logged. */
  get log(): readonly string[] {
    return this.#daemon.log.entries
  }

  waitForLine(what: string, pattern: RegExp, options?: WaitOptions): Promise<string> {
    return this.#daemon.waitForLine(what, pattern, options)
  }

  /** The text of the next message that no earlier call has returned. */
  async nextMessage(options: WaitOptions = {}): Promise<string> {
    const number = ++this.#taken
    const { log } = this.#daemon
    await log.waitFor(
      `message ${number} at Postfix`,
      () => log.entries.filter((line) => line.includes(delivered)).length >= number,
      options,
    )
    const folder = join(this.folder, 'mail/all/new')
    // Maildir names begin with the time of delivery.
    const names = (await readdir(folder)).sort()
    return readFile(join(folder, names[number - 1] ?? ''), 'utf8')
  }

  async stop(): Promise<void> {
    if (!this.#daemon.running) return
    const pid = await readFile(join(this.folder, 'spool/pid/master.pid'), 'utf8')
    process.kill(Number(pid), 'SIGTERM')
    await this.#daemon.exited
  }
}

async function tlsParameters(
  folder: string,
  certificate: Presented | undefined,
): Promise<Record<string, string>> {
  if (certificate === undefined) return { smtpd_tls_security_level: 'none' }
  const { key, cert } = pemOf(certificate)
  const file = join(folder, 'chain.pem')
  await writeFile(file, key + cert, { mode: 0o600 })
  return {
    smtpd_tls_security_level: 'may',
    smtpd_tls_loglevel: '1',
    smtpd_tls_received_header: 'yes',
    smtpd_tls_chain_files: file,
    tls_random_source: 'dev:/dev/urandom',
  }
}

/** What receiving and delivering to a maildir takes (master(5)); nothing is chrooted. */
const masterServices = `\
pickup    unix  n  -  n  60    1  pickup
cleanup   unix  n  -  n  -     0  cleanup
qmgr      unix  n  -  n  300   1  qmgr
tlsmgr    unix  -  -  n  1000? 1  tlsmgr
rewrite   unix  -  -  n  -     -  trivial-rewrite
bounce    unix  -  -  n  -     0  bounce
defer     unix  -  -  n  -     0  bounce
trace     unix  -  -  n  -     0  bounce
verify    unix  -  -  n  -     1  verify
flush     unix  n  -  n  1000? 0  flush
proxymap  unix  -  -  n  -     -  proxymap
showq     unix  n  -  n  -     -  showq
error     unix  -  -  n  -     -  error
retry     unix  -  -  n  -     -  error
discard   unix  -  -  n  -     -  discard
virtual   unix  -  n  n  -     -  virtual
anvil     unix  -  -  n  -     1  anvil
scache    unix  -  -  n  -     1  scache
postlog   unix-dgram n - n -   1  postlogd
`
