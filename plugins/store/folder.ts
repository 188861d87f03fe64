/**
 * The folder of the LMDB file: made, and given to the user that Haraka becomes, while there is still the right to do so.
 *
 * Promises: only what is ours is touched: a folder that is new, or root's with nothing in it but files of ours, which have no
 * other name. Nothing is followed on the way: what is changed is what was opened. Never throws; what was done, and what could
 * not be done, is a sentence.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { inWords } from './outcome'

export interface Owner {
  readonly uid: number
  readonly gid: number
}

export const FOLDER_MODE = 0o750
export const FILE_MODE = 0o640

const OURS = /^policies\.mdb(?:-lock|\.broken-\d+)?$/
const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants

export interface Prepared {
  /** Something was mended; undefined: nothing had to be. */
  readonly notice?: string
  readonly warning?: string
}

/** @param owner to whom it is given; left out: it stays with who makes it */
export function prepareFolder(folder: string, owner?: Owner): Prepared {
  try {
    const made = makeFolder(folder)
    if (owner === undefined) return {}
    const given = giveAway(folder, owner)
    return given && !made ? { notice: `the folder ${folder} was root's and is now Haraka's` } : {}
  } catch (error) {
    return { warning: `the folder ${folder} cannot be prepared: ${inWords(error)}` }
  }
}

/** @returns whether it was not there */
function makeFolder(folder: string): boolean {
  // The folders above it are for others to pass as well.
  mkdirSync(dirname(folder), { recursive: true })
  try {
    mkdirSync(folder, { mode: FOLDER_MODE })
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

/** @returns whether anything was given away */
function giveAway(folder: string, owner: Owner): boolean {
  const descriptor = openSync(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  try {
    const { uid } = fstatSync(descriptor)
    if (uid === owner.uid) return false
    const others = readdirSync(folder).filter((name) => !OURS.test(name))
    if (uid !== 0) throw new Error(`it belongs to another user (${uid})`)
    if (others.length > 0)
      throw new Error(`it is root's, and holds more than ours (${others[0] ?? ''})`)
    for (const name of readdirSync(folder)) giveFile(join(folder, name), owner)
    fchownSync(descriptor, owner.uid, owner.gid)
    fchmodSync(descriptor, FOLDER_MODE)
    return true
  } finally {
    closeSync(descriptor)
  }
}

function giveFile(path: string, owner: Owner): void {
  const descriptor = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  try {
    const found = fstatSync(descriptor)
    // A file with a second name may be somebody else's under that name.
    if (!found.isFile() || found.nlink !== 1 || found.uid !== 0) return
    fchownSync(descriptor, owner.uid, owner.gid)
    fchmodSync(descriptor, FILE_MODE)
  } finally {
    closeSync(descriptor)
  }
}
