/** A DNS reply as it comes over the wire, with any number of records of one kind: what no well-meaning server would send. */

/** A name in labels, uncompressed. */
export function wireName(name: string): Buffer {
  const labels = name === '' ? [] : name.split('.')
  return Buffer.concat([
    ...labels.map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])),
    Buffer.from([0]),
  ])
}

/** @param code of the type, of question and records alike. @param rdata one entry a record. */
export function rawReply(name: string, code: number, rdata: readonly Buffer[]): Buffer {
  return replyOf(name, code, rdata.length, rawRecords(code, rdata))
}

/** Records whose owner is the name in the question. */
export function rawRecords(code: number, rdata: readonly Buffer[]): Buffer {
  return Buffer.concat(
    rdata.map((data) => {
      const head = Buffer.alloc(12)
      head.writeUInt16BE(0xc00c, 0)
      head.writeUInt16BE(code, 2)
      head.writeUInt16BE(1, 4)
      head.writeUInt32BE(86_400, 6)
      head.writeUInt16BE(data.length, 10)
      return Buffer.concat([head, data])
    }),
  )
}

/** @param records so many, as `rawRecords` makes them, for any name */
export function replyOf(name: string, code: number, count: number, records: Buffer): Buffer {
  const header = Buffer.alloc(12)
  header.writeUInt16BE(0x81a0, 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(count, 6)
  return Buffer.concat([header, wireName(name), Buffer.from([0, code, 0, 1]), records])
}
