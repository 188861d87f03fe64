/**
 * What an error of a connection says, in plain words on one line. OpenSSL's own text names a thread, a source file and a line of it,
 * and ends with a newline; an operator needs to know who gave up, and why. Pure, never throws.
 */

/** RFC 8446 §6, RFC 5246 §7.2: what one side tells the other before it goes. */
const ALERTS: ReadonlyMap<number, string> = new Map([
  [0, 'close notify'],
  [10, 'unexpected message'],
  [20, 'bad record MAC'],
  [21, 'decryption failed'],
  [22, 'record overflow'],
  [30, 'decompression failure'],
  [40, 'handshake failure'],
  [41, 'no certificate'],
  [42, 'bad certificate'],
  [43, 'unsupported certificate'],
  [44, 'certificate revoked'],
  [45, 'certificate expired'],
  [46, 'certificate unknown'],
  [47, 'illegal parameter'],
  [48, 'unknown CA'],
  [49, 'access denied'],
  [50, 'decode error'],
  [51, 'decrypt error'],
  [60, 'export restriction'],
  [70, 'protocol version'],
  [71, 'insufficient security'],
  [80, 'internal error'],
  [86, 'inappropriate fallback'],
  [90, 'user canceled'],
  [100, 'no renegotiation'],
  [109, 'missing extension'],
  [110, 'unsupported extension'],
  [112, 'unrecognized name'],
  [113, 'bad certificate status response'],
  [115, 'unknown PSK identity'],
  [116, 'certificate required'],
  [120, 'no application protocol'],
])

const CERTIFICATE_REQUIRED = 116

/** What cures a server's demand for a certificate of ours. */
export const SHOW_A_CERTIFICATE =
  'it demands a client certificate: name its address in mutual_auth_hosts of tls.ini'

/** OpenSSL's reasons that say little without its sources. */
const REASONS: ReadonlyMap<string, string> = new Map([
  ['wrong version number', 'the answer is no TLS (wrong version number)'],
  ['packet length too long', 'the answer is no TLS (packet length too long)'],
  ['unsupported protocol', 'the server has no TLS version that is allowed (unsupported protocol)'],
  ['unexpected eof while reading', 'the server closed the connection without a word of TLS'],
])

const LONGEST = 300

/** @param err whatever was caught or emitted */
export function troubleText(err: unknown): string {
  const text = errorText(err)
  return fromOpenssl(text) ?? plain(text)
}

/** The words of anything that was thrown, as they are. */
export function errorText(err: unknown): string {
  try {
    return err instanceof Error ? err.message : String(err)
  } catch {
    return 'an error without words'
  }
}

function fromOpenssl(text: string): string | undefined {
  const alert = /SSL alert number (\d{1,3})\s*$/.exec(text)?.[1]
  if (alert !== undefined) return alertText(Number(alert))
  // thread:error:code:library:function:reason:file:line:data, of which Node leaves the first out now and then.
  const reason = /(?:^|:)error:[0-9A-F]{8}:[^:]*:[^:]*:([^:]*):/i.exec(text)?.[1]
  if (reason === undefined) return undefined
  return `TLS failed: ${REASONS.get(reason.toLowerCase()) ?? plain(reason)}`
}

function alertText(number: number): string {
  const name = ALERTS.get(number) ?? 'unknown'
  const cure = number === CERTIFICATE_REQUIRED ? `; ${SHOW_A_CERTIFICATE}` : ''
  return `TLS alert ${name} (${number}) from the server${cure}`
}

function plain(text: string): string {
  return text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, LONGEST)
}

/** How Node or OpenSSL calls an error, `ERR_SSL_WRONG_VERSION_NUMBER`; undefined where it has no such name. */
export function troubleCode(err: unknown): string | undefined {
  if (typeof err !== 'object' || err === null || !('code' in err)) return undefined
  const { code } = err
  return typeof code === 'string' && /^[A-Za-z0-9_.-]{1,60}$/.test(code) ? code : undefined
}
