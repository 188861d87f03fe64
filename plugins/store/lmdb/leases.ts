/** Leases in the LMDB file. */
import type { Access } from './access'
import type { LmdbFile } from './file'
import { failed } from '../outcome'
import { readTimed, writeTimed } from '../timed'
import type { Store } from '../types'

/** Octets of a key in LMDB are limited to 1978; a lease name is short. */
const MAX_NAME = 400

export function leasesIn(access: Access, now: () => number): Pick<Store, 'acquire' | 'release'> {
  return {
    async acquire(name, owner, ttl) {
      if (name.length > MAX_NAME) return failed('not a lease')
      const isFree = ({ leases }: LmdbFile): boolean => {
        const holder = readTimed(leases.get(name), now())
        return holder === undefined || holder === owner
      }
      // A look costs nothing; a transaction would take the lock from other writers.
      const looked = await access.read(isFree)
      if (!looked.ok || !looked.value) return looked
      return access.write((file) => {
        if (!isFree(file)) return false
        file.leases.putSync(name, writeTimed(owner, ttl, now()))
        return true
      })
    },
    async release(name, owner) {
      if (name.length > MAX_NAME) return failed('not a lease')
      return access.write(({ leases }) => {
        if (readTimed(leases.get(name), now()) === owner) leases.removeSync(name)
      })
    },
  }
}
