/** The receiver's side of one SMTP session (RFC 5321, RFC 3207): replies to commands, and plants the faults. */
import type { Socket } from 'node:net'
import type { Fault } from './faults'

export interface Envelope {
  readonly from: string
  readonly parameters: string
  readonly to: readonly string[]
  readonly text: string
}

export interface DialogueSettings {
  readonly name: string
  readonly extensions: readonly string[]
  readonly securedExtensions: readonly string[]
  readonly banner: readonly string[]
  /** Of what is said before TLS. */
  readonly wording: (said: string) => string
  readonly unknownRecipients: readonly string[]
  readonly socket: Socket
  readonly fault: () => Fault
  readonly offersTls: () => boolean
  /** Does the handshake on the socket; `then` gets the secured one. */
  readonly startTls: (then: (secured: Socket) => void) => void
  readonly greeted: (as: string) => void
  readonly received: (message: Envelope) => void
}

/** What to do instead of the right thing. */
type Misdeeds = Partial<Record<Fault, () => unknown>>

const CRLF = '\r\n'

export class Dialogue {
  #socket: Socket
  #secured = false
  #input = ''
  #inData = false
  /** Whatever comes is no SMTP any more. */
  #deaf = false
  #transaction: { from: string; parameters: string; to: string[] } | undefined

  constructor(private readonly settings: DialogueSettings) {
    this.#socket = settings.socket
  }

