/**
 * What has happened so far, in order, and the means to await what comes: every wait in the lab is one on a journal.
 * A wait that runs out says what it waited for and shows the end of the journal.
 */

/** Milliseconds. Long enough for a busy machine; a test that waits on purpose for longer says so. */
export const PATIENCE = 20_000

const SHOWN = 25

export interface WaitOptions {
  /** Milliseconds. */
  readonly timeout?: number
  /** Entries before this index are not looked at; 0 by default. */
  readonly from?: number
}

export class Journal<T> {
  readonly #entries: T[] = []
  readonly #watchers = new Set<() => void>()
  #end: string | undefined

  constructor(
    private readonly title: string,
    private readonly show: (entry: T) => string,
  ) {}

  get entries(): readonly T[] {
    return this.#entries
  }

  add(entry: T): void {
    this.#entries.push(entry)
    this.#wake()
  }

  /** Nothing more will come, and why: waits end at once instead of running out. */
  end(why: string): void {
    this.#end ??= why
    this.#wake()
  }

  /** Looks once more: an entry already in the journal has changed. */
  touch(): void {
    this.#wake()
  }

  #wake(): void {
    for (const look of [...this.#watchers]) look()
  }

  /**
   * The first entry, past or to come, that matches.
   * @param what completes the sentence "waited for …".
   * @throws Error (as rejection) when time runs out or the journal ends.
   */
  waitFor(what: string, matches: (entry: T) => boolean, options: WaitOptions = {}): Promise<T> {
    const { timeout = PATIENCE, from = 0 } = options
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer)
        this.#watchers.delete(look)
        act()
      }
      const fail = (why: string) => {
        settle(() => {
          reject(new Error(`waited for ${what}: ${why}\n${this.tail()}`))
        })
      }
      const look = () => {
        const found = this.#entries.slice(from).find(matches)
        if (found !== undefined) {
          settle(() => {
            resolve(found)
          })
        } else if (this.#end !== undefined) fail(this.#end)
      }
      const timer = setTimeout(() => {
        fail(`nothing in ${timeout} ms`)
      }, timeout)
      this.#watchers.add(look)
      look()
    })
  }

  /** The last entries, for a human. */
  tail(): string {
    const left = this.#entries.length - SHOWN
    const shown = this.#entries.slice(-SHOWN).map((entry) => `  ${this.show(entry)}`)
    const heading = `${this.title}${left > 0 ? ` (${left} earlier entries not shown)` : ''}:`
    return [heading, ...(shown.length > 0 ? shown : ['  (nothing)'])].join('\n')
  }
}
