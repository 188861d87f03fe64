import fc from 'fast-check'

/** Any character of Unicode. As fast-check's own unit 'binary', which first takes two seconds to make a table of all of them. */
export const codePoint = fc
  .integer({ min: 0, max: 0x10ffff - 0x800 })
  .map((n) => String.fromCodePoint(n < 0xd800 ? n : n + 0x800))
