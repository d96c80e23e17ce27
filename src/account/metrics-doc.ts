import { leaseNames } from '../exchange/index.ts';
import { type MetricRow, metricList } from './metrics.ts';

/** docs/metrics.md, made from the table of metrics; a test holds the file to it. */
export function metricsMarkdown(): string {
  return [
    ...intro,
    '| Name | Type | Labels | Meaning |',
    '| --- | --- | --- | --- |',
    ...metricList.map((row) => `| \`${row.name}\` | ${typeText(row)} | ${labelText(row)} | ${row.help} |`),
    '',
    ...outro,
  ].join('\n');
}

function typeText({ type, quantiles }: MetricRow): string {
  return quantiles === undefined ? type : `${type} + quantiles`;
}

function labelText({ labels }: MetricRow): string {
  return labels.map((label) => `\`${label}\``).join(', ');
}

const intro = [
  '# Metrics',
  '',
  '<!-- Made from src/account/metrics.ts by src/account/metrics-doc.ts: do not edit. UPDATE_DOCS=1 npx vitest run src/account writes it. -->',
  '',
  '`GET /metrics` of the admin port, Prometheus text format 0.0.4. Times are in seconds, sizes in bytes. Values count from the start of the',
  'process, over all shards; a shard that is restarted goes on where it was. A series appears with its first value.',
  '',
] as const;

const outro = [
  '## Labels',
  '',
  'Label sets are bounded: a client cannot add one. What does not fit any more is counted under the value `other`, and',
  '`penstock_series_overflow_total` says so.',
  '',
  '| Label | Values |',
  '| --- | --- |',
  '| `listener`, `pool`, `endpoint` | names and URLs of the configuration; `pool` is empty where an exchange ended before it was routed |',
  '| `model` | a configured model, or `other`; empty where an exchange ended before it was routed |',
  '| `status` | the status the client got; `0` = none |',
  '| `reason` | of `penstock_requests_total`: see [errors.md](errors.md); of retries: `connect`, `reset` or the status that was retried; of skipped replays also `memory` |',
  '| `kind` | of tokens: `prompt`, `completion`, `cached`; of throughput and headroom: `prompt`, `completion`; of leases: ' +
    leaseNames.map((name) => `\`${name}\``).join(', ') +
    '; of oddities: `half_event` and `half_character` at the end of a stream, `after_done` for events behind `[DONE]`, `after_response` for bytes behind a response or on an idle connection, which is then closed |',
  '| `source` | `reported`: the endpoint said so; `estimated`: it did not, and the gateway counted bytes or events |',
  '| `sku` | of an endpoint, from the configuration; empty where it has none |',
  '| `state` | `healthy`, `ejected`, `unhealthy`, `draining`; of publishers of KV events: `connected`, `lost` |',
  '| `shard` | number of the accept thread, from 0 |',
  '',
  '## Histograms and quantiles',
  '',
  'Values are kept in buckets at most 3.2 % wide. `<name>_bucket` shows them a factor of 2 apart (64 µs to 537 s) for times, a factor of 4 (255',
  'bytes to 1 GiB) for sizes; for a P99 that is too coarse, so a histogram *with quantiles* has a second name, the gauge',
  '`<name>_quantile{quantile="0.5"|"0.9"|"0.99"|"0.999"}`, read from the fine buckets. It covers everything since the start and cannot be added up',
  'over gateways: for windows and fleets use `histogram_quantile` over the buckets. `GET /histograms` has the fine distribution.',
  '',
  'What is timed: `penstock_ttft_seconds` runs from the request head to the first piece of an event stream’s body, as it arrives at the',
  'gateway; `penstock_itl_seconds` is the gap between two reads that each completed an event, so several events in one read are one gap.',
  '',
  '## What to watch',
  '',
  '| Alert when | Because |',
  '| --- | --- |',
  '| `penstock_bug_total` rises | a defect of the gateway was contained; the log has the code |',
  '| `sum by (pool) (penstock_endpoint_state{state="healthy"}) == 0` | the pool answers 503 |',
  '| `penstock_buffered_bytes` summed nears `limits.buffered_bytes_max` | intake pauses, then answers 503 `saturated` |',
  '| `penstock_leases_open` stays above 0 without traffic | something is not given back; `GET /exchanges` shows by whom |',
  '| `rate(penstock_requests_total{reason="stream_truncated"}[5m]) > 0` | endpoints end streams early |',
  '| P99 of `penstock_event_loop_lag_seconds` above 0.05 | a shard is overloaded or something blocks it |',
  '',
] as const;
