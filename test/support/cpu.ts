/** How much work a piece of code is: other programs on the machine do not count, as they do on a clock. */

/** Milliseconds of processor time that a synchronous piece of code took. */
export function cpuMilliseconds(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}
