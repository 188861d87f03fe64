/**
 * What an error of Redis means, and what to do about it. An error reply is an answer: Redis is there, and one call of ours was
 * refused; it says nothing of the next one. Only silence and broken connections mean that Redis is not reachable.
 */
import { ErrorReply } from 'redis'
import { failed, inWords } from '../outcome'
import type { StoreTrouble, TroubleKind } from '../troubles'

export type RedisTroubleKind = Extract<TroubleKind, `redis-${string}`>

interface Words {
  /** A sentence without its end. */
  readonly says: string
  readonly cure: string
}

const RIGHTS = 'Give its user the rights named in docs/cluster.md (redis-cli ACL SETUSER).'
const MASTER = 'Name the master in [redis], or the Sentinels or the Cluster that know it.'

const WORDS: Readonly<Record<RedisTroubleKind, Words>> = {
  'redis-unreachable': {
    says: 'Redis is not reachable',
    cure: 'Start Redis, or correct host and port in redis.ini or [redis].',
  },
  'redis-untrusted': {
    says: 'Redis shows a certificate that is not trusted',
    cure: "Name the PEM file with its roots as [redis] ca_file, and the certificate's name as servername where it is not the host's.",
  },
  'redis-login': {
    says: 'Redis does not let its user in',
    cure: 'Correct username and password in redis.ini or [redis].',
  },
  'redis-rights': { says: 'Redis denies its user a right', cure: RIGHTS },
  'redis-deaf': {
    says: 'changes by other machines are heard of only minutes later, Redis refuses to tell them',
    cure: RIGHTS,
  },
  'redis-full': {
    says: 'Redis is full and takes nothing new',
    cure: 'Raise its maxmemory, or set maxmemory-policy=volatile-lru.',
  },
  'redis-read-only': { says: 'Redis is a replica and takes nothing new', cure: MASTER },
  'redis-disk': {
    says: 'Redis takes nothing new because it cannot save to its disk',
    cure: 'Make room on the disk of Redis; its own log says more.',
  },
  'redis-replicas': {
    says: 'Redis takes nothing new because it has too few replicas',
    cure: 'Start its replicas, or lower its min-replicas-to-write.',
  },
  'redis-loading': {
    says: 'Redis is still loading its data',
    cure: 'Wait until it is done; its own log says when.',
  },
  'redis-no-master': {
    says: 'Redis has no master for a part of its keys',
    cure: 'See what redis-cli cluster info, or info replication, says, and start the master.',
  },
  'redis-busy': {
    says: 'Redis is busy with a script',
    cure: 'Wait, or end it with redis-cli script kill.',
  },
  'redis-wrong-type': {
    says: 'Redis has something else under a key of ours',
    cure: 'Delete that key, or choose another [store] prefix.',
  },
  'redis-error': { says: 'Redis answers with an error', cure: 'See the log of Redis.' },
  'redis-settings': {
    says: 'Redis is not used',
    cure: 'Correct redis.ini or [redis], and restart Haraka.',
  },
}

/** The word with which an error reply begins. */
const REPLIES: Readonly<Record<string, RedisTroubleKind>> = {
  NOAUTH: 'redis-login',
  WRONGPASS: 'redis-login',
  NOPERM: 'redis-rights',
  OOM: 'redis-full',
  READONLY: 'redis-read-only',
  MISCONF: 'redis-disk',
  NOREPLICAS: 'redis-replicas',
  LOADING: 'redis-loading',
  CLUSTERDOWN: 'redis-no-master',
  MASTERDOWN: 'redis-no-master',
  TRYAGAIN: 'redis-no-master',
  BUSY: 'redis-busy',
  WRONGTYPE: 'redis-wrong-type',
}

/** How older servers, and scripts, word some of them. */
const WORDINGS: readonly (readonly [RegExp, RedisTroubleKind])[] = [
  [/invalid password|AUTH .*without any password/i, 'redis-login'],
  [/can't run this command|no permissions to/i, 'redis-rights'],
  [/\bOOM\b/, 'redis-full'],
  [/\bREADONLY\b|against a read.?only replica/i, 'redis-read-only'],
  [/\bMISCONF\b/, 'redis-disk'],
  [/\bNOREPLICAS\b/, 'redis-replicas'],
  [/\bWRONGTYPE\b/, 'redis-wrong-type'],
]

/** OpenSSL's reasons against a certificate, as Node names them. */
const UNTRUSTED = /SELF_SIGNED|UNABLE_TO_|CERT_|ALTNAME/

export function isAnswer(error: unknown): boolean {
  return error instanceof ErrorReply
}

export function troubleKind(error: unknown): RedisTroubleKind {
  if (isAnswer(error)) {
    const text = inWords(error)
    const known = REPLIES[/^-?([A-Z]+)\b/.exec(text)?.[1] ?? '']
    if (known !== undefined) return known
    return WORDINGS.find(([words]) => words.test(text))?.[1] ?? 'redis-error'
  }
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return UNTRUSTED.test(code) ? 'redis-untrusted' : 'redis-unreachable'
}

/** A sentence without its end, for mail that waits: it names no address. */
export function saying(kind: RedisTroubleKind): string {
  return WORDS[kind].says
}

/** @param meanwhile what happens without it */
export function troubleOf(
  kind: RedisTroubleKind,
  detail: string,
  meanwhile = '',
): StoreTrouble<RedisTroubleKind> {
  const { says, cure } = WORDS[kind]
  const told = failed(`${says} (${detail})${meanwhile === '' ? '' : `; ${meanwhile}`}`).detail
  return { kind, text: told, cure }
}
