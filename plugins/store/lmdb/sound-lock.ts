/**
 * Whether LMDB's lock works. The last process that closes a file destroys the mutexes of its lock, and the next one makes new
 * ones; a process that opens the file in this very moment goes on with the destroyed ones, and so does whoever comes while it has
 * the file open. No transaction begins then; lmdb-js 3.5 does not look at that, and an `open` that fails leaves the file open.
 * So the file is opened here first, and closed again until its lock works: whoever is alone makes new mutexes.
 */
import * as lmdb from 'lmdb'

/** Of lmdb-js' own, below its `open`. */
interface Env {
  open(options: object, flags: number, jsFlags: number): number
  beginTxn(flags: number): void
  /** 0: it did not begin. */
  getWriteTxnId(): number
  abortTxn(): void
  close(): void
}

/** MDB_NOSUBDIR */
const NO_SUBDIR = 0x4000
/** As lmdb-js' `open` has it: whatever is opened again in this process must be the same. */
const MOST_TABLES = 12
const KEY_BYTES = 2048
/** All who have opened an unsound lock must have closed it before one can make a new one. */
const TRIES = 100
/** Milliseconds between two tries, at most; by chance, so that processes do not keep step. */
const PAUSE = 20

export interface SoundLockOptions {
  readonly mapSize: number
  readonly random?: () => number
}

/**
 * @returns gives the lock back; to be called once the file is open
 * @throws Error where the file cannot be opened, or its lock does not come to work within two seconds
 */
export function soundLock(
  path: string,
  { mapSize, random = Math.random }: SoundLockOptions,
): () => void {
  for (let n = 1; n <= TRIES; n++) {
    const env = openOnce(path, mapSize)
    if (works(env)) {
      return () => {
        env.close()
      }
    }
    env.close()
    pause(random() * PAUSE)
  }
  throw new Error('the lock of the file does not work')
}

function openOnce(path: string, mapSize: number): Env {
  const { Env } = (lmdb as unknown as { nativeAddon: { Env: new () => Env } }).nativeAddon
  const env = new Env()
  const keyBytes = Buffer.alloc(KEY_BYTES)
  const options = { path, mapSize, maxDbs: MOST_TABLES, keyBytes }
  env.open(options, NO_SUBDIR, 0)
  return env
}

function works(env: Env): boolean {
  env.beginTxn(0)
  try {
    return env.getWriteTxnId() > 0
  } finally {
    env.abortTxn()
  }
}

/** A worker that starts has nothing else to do. */
function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}
