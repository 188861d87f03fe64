/**
 * A package registry with what stands in this repository's node_modules, in the versions of package-lock.json: enough for
 * a real `npm install` in a network that has no other. Serves nothing that is not installed here.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import { closed } from './daemon'

/** An entry of package-lock.json's `packages`: what npm needs to know of a package, and more. */
interface Locked {
  readonly version?: string
}

const repository = resolve(__dirname, '../../..')
const MODULES = 'node_modules/'

export class Registry {
  private constructor(
    private readonly server: Server,
    private readonly packages: Readonly<Record<string, Locked>>,
  ) {}

  static async start(): Promise<Registry> {
    const text = await readFile(join(repository, 'package-lock.json'), 'utf8')
    const { packages } = JSON.parse(text) as { packages: Record<string, Locked> }
    const server = createServer()
    const registry = new Registry(server, packages)
    server.on('request', (request, response) => {
      registry.#answer(request, response)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return registry
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections()
    await closed(this.server)
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent((request.url ?? '/').slice(1))
    const tarball = /^tarball\/(.+)\.tgz$/.exec(path)?.[1]
    if (tarball !== undefined && tarball in this.packages) {
      pack(join(repository, tarball), response)
      return
    }
    const versions = this.#versions(path)
    const found = Object.keys(versions).length > 0
    response.writeHead(found ? 200 : 404, { 'content-type': 'application/json' })
    const latest = this.packages[MODULES + path]?.version ?? Object.keys(versions)[0]
    response.end(JSON.stringify(found ? { name: path, 'dist-tags': { latest }, versions } : {}))
  }

  #versions(name: string): Record<string, unknown> {
    const versions: Record<string, unknown> = {}
    for (const [path, locked] of Object.entries(this.packages)) {
      const { version } = locked
      if (version === undefined || path.split(MODULES).at(-1) !== name) continue
      versions[version] = { ...locked, name, dist: { tarball: `${this.url}tarball/${path}.tgz` } }
    }
    return versions
  }
}

/** What the folder holds, in the form that npm unpacks. */
function pack(folder: string, response: ServerResponse): void {
  const args = ['-czf', '-', '--transform', 's,^\\.,package,', '--exclude=./node_modules']
  const options = { encoding: 'buffer', maxBuffer: 64 * 2 ** 20 } as const
  execFile('tar', [...args, '-C', folder, '.'], options, (error, tarball) => {
    response.writeHead(error ? 404 : 200).end(error ? undefined : tarball)
  })
}