  get #fault(): Fault {
    return this.settings.fault()
  }

  #reply(...lines: readonly string[]): void {
    const said = lines.map((line) => line + CRLF).join('')
    this.#socket.write(this.#secured ? said : this.settings.wording(said))
  }

  /** To be called once, when the connection is there. */
  greet(): void {
    const faults: Misdeeds = {
      'drop-on-connect': () => this.#socket.destroy(),
      'reset-on-connect': () => this.settings.socket.resetAndDestroy(),
      'hang-greeting': () => undefined,
      'greeting-421': () => this.#socket.end(`421 4.3.2 ${this.settings.name} shuts down${CRLF}`),
      'greeting-554': () => {
        this.#reply(`554 5.3.2 ${this.settings.name} takes no mail`)
      },
      'greeting-junk': () => {
        this.#reply('hello there, this is no SMTP')
      },
      'greeting-endless': () => {
        this.#greetForever()
      },
    }
    const fault = faults[this.#fault]
    if (fault) fault()
    else {
      const { banner, name } = this.settings
      this.#reply(...banner.map((line) => `220-${line}`), `220 ${name} ESMTP`)
    }
  }

  #greetForever(): void {
    const more = () => {
      while (!this.#socket.destroyed && this.#socket.write(`220-and another thing${CRLF}`));
    }
    this.#socket.on('drain', more)
    more()
  }

  /** Bytes from the client, in any pieces. */
  take(bytes: Buffer): void {
    if (this.#deaf) return
    this.#input += bytes.toString('latin1')
    if (this.#inData) this.#takeText()
    for (let end = this.#lineEnd(); end >= 0; end = this.#lineEnd()) {
      const line = this.#input.slice(0, end)
      this.#input = this.#input.slice(end + CRLF.length)
      this.#command(line)
      if (this.#inData) this.#takeText()
    }
  }

  #lineEnd(): number {
    return this.#inData ? -1 : this.#input.indexOf(CRLF)
  }

  #command(line: string): void {
    const verb = (/^[A-Za-z]+/.exec(line)?.[0] ?? '').toUpperCase()
    const rest = line.slice(verb.length).trim()
    switch (verb) {
      // RFC 2033: LHLO is as EHLO, and with one recipient the replies are those of SMTP.
      case 'EHLO':
      case 'LHLO':
        this.#ehlo(rest)
        return
      case 'HELO':
        this.settings.greeted(rest)
        this.#reply(`250 ${this.settings.name}`)
        return
      case 'STARTTLS':
        this.#startTls()
        return
      case 'AUTH':
        this.#reply('235 2.7.0 welcome')
        return
      case 'MAIL':
        this.#mail(rest)
        return
      case 'RCPT':
        this.#recipient(rest)
        return
      case 'DATA':
        this.#data()
        return
      case 'RSET':
        this.#transaction = undefined
        this.#reply('250 2.0.0 OK')
        return
      case 'NOOP':
        this.#reply('250 2.0.0 OK')
        return
      case 'QUIT':
        if (this.#fault === 'reset-at-quit') this.settings.socket.resetAndDestroy()
        else this.#socket.end(`221 2.0.0 bye${CRLF}`)
        return
      default:
        this.#reply('500 5.5.2 what?')
    }
  }

  #ehlo(as: string): void {
    if (this.#fault === 'ehlo-hang') return
    if (this.#fault === 'ehlo-junk') {
      this.#reply('this is no reply')
      return
    }
    if (this.#fault === 'helo-only') {
      this.#reply('502 5.5.1 EHLO is not for us')
      return
    }
    this.settings.greeted(as)
    const { extensions, securedExtensions } = this.settings
    const keywords = [...(this.#secured ? securedExtensions : extensions)]
    if (this.#offersTls) keywords.unshift('STARTTLS')
    const lines = [this.settings.name, ...keywords]
    this.#reply(...lines.map((text, i) => `250${i + 1 < lines.length ? '-' : ' '}${text}`))
  }

  get #offersTls(): boolean {
    if (!this.settings.offersTls()) return false
    if (this.#fault === 'no-starttls' || this.#fault === 'helo-only') return false
    return !this.#secured || this.#fault === 'starttls-again'
  }

  #startTls(): void {
    if (!this.#offersTls) {
      this.#reply('502 5.5.1 no STARTTLS here')
      return
    }
    const ready = this.settings.wording(`220 2.0.0 go ahead${CRLF}`)
    const faults: Misdeeds = {
      'starttls-454': () => {
        this.#reply('454 4.7.0 TLS is not available for now')
      },
      'starttls-554': () => {
        this.#reply('554 5.7.0 TLS is not available')
      },
      'starttls-hang': () => undefined,
      'starttls-drop': () => this.#socket.destroy(),
      'drop-after-220': () => this.#socket.end(ready),
      'hang-handshake': () => {
        this.#deaf = true
        this.#socket.write(ready)
      },
      'garbage-handshake': () => {
        this.#deaf = true
        this.#socket.write(ready)
        this.#socket.once('data', () => this.#socket.write('garbage '.repeat(32)))
      },
    }
    const fault = faults[this.#fault]
    if (fault) {
      fault()
      return
    }
    const injected = `250-injected.example${CRLF}250 AUTH PLAIN${CRLF}`
    this.#socket.write(this.#fault === 'inject-after-220' ? ready + injected : ready)
    this.#input = ''
    this.#transaction = undefined
    this.settings.startTls((secured) => {
      this.#socket = secured
      this.#secured = true
      if (this.#fault === 'reset-after-tls') this.settings.socket.resetAndDestroy()
    })
  }

  #mail(rest: string): void {
    if (this.#fault === 'reset-at-mail') this.settings.socket.resetAndDestroy()
    else if (this.#fault === 'mail-450') this.#reply('450 4.3.0 not now')
    else if (this.#fault === 'mail-550') this.#reply('550 5.7.1 not from you')
    else {
      const [, from = '', parameters = ''] = /^FROM:\s*<([^>]*)>\s*(.*)$/i.exec(rest) ?? []
      this.#transaction = { from, parameters, to: [] }
      this.#reply('250 2.1.0 OK')
    }
  }

  #recipient(rest: string): void {
    const transaction = this.#transaction
    if (transaction === undefined) {
      this.#reply('503 5.5.1 MAIL first')
      return
    }
    const others = transaction.to.length > 0
    const recipient = /<([^>]*)>/.exec(rest)?.[1] ?? ''
    if (this.#fault === 'rcpt-550' || this.settings.unknownRecipients.includes(recipient))
      this.#reply('550 5.1.1 no such user')
    else if (this.#fault === 'rcpt-450' || (this.#fault === 'rcpt-450-but-one' && others)) {
      this.#reply('450 4.2.1 mailbox busy')
    } else {
      transaction.to.push(recipient)
      this.#reply('250 2.1.5 OK')
    }
  }

  #data(): void {
    if (this.#transaction === undefined || this.#transaction.to.length === 0) {
      this.#reply('503 5.5.1 RCPT first')
      return
    }
    if (this.#fault === 'data-command-451') {
      this.#reply('451 4.3.0 no data now')
      return
    }
    this.#inData = true
    this.#reply('354 go ahead')
  }

  #takeText(): void {
    if (this.#fault === 'reset-in-data' && this.#input.length > 0) {
      this.settings.socket.resetAndDestroy()
      return
    }
    if (this.#fault === 'close-in-data' && this.#input.length > 0) {
      this.#deaf = true
      this.#socket.end()
      return
    }
    if (this.#fault === 'refuse-in-data' && this.#input.length > 0) {
      this.#deaf = true
      this.#socket.end(`451 4.3.0 that is enough${CRLF}`)
      return
    }
    if (this.#fault === 'garbage-in-data' && this.#input.length > 0) {
      this.#deaf = true
      this.settings.socket.write('this is no TLS record')
      return
    }
    const end = `${CRLF}.${CRLF}`
    // An empty message has no line end of its own before the dot.
    const at = this.#input.startsWith(`.${CRLF}`) ? -CRLF.length : this.#input.indexOf(end)
    if (at === -1 || this.#transaction === undefined) return
    const stuffed = this.#input.slice(0, at + CRLF.length)
    this.#input = this.#input.slice(at + end.length)
    this.#inData = false
    const transaction = this.#transaction
    this.#transaction = undefined
    if (this.#fault === 'data-451') {
      this.#reply('451 4.3.0 could not store it')
      return
    }
    if (this.#fault === 'data-554') {
      this.#reply('554 5.6.0 not that')
      return
    }
    this.settings.received({ ...transaction, text: stuffed.replace(/^\./gm, '') })
    if (this.#fault !== 'hang-after-data') this.#reply('250 2.0.0 stored')
    if (this.#fault === 'reset-after-stored') {
      // Behind the reply: what is written first arrives first.
      this.#socket.write('', () => this.settings.socket.resetAndDestroy())
    }
  }
}
