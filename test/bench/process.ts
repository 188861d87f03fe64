/** What a running process has used, out of /proc. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** CPU time of all threads so far, in milliseconds; the kernel counts nanoseconds. */
export function cpuOf(pid: number): number {
  const tasks = `/proc/${pid}/task`
  let nanoseconds = 0
  for (const task of readdirSync(tasks)) {
    nanoseconds += Number(readFileSync(join(tasks, task, 'schedstat'), 'utf8').split(' ')[0])
  }
  return nanoseconds / 1e6
}

export interface Memory {
  /** MiB in memory, mapped files included. */
  readonly resident: number
  /** MiB of it that are no file's. */
  readonly anonymous: number
}

export function memoryOf(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const mebibytes = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? NaN) / 1024
  return { resident: mebibytes('VmRSS'), anonymous: mebibytes('RssAnon') }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
