import { fail } from '../core/assert.ts';
import { disaggregationRows } from './disaggregation-metrics.ts';
import { kvEventRows } from './kv-event-rows.ts';
import { economyRows } from './economy-rows.ts';
import { engineRows } from './engine-metrics.ts';
import type { MetricRow } from './metric-row.ts';
import { sharingRows } from './sharing-metrics.ts';

/**
 * The one table of metrics. Writers take the id and the label order from it, the exposition takes all of it. A row's id
 * is its position, so one process agrees with itself; nothing outside may store an id.
 *
 * Values are written in the row's unit, as integers where the unit is one, and exposed in base units (Prometheus naming:
 * seconds, bytes). Label values are bounded: `model` is a configured name or `other`, the rest are names of the config
 * or of closed tables.
 *
 * `source` says who supplies the values: `series` are cells and histograms of shm, written as things happen; `scrape`
 * values are computed by control for each scrape from what is kept elsewhere (fleet table, budget, process).
 */
export type { MetricRow, MetricUnit } from './metric-row.ts';

const quantiles = [0.5, 0.9, 0.99, 0.999] as const;

/** `as const` rows: label tuples stay known to the compiler, so a writer with too few label values does not compile. */
const rows = {
  requests: {
    name: 'penstock_requests_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['listener', 'model', 'pool', 'status', 'reason'],
    help: 'Exchanges closed, by status sent (0 = none) and close reason.',
  },
  requestDuration: {
    name: 'penstock_request_duration_seconds',
    type: 'histogram',
    unit: 'micros',
    source: 'series',
    labels: ['model', 'pool'],
    help: 'From the request head to the end of the response.',
    quantiles,
  },
  overhead: {
    name: 'penstock_overhead_seconds',
    type: 'histogram',
    unit: 'micros',
    source: 'series',
    labels: [],
    help: 'Time the gateway itself added between having what routing needs and dispatch.',
  },
  ttft: {
    name: 'penstock_ttft_seconds',
    type: 'histogram',
    unit: 'micros',
    source: 'series',
    labels: ['model', 'pool'],
    help: 'From the request head to the first token of the response.',
    quantiles,
  },
  itl: {
    name: 'penstock_itl_seconds',
    type: 'histogram',
    unit: 'micros',
    source: 'series',
    labels: ['model', 'pool'],
    help: 'Gap between two token events of one stream.',
    quantiles,
  },
  tokens: {
    name: 'penstock_tokens_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['model', 'pool', 'kind', 'source'],
    help: 'Tokens by kind (prompt, completion, cached) and source (reported, estimated).',
  },
  requestBody: {
    name: 'penstock_request_body_bytes',
    type: 'histogram',
    unit: 'bytes',
    source: 'series',
    labels: ['model'],
    help: 'Size of request bodies.',
  },
  responseBody: {
    name: 'penstock_response_body_bytes',
    type: 'histogram',
    unit: 'bytes',
    source: 'series',
    labels: ['model'],
    help: 'Size of response bodies relayed.',
  },
  inflightRequests: {
    name: 'penstock_inflight_requests',
    type: 'gauge',
    unit: 'count',
    source: 'scrape',
    labels: ['pool', 'endpoint'],
    help: 'Exchanges dispatched to the endpoint and not closed yet, over all shards.',
  },
  inflightTokens: {
    name: 'penstock_inflight_tokens',
    type: 'gauge',
    unit: 'count',
    source: 'scrape',
    labels: ['pool', 'endpoint'],
    help: 'Tokens (estimated) of the exchanges in flight to the endpoint.',
  },
  endpointState: {
    name: 'penstock_endpoint_state',
    type: 'gauge',
    unit: 'count',
    source: 'scrape',
    labels: ['pool', 'endpoint', 'state'],
    help: '1 for the state the endpoint is in, else 0.',
  },
  endpointFaults: {
    name: 'penstock_endpoint_faults_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['pool', 'endpoint', 'model', 'fault'],
    help: 'What endpoints did wrong, one an attempt; the kinds are those of docs/health.md.',
  },
  ejections: {
    name: 'penstock_endpoint_ejections_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['pool', 'endpoint', 'model', 'fault'],
    help: 'Times an endpoint was taken out of the pick, by the model and the fault that was the last straw.',
  },
  ...economyRows,
  queueDepth: {
    name: 'penstock_queue_depth',
    type: 'gauge',
    unit: 'count',
    source: 'series',
    labels: ['pool', 'priority'],
    help: 'Requests waiting in the gateway for an endpoint.',
  },
  queueWait: {
    name: 'penstock_queue_wait_seconds',
    type: 'histogram',
    unit: 'micros',
    source: 'series',
    labels: ['pool', 'priority'],
    help: 'Time requests waited in the gateway for an endpoint.',
  },
  queueBytes: {
    name: 'penstock_queue_bytes',
    type: 'gauge',
    unit: 'bytes',
    source: 'scrape',
    labels: ['pool'],
    help: 'Bodies of the requests waiting in the gateway for an endpoint, of queue.bytes_max.',
  },
  prefixHitRatio: {
    name: 'penstock_prefix_hit_ratio',
    type: 'gauge',
    unit: 'ratio',
    source: 'scrape',
    labels: ['pool'],
    help: 'Prefix lookups that found a match, over all lookups since start.',
  },
  ...disaggregationRows,
  ...engineRows,
  prefixLookups: {
    name: 'penstock_prefix_lookups_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['pool'],
    help: 'Lookups in the prefix index.',
  },
  prefixHits: {
    name: 'penstock_prefix_hits_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['pool'],
    help: 'Lookups in the prefix index that found a match.',
  },
  ...sharingRows,
  retries: {
    name: 'penstock_retries_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['pool', 'reason'],
    help: 'Attempts made after the first one of an exchange.',
  },
  replaySkipped: {
    name: 'penstock_replay_skipped_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['pool', 'reason'],
    help: 'Retries not made because the request could not be sent again.',
  },
  oddities: {
    name: 'penstock_upstream_oddities_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['pool', 'kind'],
    help: 'Bytes of endpoints that no working endpoint sends.',
  },
  leasesOpen: {
    name: 'penstock_leases_open',
    type: 'gauge',
    unit: 'count',
    source: 'scrape',
    labels: ['kind'],
    help: 'Leases taken and not given back yet; 0 when idle.',
  },
  leasesTaken: {
    name: 'penstock_leases_taken_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['kind'],
    help: 'Leases taken.',
  },
  leasesGiven: {
    name: 'penstock_leases_given_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['kind'],
    help: 'Leases given back.',
  },
  bufferedBytes: {
    name: 'penstock_buffered_bytes',
    type: 'gauge',
    unit: 'bytes',
    source: 'scrape',
    labels: ['shard'],
    help: 'Body memory held, of limits.buffered_bytes_max.',
  },
  slabsInUse: {
    name: 'penstock_slabs_in_use',
    type: 'gauge',
    unit: 'count',
    source: 'series',
    labels: ['shard'],
    help: 'Slabs of body memory held.',
  },
  heapUsed: {
    name: 'penstock_heap_used_bytes',
    type: 'gauge',
    unit: 'bytes',
    source: 'series',
    labels: ['shard'],
    help: 'Used JavaScript heap of the accept thread, looked at once a second.',
  },
  slabOverdrafts: {
    name: 'penstock_slab_overdrafts_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['shard'],
    help: 'Slabs taken beyond limits.buffered_bytes_max, for bytes that arrived before a pause took effect.',
  },
  shardConnections: {
    name: 'penstock_shard_connections',
    type: 'gauge',
    unit: 'count',
    source: 'series',
    labels: ['shard'],
    help: 'Downstream connections open.',
  },
  connectionsRefused: {
    name: 'penstock_connections_refused_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['listener', 'reason'],
    help: 'Downstream connections closed as they came: connections_max, or per_address.',
  },
  shed: {
    name: 'penstock_shed_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['reason', 'priority'],
    help: 'Requests refused at their head: event_loop, memory (429 shed), requests_max (503 saturated); and by a queue: queue_evicted (429 shed), queue_full, queue_time (503 saturated).',
  },
  shedLevel: {
    name: 'penstock_shed_level',
    type: 'gauge',
    unit: 'count',
    source: 'series',
    labels: ['shard'],
    help: 'For delay of the event loop: up to 100 the percentage of low priority refused, above it that of normal and 100.',
  },
  eventLoopLag: {
    name: 'penstock_event_loop_lag_seconds',
    type: 'histogram',
    unit: 'micros',
    source: 'series',
    labels: ['shard'],
    help: 'How late a timer of the shard fired.',
  },
  bugs: {
    name: 'penstock_bug_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['code'],
    help: 'Contained defects of the gateway; any value above 0 is one.',
  },
  logLinesDropped: {
    name: 'penstock_log_lines_dropped_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: [],
    help: 'Log lines not written because the log could not keep up.',
  },
  seriesOverflow: {
    name: 'penstock_series_overflow_total',
    type: 'counter',
    unit: 'count',
    source: 'scrape',
    labels: [],
    help: 'Series not made for lack of room; their values are counted under the label value other.',
  },
  certificateExpiry: {
    name: 'penstock_certificate_expiry_timestamp_seconds',
    type: 'gauge',
    unit: 'micros',
    source: 'scrape',
    labels: ['listener', 'cert_path'],
    help: 'When a certificate of a listener ends, in seconds since 1970.',
  },
  buildInfo: {
    name: 'penstock_build_info',
    type: 'gauge',
    unit: 'count',
    source: 'scrape',
    labels: ['version', 'uws'],
    help: 'Always 1; the labels say what runs.',
  },
  uptime: {
    name: 'penstock_uptime_seconds',
    type: 'gauge',
    unit: 'micros',
    source: 'scrape',
    labels: [],
    help: 'Since the process started.',
  },
  processResidentMemory: {
    name: 'process_resident_memory_bytes',
    type: 'gauge',
    unit: 'bytes',
    source: 'scrape',
    labels: [],
    help: 'Resident memory of the process.',
  },
  processCpu: {
    name: 'process_cpu_seconds_total',
    type: 'counter',
    unit: 'micros',
    source: 'scrape',
    labels: [],
    help: 'User and system CPU time of the process, all threads.',
  },
  ...kvEventRows,
} as const satisfies Record<string, MetricRow>;

type Rows = typeof rows;
export type Metric<Key extends keyof Rows = keyof Rows> = Rows[Key] & { readonly id: number };
export type Metrics = { readonly [Key in keyof Rows]: Metric<Key> };

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Object.fromEntries forgets which key has which row.
export const metrics = Object.fromEntries(
  Object.entries(rows).map(([key, row], id) => [key, { ...row, id }]),
) as unknown as Metrics;

/** The same rows by id. */
export const metricList: readonly (MetricRow & { readonly id: number })[] = Object.values(metrics);

export function metricById(id: number): MetricRow & { readonly id: number } {
  return metricList[id] ?? fail('no such metric', id);
}
