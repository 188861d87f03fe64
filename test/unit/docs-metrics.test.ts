import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { METRICS_PATH } from '../../plugins/telemetry/metrics-http'
import { findPromClient, prometheusMetrics } from '../../plugins/telemetry/metrics-prometheus'
import { refusedEnd } from '../support/session-ends'
import { REASONS } from '../../plugins/reasons/catalogue'
import { docsFolder, plainText, readPage, tableRows } from '../support/docs-pages'

interface Known {
  readonly type: string
  readonly labels: ReadonlySet<string>
}

/** Every metric that there is, after each was used once. */
async function metricsInCode(): Promise<ReadonlyMap<string, Known>> {
  const client = findPromClient()
  assert.ok(client)
  const metrics = prometheusMetrics(client, 0)
  metrics.measure({
    about: () => ({ version: '1.0.0', mode: 'enforce', store: 'lmdb', resolver: 'ad' }),
    endedExceptions: () => 0,
    resolverState: () => 'validating',
    storeTroubles: () => ['redis-full'],
    policies: () => Promise.resolve([{ mode: 'enforce', held: 1, expiring: 1 }]),
  })
  metrics.decided('hosts', 1)
  metrics.ended(refusedEnd({ session: { stage: 'tls', peer: '192.0.2.1', seconds: 1 } }))
  metrics.policyLookedUp('warm', 'sts-txt-invalid')
  metrics.policyUnavailable('sts-policy-fetch-error')
  metrics.policyFetched('refresh', 'ok', 1)
  metrics.storeFailed('redis-full')
  metrics.reportSession('tlsa', 'success')
  metrics.reportFailure('validation-failure')
  metrics.reportLost('store', 1)
  const snapshot = (await metrics.snapshot()) as unknown as readonly {
    readonly name: string
    readonly type: string
    readonly values: readonly { readonly labels: Readonly<Record<string, string>> }[]
  }[]
  return new Map(
    snapshot.map(({ name, type, values }) => {
      const labels = values.flatMap((value) => Object.keys(value.labels))
      return [name, { type, labels: new Set(labels.filter((label) => label !== 'worker')) }]
    }),
  )
}

/** Metrics and label matchers of a PromQL expression. */
function usesOf(expression: string): readonly { metric: string; labels: readonly string[] }[] {
  return [...expression.matchAll(/(haraka_tls_policy_\w+)(?:\{([^}]*)\})?/g)].map((match) => ({
    metric: match[1] ?? '',
    labels: [...(match[2] ?? '').matchAll(/(\w+)(?:=~|!~|!=|=)"([^"]*)"/g)].map(
      ([, label]) => label ?? '',
    ),
  }))
}

function assertKnown(expression: string, known: ReadonlyMap<string, Known>): void {
  for (const { metric, labels } of usesOf(expression)) {
    const base = metric.replace(/_(?:bucket|sum|count)$/, '')
    const found = known.get(metric) ?? known.get(base)
    assert.ok(found, `${metric} exists: ${expression}`)
    for (const label of labels) {
      if (label === 'instance' || label === 'worker') continue
      assert.ok(found.labels.has(label), `${metric} has the label ${label}`)
    }
  }
  for (const [, reason] of expression.matchAll(/reason="([^"]+)"/g)) {
    assert.ok(reason !== undefined && Object.hasOwn(REASONS, reason), `${reason} is a reason`)
  }
}

const page = readPage('metrics.md')
const alerts = readFileSync(join(docsFolder, 'alerts.yml'), 'utf8')

describe('docs/metrics.md', () => {
  it('has every metric with its type and labels, and no other', async () => {
    const inCode = [...(await metricsInCode())].map(([name, { type, labels }]) => [
      name,
      type,
      [...labels].filter((label) => label !== 'le').sort(),
    ])
    const inPage = tableRows(page)
      .filter(([name]) => name?.startsWith('`haraka_'))
      .map(([name = '', type = '', labels = '']) => [
        plainText(name),
        type,
        plainText(labels).split(', ').filter(Boolean).sort(),
      ])
    assert.deepEqual(inPage.sort(), inCode.sort())
  })

  it('names the path at which the metrics are', () => {
    assert.ok(page.includes(`http://127.0.0.1:8080${METRICS_PATH}`))
    assert.ok(page.includes(`metrics_path: ${METRICS_PATH}`))
  })

  it('tells of every alert what to do, and of no other', () => {
    const rules = [...alerts.matchAll(/- alert: (\w+)/g)].map(([, name]) => name)
    const told = tableRows(page)
      .map(([name = '']) => plainText(name))
      .filter((name) => name.startsWith('TlsPolicy'))
    assert.ok(rules.length > 0)
    assert.deepEqual([...told].sort(), [...rules].sort())
  })
})

describe('docs/alerts.yml', () => {
  it('asks for metrics, labels and reasons that there are', async () => {
    const known = await metricsInCode()
    const rules = alerts.split(/- alert: /).slice(1)
    for (const rule of rules) {
      const expression = /expr: ([\s\S]*?)\n +(?:for|labels):/.exec(rule)?.[1] ?? ''
      assert.ok(usesOf(expression).length > 0, rule)
      assertKnown(expression, known)
      assert.match(rule, /severity: (?:critical|warning)/)
      assert.match(rule, /summary: .+\n +description: .+/)
    }
  })
})

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly gridPos: Readonly<Record<'x' | 'y' | 'w' | 'h', number>>
  readonly targets: readonly { readonly refId: string; readonly expr: string }[]
}

interface Dashboard {
  readonly uid: string
  readonly title: string
  readonly schemaVersion: number
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { readonly name: string }[] }
}

describe('docs/dashboard.json', () => {
  const text = readFileSync(join(docsFolder, 'dashboard.json'), 'utf8')
  const dashboard = JSON.parse(text) as Dashboard

  it('is a dashboard as Grafana takes it: uid, title, panels that do not overlap', () => {
    assert.match(dashboard.uid, /^[\w-]{1,40}$/)
    assert.ok(dashboard.title.length > 0)
    assert.ok(dashboard.schemaVersion >= 36)
    const ids = dashboard.panels.map(({ id }) => id)
    assert.equal(new Set(ids).size, ids.length)
    const taken = new Set<string>()
    for (const { title, gridPos } of dashboard.panels) {
      const { x, y, w, h } = gridPos
      assert.ok(x + w <= 24, title)
      for (let column = x; column < x + w; column += 1) {
        for (let row = y; row < y + h; row += 1) {
          const cell = `${column}/${row}`
          assert.ok(!taken.has(cell), `${title} lies over another panel`)
          taken.add(cell)
        }
      }
    }
  })

  it('each panel asks for metrics and labels that there are, on the chosen machines', async () => {
    const known = await metricsInCode()
    const variables = dashboard.templating.list.map(({ name }) => name)
    assert.deepEqual(variables, ['datasource', 'instance'])
    for (const { title, targets } of dashboard.panels) {
      assert.ok(targets.length > 0, title)
      for (const { expr } of targets) {
        assert.ok(usesOf(expr).length > 0, title)
        assertKnown(expr, known)
        for (const { labels } of usesOf(expr)) assert.ok(labels.includes('instance'), expr)
      }
    }
  })

  it('shows every metric', async () => {
    for (const name of (await metricsInCode()).keys()) assert.ok(text.includes(name), name)
  })
})
