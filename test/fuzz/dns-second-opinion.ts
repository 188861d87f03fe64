/**
 * What dns-packet reads in a message that our reader takes for whole. It loses its place in types that nobody here asks for and in
 * short TLSA RDATA, and has another way with octets that no host name has; in everything else the two must agree.
 */
import assert from 'node:assert/strict'
import { decode, type Answer } from 'dns-packet'
import type { Message, ResourceRecord } from '../../plugins/dnssec-stub/wire'

export function claimSameAsDnsPacket(octets: Buffer, { answers, authorities }: Message): void {
  const isKnown = [...answers, ...authorities].every(isReadByBoth)
  const isAllRead =
    answers.length === octets.readUInt16BE(6) && authorities.length === octets.readUInt16BE(8)
  const theirs = isKnown && isAllRead ? decoded(octets) : undefined
  if (theirs === undefined) return
  const both = [
    [answers, theirs.answers ?? []],
    [authorities, theirs.authorities ?? []],
  ] as const
  for (const [ours, others] of both) {
    assert.equal(ours.length, others.length, 'another count of records than dns-packet has')
    ours.forEach((record, index) => claimSame(record, others[index]))
  }
}

function isReadByBoth(record: ResourceRecord): boolean {
  return record.type === 'TLSA' ? !record.data.malformed : record.type !== 'other'
}

/** Undefined where dns-packet does not understand it, as in the additional section. */
function decoded(octets: Buffer): ReturnType<typeof decode> | undefined {
  try {
    return decode(octets)
  } catch {
    return undefined
  }
}

function claimSame(ours: ResourceRecord, theirs: Answer | undefined): void {
  assert.ok(theirs !== undefined && 'ttl' in theirs)
  claimSameName(ours.name, theirs.name)
  if (ours.ttl !== 0) assert.equal(theirs.ttl, ours.ttl)
  if (ours.type === 'SOA' || ours.type === 'other') return
  assert.equal(theirs.type, ours.type)
  switch (theirs.type) {
    case 'A':
      return assert.equal(ours.data, theirs.data)
    case 'AAAA':
      assert.ok(ours.type === 'AAAA')
      return assert.deepEqual(addressOf(ours.data), addressOf(theirs.data))
    case 'CNAME':
      assert.ok(ours.type === 'CNAME')
      return claimSameName(ours.data, theirs.data)
    case 'MX':
      assert.ok(ours.type === 'MX' && ours.data.preference === theirs.data.preference)
      return claimSameName(ours.data.exchange, theirs.data.exchange)
    case 'TXT':
      assert.ok(ours.type === 'TXT')
      return assert.deepEqual(
        ours.data,
        Buffer.concat([theirs.data].flat().map((s) => Buffer.from(s))),
      )
    case 'TLSA': {
      assert.ok(ours.type === 'TLSA')
      if (ours.data.malformed) return
      const { usage, selector, matchingType, certificate } = theirs.data
      return assert.deepEqual(
        [ours.data.usage, ours.data.selector, ours.data.matchingType, ours.data.data],
        [usage, selector, matchingType, certificate],
      )
    }
    default:
      assert.fail('a type that dns-packet calls by another name')
  }
}

/** dns-packet writes addresses in another way. */
function addressOf(text: string): string {
  return new URL(`http://[${text}]/`).hostname
}

/** Ours has a backslash before what no host name has; dns-packet's cannot be told apart then. */
function claimSameName(ours: string, theirs: string): void {
  if (!ours.includes('\\')) assert.equal(ours === '' ? '.' : ours, theirs.toLowerCase())
}
