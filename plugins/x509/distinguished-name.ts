/**
 * Distinguished names, as far as they must be compared: common names as text, and RDNs in a form in which equal ones are
 * equal strings (a fair part of RFC 5280 §7.1: string types, case and white space do not matter). Never throws; a name that
 * is not plain DER is `undefined`.
 */
import { readElements, readSequence, TAG, type Element } from './der'

const COMMON_NAME = '550403'

interface Attribute {
  /** The attribute type, as hex. */
  readonly type: string
  readonly value: Element
}

/** The attributes of each RDN, in order. */
function readName(name: Buffer): Attribute[][] | undefined {
  const rdns: Attribute[][] = []
  for (const rdn of readSequence(name) ?? [undefined]) {
    const attributes = rdn?.tag === TAG.set ? readElements(rdn.content)?.map(readAttribute) : []
    const known = attributes?.filter((attribute) => attribute !== undefined)
    if (known === undefined || known.length === 0 || known.length !== attributes?.length)
      return undefined
    rdns.push(known)
  }
  return rdns
}

function readAttribute(element: Element): Attribute | undefined {
  const [type, value, surplus] = readSequence(element.whole) ?? []
  if (type?.tag !== TAG.objectIdentifier || value === undefined || surplus !== undefined)
    return undefined
  return { type: type.content.toString('hex'), value }
}

function textOf({ tag, content }: Element): string | undefined {
  switch (tag) {
    case TAG.utf8String:
      return content.toString('utf8')
    case TAG.printableString:
    case TAG.teletexString:
    case TAG.ia5String:
      return content.toString('latin1')
    case TAG.bmpString:
      return content.length % 2 === 0
        ? Buffer.from(content).swap16().toString('utf16le')
        : undefined
    default:
      return undefined
  }
}

/** The values of all commonName attributes, in order, as text. */
export function commonNames(name: Buffer): string[] {
  return (readName(name) ?? [])
    .flat()
    .filter(({ type }) => type === COMMON_NAME)
    .map(({ value }) => textOf(value))
    .filter((text) => text !== undefined)
}

/** True when the name has an attribute of this type (hex of the object identifier). */
export function hasAttribute(name: Buffer, type: string): boolean {
  return (readName(name) ?? []).flat().some((attribute) => attribute.type === type)
}

/** One string an RDN; undefined for a name that is not plain DER. */
export function comparableRdns(name: Buffer): string[] | undefined {
  return readName(name)?.map((rdn) => rdn.map(comparable).sort().join('+'))
}

function comparable({ type, value }: Attribute): string {
  const text = textOf(value)
  return text === undefined
    ? `${type}#${value.whole.toString('hex')}`
    : `${type}=${JSON.stringify(text.trim().replace(/\s+/g, ' ').toLowerCase())}`
}
