/** The operator's tls-policy.ini as it stands on the disk, for the plugin and for the command. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errorText } from './x509/trouble'

export interface OwnFile {
  readonly isThere: boolean
  /** Read as UTF-8, as Haraka reads it; empty where there is no file. */
  readonly text: string
}

export const NO_FILE: OwnFile = { isThere: false, text: '' }

/**
 * @param folder Haraka's `config`
 * @throws Error where it is there and cannot be read: Haraka would go on as if it were not
 */
export function readOwnFile(folder: string): OwnFile {
  const path = join(folder, 'tls-policy.ini')
  try {
    return { isThere: true, text: readFileSync(path, 'utf8') }
  } catch (err: unknown) {
    if (err instanceof Error && 'code' in err && err.code === 'ENOENT') return NO_FILE
    throw new Error(
      `tls-policy.ini cannot be read (${errorText(err)}): ` + "see that Haraka's user may read it",
      { cause: err },
    )
  }
}
