import { hgrm, summarise } from '../account/exposition.ts';
import { metricById } from '../account/metrics.ts';
import { maskedConfig } from '../config/index.ts';
import { SeriesReader } from '../shm/index.ts';
import type { HistogramSeries, SeriesSnapshot } from '../shm/index.ts';
import { json } from './admin-server.ts';
import type { AdminAnswer, AdminRoute } from './admin-server.ts';
import type { Control } from './control.ts';
import { dashboardPage, dashboardPolicy } from './dashboard.ts';
import { leaseTotals } from './lease-totals.ts';
import { renderMetrics } from './process-metrics.ts';
import { readiness, status } from './status.ts';

/** What the admin port answers, path by path. Reading never changes anything; the two POSTs are what signals do too. */
export function adminRoutes(control: Control): Readonly<Record<string, AdminRoute>> {
  const reader = new SeriesReader(control.memory);
  const get = (handle: AdminRoute['handle'], isOpen = false): AdminRoute => ({ method: 'GET', handle, isOpen });
  return {
    // The page holds no data; what it asks for needs the token.
    '/': get(
      () => ({
        status: 200,
        contentType: 'text/html; charset=utf-8',
        body: dashboardPage,
        contentSecurityPolicy: dashboardPolicy,
      }),
      true,
    ),
    '/live': get(() => json(200, { live: true, pid: process.pid, name: 'penstock' }), true),
    '/ready': get(() => {
      const answer = readiness(control);
      return json(answer.ready ? 200 : 503, answer);
    }, true),
    '/metrics': get(() => ({
      status: 200,
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
      body: renderMetrics(control, reader.collect()),
    })),
    '/status': get(() => json(200, status(control, reader.collect()))),
    '/exchanges': get(async () => {
      const { exchanges, silentShards } = await control.shards.exchanges();
      return json(200, { exchanges, silent_shards: silentShards });
    }),
    '/leases': get(() => json(200, leaseTotals(reader.collect()))),
    '/histograms': get((query) => histograms(reader.collect(), query)),
    '/config': get(() =>
      json(200, {
        version: control.snapshot.version,
        fingerprint: control.fingerprint,
        config: maskedConfig(control.snapshot.config),
      }),
    ),
    '/reload': {
      method: 'POST',
      handle: async () => {
        const result = await control.reload();
        if (!result.ok) return json(422, { problems: result.problems });
        return json(200, { version: result.version, fingerprint: result.fingerprint, spread_ms: result.spreadMs });
      },
    },
    '/drain': {
      method: 'POST',
      handle: () => {
        void control.drain();
        return json(202, { draining: true });
      },
    },
  };
}

/** `name` and any label of the metric select; without a name every histogram that has values is listed. */
function histograms(series: SeriesSnapshot, query: URLSearchParams): AdminAnswer {
  const format = query.get('format') ?? 'json';
  if (format !== 'json' && format !== 'hgrm') return json(400, { error: 'format is json or hgrm' });
  const name = query.get('name');
  const chosen = series.histograms.filter(({ metricId, labels }) => {
    const metric = metricById(metricId);
    if (name !== null && metric.name !== name) return false;
    return metric.labels.every((key, index) => !query.has(key) || query.get(key) === labels[index]);
  });
  if (format === 'json') return json(200, { histograms: chosen.map((sample) => summarise(sample)) });
  if (name === null) return json(400, { error: 'format=hgrm needs a name' });
  const first = chosen[0];
  if (first === undefined) return json(404, { error: `no values of ${name}` });
  return { status: 200, contentType: 'text/plain; charset=utf-8', body: hgrm(merged(first, chosen)) };
}

/** One distribution over all label values chosen. */
function merged(first: HistogramSeries, all: readonly HistogramSeries[]): HistogramSeries {
  const counts = new Float64Array(first.counts.length);
  let sum = 0;
  for (const series of all) {
    sum += series.sum;
    for (let bucket = 0; bucket < counts.length; bucket++) counts[bucket]! += series.counts[bucket]!;
  }
  return { metricId: first.metricId, labels: first.labels, sum, counts };
}
