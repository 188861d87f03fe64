/** How many processes of this Haraka deliver: smtp.ini's `nodes`, as Haraka itself understands it. */
import { cpus } from 'node:os'

export function readWorkers(main: Readonly<Record<string, unknown>> | undefined): number {
  const nodes = main?.['nodes']
  const count = nodes === 'cpus' ? cpus().length : Number(nodes)
  return Number.isInteger(count) && count > 0 ? count : 1
}
