/**
 * What a message itself asks of those that pass it on (RFC 8689): REQUIRETLS on its MAIL command, or a `TLS-Required: No` in its
 * header. It is kept in the notes that Haraka's queue keeps with the message, and everything read there may be of any
 * form: other plugins write there as well. Pure.
 */

/** `requiretls-if-possible`: a notification, which the lack of REQUIRETLS must not lose (RFC 8689 §5). */
export type MessageDemand = 'requiretls' | 'requiretls-if-possible' | 'tls-required-no'

/** Under NOTES_KEY in the notes of a transaction and, from there, of the queue file. */
export interface MessageNotes {
  readonly requiretls?: true
  /** The tag was refused, whatever became of the refusal. */
  readonly refused?: true
  readonly tlsRequiredNo?: boolean
}

export const NOTES_KEY = 'tls-policy'

/** @param notes of a transaction, or of a message in the queue. A tag that is not plainly none is one. */
export function readNotes(notes: unknown): MessageNotes {
  const own = propertyOf(notes, NOTES_KEY)
  return {
    ...(isSet(propertyOf(own, 'requiretls')) ? { requiretls: true } : {}),
    ...(isSet(propertyOf(own, 'refused')) ? { refused: true } : {}),
    // It takes protection away, so nothing but the word itself will do.
    ...(propertyOf(own, 'tlsRequiredNo') === true ? { tlsRequiredNo: true } : {}),
  }
}

/** REQUIRETLS is the stronger of the two (RFC 8689 §4.1). */
export function demandOf(notes: unknown, isNotification: boolean): MessageDemand | undefined {
  const { requiretls, tlsRequiredNo } = readNotes(notes)
  if (requiretls) return isNotification ? 'requiretls-if-possible' : 'requiretls'
  return tlsRequiredNo ? 'tls-required-no' : undefined
}

/**
 * @param values of all `TLS-Required` fields of a message's own header, folds and line ends left in. More than one is forbidden
 *   (RFC 8689 §3); it counts where all say the same.
 */
export function headerSaysNo(values: readonly unknown[]): boolean {
  return values.length > 0 && values.every((value) => isNo(value))
}

function isNo(value: unknown): boolean {
  return typeof value === 'string' && /^[ \t\r\n]*no[ \t\r\n]*$/i.test(value)
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== false
}

function propertyOf(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return (value as Readonly<Record<string, unknown>>)[key]
}
