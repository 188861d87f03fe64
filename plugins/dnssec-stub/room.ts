/**
 * Octets of memory that are shared by all who need some for a while: those who find too few wait in line. Pure.
 */

export interface Room {
  /**
   * @param octets no more than there are at all
   * @param begin called at once where they are free, or as soon as they are
   * @returns gives them back, or leaves the line; to be called once
   */
  take(octets: number, begin: () => void): () => void
}

export function room(most: number): Room {
  let taken = 0
  const line = new Set<{ readonly octets: number; readonly begin: () => void }>()

  const admit = (): void => {
    for (const next of line) {
      if (taken + next.octets > most) return
      line.delete(next)
      taken += next.octets
      next.begin()
    }
  }
  return {
    take(octets, begin) {
      const wish = { octets, begin }
      line.add(wish)
      admit()
      return () => {
        if (!line.delete(wish)) taken -= octets
        admit()
      }
    },
  }
}
