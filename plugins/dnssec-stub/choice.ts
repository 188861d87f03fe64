/**
 * Which backend is asked. Promises: under `auto` a backend is left only when it is blind itself or for a stronger one;
 * one that fails is not left for a weaker one, because an attacker who can make lookups fail must not be able to switch
 * validation off. Where nothing validates, that is a state of health, said loudly, and every outcome is insecure.
 */
import type { Usable } from './getdns-process'
import type { ClosableResolver } from './lookup'
import { failure } from './lookup'
import type { Health, Outcome, RecordType, ResolveOptions, Resolver } from './types'

export interface Backend {
  readonly name: 'ad' | 'getdns'
  readonly resolver: ClosableResolver
  /** Is its word on security worth anything? */
  test(): Promise<Health>
  /** What tests say that began after its latest insecure answers; absent where its insecure answers are proofs. */
  confirm?(): Promise<readonly Health[]>
}

export interface ValidatingBackend extends Backend {
  /** Whether it can be had at all on this machine. */
  usable(): Promise<Usable>
}

export interface Candidates {
  /** Every server is trusted; absent where one is not. */
  readonly trusting?: Backend
  /** Absent where not installed. */
  readonly validating?: ValidatingBackend
  /** Fallback: asks the servers, marks every answer insecure. */
  readonly blind: Backend
}

export interface Choice extends Resolver {
  /** Tests and chooses anew. */
  make(): Promise<{ readonly health: Health; readonly hasChanged: boolean }>
  /** What is asked at present; undefined while the first choice is made. */
  current(): Backend | undefined
  /** As the present backend's. */
  confirm(): Promise<readonly Health[]>
  close(): void
}

/** No choice at all. */
export function only(backend: Backend): Choice {
  return {
    resolve: (name, type, options) => backend.resolver.resolve(name, type, options),
    make: async () => ({ health: await backend.test(), hasChanged: false }),
    current: () => backend,
    confirm: () => backend.confirm?.() ?? Promise.resolve([]),
    close: () => backend.resolver.close(),
  }
}

/** `auto`. Lookups wait until the first choice is made. */
export function bestOf(candidates: Candidates): Choice {
  const { trusting, validating, blind } = candidates
  let current: Backend | undefined
  let wasUsable = false
  let chosen: (backend: Backend) => void = () => undefined
  const first = new Promise<Backend>((resolve) => {
    chosen = resolve
  })

  const choose = async (): Promise<{ backend: Backend; health: Health }> => {
    const trusted = await trusting?.test()
    // Through servers that take no EDNS, getdns gets no signatures either, and every lookup would fail.
    const isLast = trusted?.state === 'blind' && trusted.cause === 'no-edns'
    if (trusting !== undefined && trusted !== undefined && (trusted.state !== 'blind' || isLast)) {
      return { backend: trusting, health: trusted }
    }
    const usable = wasUsable ? { ok: true as const } : await validating?.usable()
    if (validating !== undefined && usable?.ok === true) {
      wasUsable = true
      return { backend: validating, health: await validating.test() }
    }
    const health = trusted ?? (await blind.test())
    const why =
      usable?.ok === false ? `getdns cannot be used: ${usable.why}` : 'getdns is not installed'
    return {
      backend: trusting ?? blind,
      health: { ...health, detail: `${health.detail}; ${why}` },
    }
  }

  return {
    async resolve<T extends RecordType>(
      name: string,
      type: T,
      options: ResolveOptions = {},
    ): Promise<Outcome<T>> {
      const backend = current ?? (await unlessAborted(first, options.signal))
      return backend === undefined
        ? failure('aborted', 'aborted')
        : backend.resolver.resolve(name, type, options)
    },
    async make() {
      const { backend, health } = await choose()
      const hasChanged = current !== undefined && current !== backend
      current = backend
      chosen(backend)
      return { health, hasChanged }
    },
    current: () => current,
    confirm: () => current?.confirm?.() ?? Promise.resolve([]),
    close() {
      for (const one of [trusting, validating, blind]) one?.resolver.close()
      chosen(blind)
    },
  }
}

function unlessAborted<R>(promise: Promise<R>, signal?: AbortSignal): Promise<R | undefined> {
  if (signal === undefined) return promise
  if (signal.aborted) return Promise.resolve(undefined)
  return new Promise((resolve) => {
    const abort = (): void => resolve(undefined)
    signal.addEventListener('abort', abort, { once: true })
    const settle = (value?: R): void => {
      signal.removeEventListener('abort', abort)
      resolve(value)
    }
    promise.then(settle, () => settle())
  })
}
