/**
 * Metrics as Haraka's HTTP listener serves them: only where that is on (http.ini, listen) and prom-client is installed.
 * Otherwise nothing is loaded and nothing is counted.
 */
import cluster from 'node:cluster'
import { NO_METRICS } from './metrics'
import type { Metrics } from './metrics'
import { gatherMetrics, relayMetrics } from './metrics-page'
import { findPromClient, prometheusMetrics } from './metrics-prometheus'
import type { PrometheusMetrics, Snapshot } from './metrics-prometheus'

/** Of its own, because Haraka's listener belongs to all plugins. */
export const METRICS_PATH = '/tls-policy/metrics'

/** What is used of express. */
export interface HttpApp {
  get(path: string, handler: (request: unknown, response: HttpResponse) => void): unknown
}
export interface HttpResponse {
  status(code: number): HttpResponse
  type(mediaType: string): HttpResponse
  send(body: string): unknown
}

export interface MetricsService {
  readonly metrics: Metrics
  /** In the master of a cluster, before its workers start. */
  relay(): void
  /** Before another plugin or Haraka's own "not found" takes the path. */
  serve(app: HttpApp): void
}

export interface MetricsOptions {
  /** Whether http.ini has Haraka listen. */
  readonly httpOn: boolean
  readonly notice: (sentence: string) => void
  readonly findClient?: typeof findPromClient
}

const OFF: MetricsService = {
  metrics: NO_METRICS,
  relay: () => undefined,
  serve: () => undefined,
}

export function createMetricsService(options: MetricsOptions): MetricsService {
  const { httpOn, notice, findClient = findPromClient } = options
  if (!httpOn) return OFF
  const client = findClient()
  if (client === undefined) {
    notice('there are no metrics, because prom-client is not installed: npm install prom-client')
    return OFF
  }
  const metrics = prometheusMetrics(client, cluster.worker?.id ?? 0)
  return {
    metrics,
    relay() {
      relayMetrics(cluster)
    },
    serve(app) {
      const own = () => metrics.snapshot()
      let gather: () => Promise<readonly Snapshot[]> = async () => [await own()]
      if (cluster.isWorker) {
        const gathering = gatherMetrics(process, own)
        gather = () => gathering.gather()
      }
      app.get(METRICS_PATH, (_request, response) => {
        answer(metrics, gather, response)
      })
      notice(`metrics for Prometheus are at ${METRICS_PATH}`)
    },
  }
}

function answer(
  metrics: PrometheusMetrics,
  gather: () => Promise<readonly Snapshot[]>,
  response: HttpResponse,
): void {
  gather()
    .then((snapshots) => metrics.page(snapshots))
    .then(
      (page) => response.status(200).type(metrics.contentType).send(page),
      // Nothing about the inside goes to whoever asks.
      () => response.status(500).type('text/plain').send('the metrics could not be had\n'),
    )
    .catch(() => undefined)
}
