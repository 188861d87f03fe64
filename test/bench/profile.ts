/**
 * `tsx test/bench/profile.ts FILE.cpuprofile …`: where the CPU of a profiled Haraka went (npm run bench -- delivery
 * --cpu-prof=FOLDER): self time by owner; by the function of Haraka, a package or the plugin on whose behalf it was, Node and
 * native code counted to their callers; and by function.
 */
import { readFileSync } from 'node:fs'

interface Profile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: {
      readonly functionName: string
      readonly url: string
      readonly lineNumber: number
    }
    readonly children?: readonly number[]
  }[]
  readonly samples: readonly number[]
  /** Microseconds since the sample before. */
  readonly timeDeltas: readonly number[]
}

const MOST_SHOWN = 40

function summarize(file: string): void {
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(file, 'utf8')) as Profile
  const self = new Map<number, number>()
  for (const [index, sample] of samples.entries()) {
    self.set(sample, (self.get(sample) ?? 0) + (timeDeltas[index] ?? 0) / 1000)
  }
  const [byOwner, byCause, byFunction] = [new Sums(), new Sums(), new Sums()]
  const causes = causesOf(nodes)
  for (const { id, callFrame } of nodes) {
    if (callFrame.functionName === '(idle)') continue
    const ms = self.get(id) ?? 0
    const cause = causes.get(id)
    byOwner.add(ownerOf(callFrame), ms)
    byCause.add(`${placeOf(callFrame)}${cause ? ` <- ${placeOf(cause)}` : ''}`, ms)
    byFunction.add(placeOf(callFrame), ms)
  }
  const total = [...byOwner.values()].reduce((sum, ms) => sum + ms, 0)
  console.log(`${file}: ${total.toFixed(0)} ms of CPU`)
  for (const table of [byOwner, byCause, byFunction]) {
    const rows = [...table].sort(([, a], [, b]) => b - a).slice(0, MOST_SHOWN)
    for (const [name, ms] of rows) {
      console.log(`${((100 * ms) / total).toFixed(1).padStart(6)} %  ${name}`)
    }
    console.log()
  }
}

class Sums extends Map<string, number> {
  add(key: string, ms: number): void {
    this.set(key, (this.get(key) ?? 0) + ms)
  }
}

type Frame = Profile['nodes'][number]['callFrame']

/** For nodes of Node itself or native code: the nearest caller that is neither. */
function causesOf(nodes: Profile['nodes']): ReadonlyMap<number, Frame> {
  const parents = new Map<number, Profile['nodes'][number]>()
  for (const node of nodes) for (const child of node.children ?? []) parents.set(child, node)
  const causes = new Map<number, Frame>()
  for (const { id, callFrame } of nodes) {
    if (!isNodes(callFrame)) continue
    let caller = parents.get(id)
    while (caller && isNodes(caller.callFrame)) caller = parents.get(caller.id)
    if (caller) causes.set(id, caller.callFrame)
  }
  return causes
}

function isNodes({ url }: Frame): boolean {
  return url === '' || url.startsWith('node:')
}

function placeOf({ functionName, url, lineNumber }: Frame): string {
  return `${functionName || '(anonymous)'} ${shortened(url)}:${lineNumber + 1}`
}

function shortened(url: string): string {
  const mark = url.includes('/node_modules/') ? '/node_modules/' : '/dist/'
  return url.slice(url.lastIndexOf(mark) + 1)
}

/** A package, the plugin, a part of Node, or V8. */
function ownerOf({ functionName, url }: Frame): string {
  if (functionName.startsWith('(')) return functionName
  const name = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1]
  if (name !== undefined && name !== 'haraka-plugin-tls-policy') return name
  if (url.includes('/dist/')) return 'the plugin'
  if (url.startsWith('node:'))
    return `Node: ${url.replace(/^node:(internal\/)?/, '').split('/')[0]}`
  return url === '' ? 'Node: native' : url
}

for (const file of process.argv.slice(2)) summarize(file)
