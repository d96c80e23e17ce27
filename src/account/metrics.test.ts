import { expect, test } from 'vitest';
import { createSharedMemory, metricCountMax, SeriesReader, SeriesWriter } from '../shm/index.ts';
import { counterCell, histogramCell } from './metric-cells.ts';
import { metricById, metricList, metrics } from './metrics.ts';

// CONTRACT section 5: names and labels dashboards rely on.
const promised: Readonly<Record<string, readonly string[]>> = {
  penstock_requests_total: ['listener', 'model', 'pool', 'status', 'reason'],
  penstock_request_duration_seconds: ['model', 'pool'],
  penstock_overhead_seconds: [],
  penstock_ttft_seconds: ['model', 'pool'],
  penstock_itl_seconds: ['model', 'pool'],
  penstock_tokens_total: ['model', 'pool', 'kind', 'source'],
  penstock_request_body_bytes: ['model'],
  penstock_response_body_bytes: ['model'],
  penstock_inflight_requests: ['pool', 'endpoint'],
  penstock_inflight_tokens: ['pool', 'endpoint'],
  penstock_endpoint_state: ['pool', 'endpoint', 'state'],
  penstock_queue_depth: ['pool', 'priority'],
  penstock_queue_wait_seconds: ['pool', 'priority'],
  penstock_prefix_hit_ratio: ['pool'],
  penstock_prefix_lookups_total: ['pool'],
  penstock_retries_total: ['pool', 'reason'],
  penstock_replay_skipped_total: ['pool', 'reason'],
  penstock_leases_open: ['kind'],
  penstock_buffered_bytes: ['shard'],
  penstock_slabs_in_use: ['shard'],
  penstock_shard_connections: ['shard'],
  penstock_event_loop_lag_seconds: ['shard'],
  penstock_bug_total: ['code'],
};

test('metrics: when the contract names a metric, the table has it with those labels', () => {
  const labelsByName = new Map(metricList.map((row) => [row.name, row.labels]));
  for (const [name, labels] of Object.entries(promised)) expect(labelsByName.get(name), name).toEqual(labels);
});

test('metrics: when the table is walked, names and ids are unique and follow the naming rules of Prometheus', () => {
  expect(new Set(metricList.map(({ name }) => name)).size).toBe(metricList.length);
  expect(metricList.length).toBeLessThanOrEqual(metricCountMax);
  for (const [id, row] of metricList.entries()) {
    expect(row.id).toBe(id);
    expect(metricById(id)).toBe(row);
    expect(row.name).toMatch(/^(penstock|process)_[a-z_]+$/);
    expect(row.name.endsWith('_total'), row.name).toBe(row.type === 'counter');
    if (row.unit === 'micros') expect(row.name).toMatch(/_seconds(_total)?$/);
    if (row.unit === 'bytes') expect(row.name).toMatch(/_bytes$/);
    expect(row.help).toMatch(/[^\n]+\.$/);
    for (const label of row.labels) expect(label).toMatch(/^[a-z_]+$/);
  }
  expect(() => metricById(metricList.length)).toThrow('no such metric');
});

test('metrics: when a cell is made through the table, the compiler checks kind and number of labels', () => {
  const memory = createSharedMemory({ shardCount: 1, endpointCountMax: 1, bufferedBytesMax: 1024 });
  const writer = new SeriesWriter(memory, 0);
  writer.add(counterCell(writer, metrics.retries, ['local', 'connect']), 1);
  writer.record(histogramCell(writer, metrics.overhead, []), 40);
  // @ts-expect-error One label value is missing.
  void (() => counterCell(writer, metrics.retries, ['local']));
  // @ts-expect-error A histogram is not a counter.
  void (() => counterCell(writer, metrics.ttft, ['model', 'local']));
  // @ts-expect-error Control computes this one for each scrape.
  void (() => counterCell(writer, metrics.leasesOpen, ['endpoint']));
  const { counters, histograms } = new SeriesReader(memory).collect();
  expect(counters[0]).toMatchObject({ metricId: metrics.retries.id, labels: ['local', 'connect'], total: 1 });
  expect(histograms[0]).toMatchObject({ metricId: metrics.overhead.id, sum: 40 });
});
