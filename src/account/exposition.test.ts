import { expect, test } from 'vitest';
import { bucketCount, bucketIndex, createSharedMemory, SeriesReader, SeriesWriter } from '../shm/index.ts';
import { hgrm, renderExposition, summarise } from './exposition.ts';
import type { HistogramSample } from './exposition.ts';
import { histogramCell } from './metric-cells.ts';
import { metrics } from './metrics.ts';

function sampleOf(metricId: number, labels: readonly string[], values: readonly number[]): HistogramSample {
  const counts = new Float64Array(bucketCount);
  for (const value of values) counts[bucketIndex(value)]! += 1;
  return { metricId, labels, sum: values.reduce((sum, value) => sum + value, 0), counts };
}

function linesOf(text: string, start: string): string[] {
  return text.split('\n').filter((line) => line.startsWith(start));
}

test('exposition: when counters and gauges are rendered, each metric has one HELP, one TYPE and then all its samples', () => {
  const text = renderExposition(
    [
      { metricId: metrics.retries.id, labels: ['local', 'connect'], total: 3 },
      { metricId: metrics.uptime.id, labels: [], total: 1_500_000 },
      { metricId: metrics.retries.id, labels: ['paid', '503'], total: 1 },
    ],
    [],
  );
  expect(text).toBe(
    [
      '# HELP penstock_retries_total Attempts made after the first one of an exchange.',
      '# TYPE penstock_retries_total counter',
      'penstock_retries_total{pool="local",reason="connect"} 3',
      'penstock_retries_total{pool="paid",reason="503"} 1',
      '# HELP penstock_uptime_seconds Since the process started.',
      '# TYPE penstock_uptime_seconds gauge',
      'penstock_uptime_seconds 1.5',
      '',
    ].join('\n'),
  );
});

test('exposition: when label values hold quotes, backslashes or line feeds, they are escaped and nothing can be injected', () => {
  const text = renderExposition([{ metricId: metrics.bugs.id, labels: ['a"b\\c\nd} 1'], total: 2 }], []);
  expect(linesOf(text, 'penstock_bug_total')).toEqual(['penstock_bug_total{code="a\\"b\\\\c\\nd} 1"} 2']);
});

test('exposition: when values are not finite, they are written as the format names them', () => {
  const totals = [NaN, Infinity, -Infinity, 1e21, 0.1];
  const text = renderExposition(
    totals.map((total, index) => ({ metricId: metrics.prefixHitRatio.id, labels: [`${index}`], total })),
    [],
  );
  expect(linesOf(text, 'penstock_prefix_hit_ratio').map((line) => line.split(' ')[1])).toEqual([
    'NaN',
    '+Inf',
    '-Inf',
    '1e+21',
    '0.1',
  ]);
});

test('exposition: when a time histogram is rendered, bucket counts are exact, cumulative, and end with _sum and _count', () => {
  const values = [0, 63, 64, 127, 128, 1_000_000, 1e9];
  const text = renderExposition([], [sampleOf(metrics.overhead.id, [], values)]);
  const buckets = linesOf(text, 'penstock_overhead_seconds_bucket');
  expect(buckets[0]).toBe('penstock_overhead_seconds_bucket{le="0.000064"} 2');
  expect(buckets[1]).toBe('penstock_overhead_seconds_bucket{le="0.000128"} 4');
  expect(buckets[2]).toBe('penstock_overhead_seconds_bucket{le="0.000256"} 5');
  expect(buckets.at(-1)).toBe('penstock_overhead_seconds_bucket{le="+Inf"} 7');
  for (const line of buckets.slice(0, -1)) {
    const [, bound = '', count = ''] = /le="([^"]+)"\} (\d+)$/.exec(line) ?? [];
    const below = values.filter((value) => value < Math.round(Number(bound) * 1e6)).length;
    expect(Number(count), line).toBe(below);
  }
  expect(linesOf(text, 'penstock_overhead_seconds_sum')).toEqual(['penstock_overhead_seconds_sum 1001.000382']);
  expect(linesOf(text, 'penstock_overhead_seconds_count')).toEqual(['penstock_overhead_seconds_count 7']);
  expect(text).not.toContain('_quantile');
});

