/**
 * Begins the lookups for a domain while its mail is being queued, so that the delivery finds them done. Nothing rests on it: what
 * is not begun here, or fails, is looked up by the delivery itself. Bounded, for a message and for all of them together, and not
 * begun at all while lookups stand in line: lookups for mail to very many domains at once must not stand there before those
 * that deliveries wait for.
 */

/** Domains of one message. */
export const MOST_OF_ONE_MESSAGE = 50
/** Domains under way at the same time. */
export const MOST_UNDER_WAY = 64

/**
 * @param plan The decision of a delivery; what it found out stays with it.
 * @param isCrowded Whether lookups stand in line.
 * @returns Takes the recipients' domains of one message, in any form and more than once.
 */
export function createAhead(
  plan: (domain: string) => Promise<unknown>,
  isCrowded: () => boolean = () => false,
): (domains: Iterable<string>) => void {
  const underWay = new Set<string>()

  function begin(domain: string): void {
    if (underWay.has(domain) || underWay.size >= MOST_UNDER_WAY || isCrowded()) return
    underWay.add(domain)
    plan(domain)
      .catch(() => undefined)
      .finally(() => underWay.delete(domain))
  }

  return (domains) => {
    for (const domain of [...new Set(domains)].slice(0, MOST_OF_ONE_MESSAGE)) begin(domain)
  }
}
