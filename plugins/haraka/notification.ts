/**
 * What a message asks of its way (RFC 8689), brought into the queue: the header of every message is read here, whoever queues it; and
 * a notification gets what its message had (RFC 8689 §5), and a Status for each recipient (RFC 3464 §2.3.4).
 * Notes of an injection are written into a copy: the same ones may come with each message.
 */
import { demandOf, headerSaysNo, NOTES_KEY, readNotes } from '../requiretls/demand'
import type { MessageDemand, MessageNotes } from '../requiretls/demand'
import { isReport } from './inject'
import type { QueueHandlers } from './seam'
import type { HarakaTransaction, HMailItem, Recipient } from './types'

export const FIELD = 'TLS-Required'

export const queueHandlers: QueueHandlers = {
  queued(transaction, bounced) {
    const before = readNotes(transaction.notes)
    const isTagged =
      before.requiretls === true || (bounced && readNotes(notesOf(bounced)).requiretls)
    const saysNo = headerSaysNo(fieldsOf(transaction))
    if (
      Boolean(isTagged) === Boolean(before.requiretls) &&
      saysNo === Boolean(before.tlsRequiredNo)
    ) {
      return
    }
    const tags = { ...(isTagged ? { requiretls: true as const } : {}), tlsRequiredNo: saysNo }
    transaction.notes = withOurs(transaction.notes, tags)
  },
  bouncing({ todo }) {
    for (const recipient of todo.rcpt_to) recipient.dsn_status ??= statusOf(recipient)
  },
  notified(hmail, lines) {
    if (demandOf(notesOf(hmail), false) === 'tls-required-no') lines.unshift(`${FIELD}: No\r\n`)
  },
}

/** Haraka's own notes are made anew for each transaction, and have methods; plain ones are those of an injection. */
function withOurs(notes: unknown, ours: MessageNotes): unknown {
  // An array would lose them in the JSON of the queue.
  if (typeof notes !== 'object' || notes === null || Array.isArray(notes)) {
    return { [NOTES_KEY]: ours }
  }
  const isPlain = Object.getPrototypeOf(notes) === Object.prototype
  const before = (notes as Readonly<Record<string, unknown>>)[NOTES_KEY]
  const others = typeof before === 'object' ? before : {}
  return Object.assign(isPlain ? { ...notes } : notes, { [NOTES_KEY]: { ...others, ...ours } })
}

/**
 * What a message in the queue asks; a notification is one by its empty sender.
 * @param honour whether an author's `TLS-Required: No` is heeded; that of a report of ours always is (RFC 8460 §3)
 */
export function demandOfMail(
  hmail: Pick<HMailItem, 'todo'>,
  honour: boolean,
): MessageDemand | undefined {
  const { todo } = hmail
  const demand = demandOf(todo.notes, !todo.mail_from?.user)
  const isHeeded = honour || isReport(hmail)
  return demand === 'tls-required-no' && !isHeeded ? undefined : demand
}

function notesOf({ todo }: HMailItem): unknown {
  return todo.notes
}

/** A header that cannot be read asks for nothing: the policies hold. */
function fieldsOf({ header }: HarakaTransaction): readonly unknown[] {
  try {
    const values = header?.get_all(FIELD)
    return Array.isArray(values) ? values : []
  } catch {
    return []
  }
}

/** Haraka leaves it out where it does not understand the host's own code, as with two digits in 5.7.30. */
function statusOf({ dsn_smtp_code, dsn_smtp_response, dsn_code }: Recipient): string {
  const [own] = /^[245]\.\d{1,3}\.\d{1,3}(?!\S)/.exec(textOf(dsn_smtp_response)) ?? []
  if (own !== undefined) return own
  const [kind] = /^[245]/.exec(textOf(dsn_smtp_code) || textOf(dsn_code)) ?? []
  return `${kind ?? '5'}.0.0`
}

function textOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}
