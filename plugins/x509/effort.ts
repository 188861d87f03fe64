/**
 * A purse of time for work that a peer can make long: whatever costs takes its share before it is done, and gets none when the purse
 * is empty. Counts estimates, never the clock: the same certificates have the same fate on every machine.
 */
export class Effort {
  readonly #of: Effort | undefined
  #left: number
  #refused = false

  /**
   * @param microseconds on an ordinary core
   * @param of a larger purse that all of it comes out of
   */
  constructor(microseconds: number, of?: Effort) {
    this.#left = microseconds
    this.#of = of
  }

  /** Takes the share; false where there is not enough left, and then the work must not be done. */
  spend(microseconds: number): boolean {
    if (microseconds > this.#left || this.#of?.spend(microseconds) === false) {
      this.#refused = true
      return false
    }
    this.#left -= microseconds
    return true
  }

  /** True once anything was refused: an answer of "no" may then be wrong. */
  get exhausted(): boolean {
    return this.#refused
  }
}
