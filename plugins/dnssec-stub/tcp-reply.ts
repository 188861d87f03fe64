/**
 * Replies out of a stream (RFC 1035 §4.2.2), each put together in the one block of octets that its length asks for, when there is
 * room for it. What stands in the stream before that is the sender's to keep. Pure.
 */
import type { Room } from './room'

/** Before each message stands its length. */
export const LENGTH_PREFIX = 2

const NOTHING = Buffer.alloc(0)

export interface Stream {
  readonly pause: () => void
  readonly resume: () => void
}

export interface TcpReplies {
  /** @param chunk may be used for other things afterwards */
  readonly push: (chunk: Buffer) => void
  /** Gives back all room; to be called once. */
  readonly end: () => void
}

export function tcpReplies(
  room: Room,
  stream: Stream,
  received: (octets: Buffer) => void,
): TcpReplies {
  const prefix = Buffer.alloc(LENGTH_PREFIX)
  let inPrefix = 0
  let block: Buffer | undefined
  let filled = 0
  let giveBack: (() => void) | undefined
  /** What had been read when there was no room. */
  let waiting: Buffer | undefined
  let ended = false

  const begin = (): void => {
    block = Buffer.allocUnsafeSlow(prefix.readUInt16BE(0))
    filled = 0
    if (waiting === undefined) return
    const rest = waiting
    waiting = undefined
    stream.resume()
    push(fill(block, rest))
  }
  const readPrefix = (chunk: Buffer): Buffer => {
    const read = chunk.copy(prefix, inPrefix)
    inPrefix += read
    const rest = chunk.subarray(read)
    if (inPrefix < LENGTH_PREFIX) return rest
    giveBack = room.take(prefix.readUInt16BE(0), begin)
    if (block !== undefined) return fill(block, rest)
    waiting = Buffer.from(rest)
    stream.pause()
    return NOTHING
  }
  const fill = (into: Buffer, chunk: Buffer): Buffer => {
    const read = chunk.copy(into, filled)
    filled += read
    if (filled === into.length) {
      block = undefined
      inPrefix = 0
      release()
      received(into)
    }
    return chunk.subarray(read)
  }
  const release = (): void => {
    giveBack?.()
    giveBack = undefined
  }
  function push(chunk: Buffer): void {
    let rest = chunk
    while (rest.length > 0 && !ended) {
      if (waiting !== undefined) {
        waiting = Buffer.concat([waiting, rest])
        return
      }
      rest = block === undefined ? readPrefix(rest) : fill(block, rest)
    }
  }

  return {
    push,
    end() {
      ended = true
      release()
    },
  }
}