test('exposition: when a size histogram is rendered, a body of exactly 1024 bytes is above le="1023"', () => {
  const text = renderExposition([], [sampleOf(metrics.requestBody.id, ['m'], [1023, 1024, 4095])]);
  const buckets = linesOf(text, 'penstock_request_body_bytes_bucket');
  expect(buckets.slice(0, 3)).toEqual([
    'penstock_request_body_bytes_bucket{model="m",le="255"} 0',
    'penstock_request_body_bytes_bucket{model="m",le="1023"} 1',
    'penstock_request_body_bytes_bucket{model="m",le="4095"} 3',
  ]);
});

test('exposition: when a metric has quantiles, they are a gauge under a name of its own; NaN while nothing was recorded', () => {
  const text = renderExposition(
    [],
    [sampleOf(metrics.ttft.id, ['m', 'p'], [31, 31, 31, 20]), sampleOf(metrics.ttft.id, ['idle', 'p'], [])],
  );
  expect(linesOf(text, '# TYPE')).toEqual([
    '# TYPE penstock_ttft_seconds histogram',
    '# TYPE penstock_ttft_seconds_quantile gauge',
  ]);
  expect(linesOf(text, 'penstock_ttft_seconds_quantile{model="m",pool="p",quantile="0.99"}')).toEqual([
    'penstock_ttft_seconds_quantile{model="m",pool="p",quantile="0.99"} 0.000031',
  ]);
  expect(linesOf(text, 'penstock_ttft_seconds_quantile{model="idle",pool="p",quantile="0.5"}')[0]).toMatch(/ NaN$/);
});

test('exposition: when everything a shard recorded is rendered, every line is a comment or a sample of the format', () => {
  const memory = createSharedMemory({ shardCount: 1, endpointCountMax: 1, bufferedBytesMax: 1024 });
  const writer = new SeriesWriter(memory, 0);
  for (const model of ['a', 'b']) {
    const histogram = histogramCell(writer, metrics.itl, [model, 'p']);
    for (let value = 1; value < 1e6; value *= 3) writer.record(histogram, value);
  }
  const { counters, histograms } = new SeriesReader(memory).collect();
  const text = renderExposition(counters, histograms);
  expect(text.endsWith('\n')).toBe(true);
  const sample = /^[a-z_]+(\{[a-z_]+="(?:[^"\\]|\\.)*"(,[a-z_]+="(?:[^"\\]|\\.)*")*\})? (NaN|[+-]Inf|-?\d[\d.e+-]*)$/;
  for (const line of text.trimEnd().split('\n'))
    expect(line).toMatch(line.startsWith('#') ? /^# (HELP|TYPE) / : sample);
});

test('exposition: when a histogram is exported as hgrm, it has its percentiles in milliseconds and the total count', () => {
  const values = Array.from({ length: 1000 }, (_, index) => (index + 1) * 1000);
  const text = hgrm(sampleOf(metrics.ttft.id, ['m', 'p'], values));
  expect(text).toMatch(/Value\s+Percentile\s+TotalCount\s+1\/\(1-Percentile\)/);
  expect(text).toMatch(/Total count\s*=\s*1000/);
  const median = Number(/^\s*([\d.]+)\s+0\.500/m.exec(text)?.[1]);
  expect(Math.abs(median - 500) / 500).toBeLessThan(0.033);
});

test('exposition: when a histogram is summarised, percentiles lie within a bucket of the exact ones', () => {
  const values = Array.from({ length: 1000 }, (_, index) => (index + 1) * 1000);
  const summary = summarise(sampleOf(metrics.ttft.id, ['m', 'p'], values));
  expect(summary).toMatchObject({
    name: 'penstock_ttft_seconds',
    labels: { model: 'm', pool: 'p' },
    unit: 'ms',
    count: 1000,
    mean: 500.5,
  });
  for (const [name, exact] of Object.entries({ p50: 500, p90: 900, p99: 990, 'p99.9': 999 })) {
    expect(Math.abs(summary.percentiles[name]! - exact) / exact, name).toBeLessThan(0.033);
  }
  expect(summarise(sampleOf(metrics.requestBody.id, ['m'], []))).toMatchObject({
    count: 0,
    mean: 0,
    max: 0,
    unit: 'bytes',
  });
});
