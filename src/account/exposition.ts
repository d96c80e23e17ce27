import { build } from 'hdr-histogram-js';
import { bucketUpperBound, percentile } from '../shm/histogram.ts';
import { metricById, metricList } from './metrics.ts';
import type { MetricRow, MetricUnit } from './metrics.ts';

/**
 * Metric values as text: Prometheus exposition format 0.0.4, and HDR percentiles for plotting. Pure functions over what
 * `SeriesReader.collect` returned and what control added; they run at scrape time only.
 *
 * Quantiles: a Prometheus name has one type, so `penstock_ttft_seconds` cannot be a histogram and a summary at once, and
 * buckets a factor of two apart are too coarse for a P99 anyway. Metrics with quantiles therefore have a second name,
 * `<name>_quantile{quantile="0.99"}`, a gauge read from the fine buckets (3.2 % wide). It covers all values since start.
 */

/** One value of a counter or gauge in the unit of its row. `CounterSeries` of shm is one. */
export interface ValueSample {
  readonly metricId: number;
  /** As many as the row has label keys, in that order. */
  readonly labels: readonly string[];
  readonly total: number;
}

/** `HistogramSeries` of shm is one. */
export interface HistogramSample {
  readonly metricId: number;
  readonly labels: readonly string[];
  readonly sum: number;
  readonly counts: Float64Array;
}

/** Value written / divisor = value exposed. A division, because 1e-6 has no exact double and would show as 0.0010240000000000002. */
const divisors: Readonly<Record<MetricUnit, number>> = { count: 1, ratio: 1, micros: 1e6, bytes: 1 };

/**
 * Bounds (`le`) are ends of fine buckets, so that the counts under them are exact, none is split by interpolation.
 * Times: 64 us to 537 s, a factor of 2 apart; a recorded time is cut to whole microseconds, so the bound is the bucket's
 * end itself. Sizes: 255 bytes to 1 GiB - 1, a factor of 4 apart, inclusive: a body of exactly 1024 bytes is above 1023.
 */
const exponents: Readonly<Record<MetricUnit, readonly number[]>> = {
  count: range(0, 30, 2),
  ratio: [],
  micros: range(6, 29, 1),
  bytes: range(8, 30, 2),
};

export function renderExposition(values: readonly ValueSample[], histograms: readonly HistogramSample[]): string {
  const valuesById = groupById(values);
  const histogramsById = groupById(histograms);
  const lines: string[] = [];
  for (const metric of metricList) {
    if (metric.type === 'histogram') renderHistograms(lines, metric, histogramsById.get(metric.id) ?? []);
    else renderValues(lines, metric, valuesById.get(metric.id) ?? []);
  }
  return lines.join('\n') + '\n';
}

/** HdrHistogram's percentile table (`.hgrm`): milliseconds for times, bytes for sizes. */
export function hgrm(sample: HistogramSample): string {
  const { unit } = metricById(sample.metricId);
  return hdrOf(sample).outputPercentileDistribution(5, unit === 'micros' ? 1000 : 1);
}

export interface HistogramSummary {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly unit: 'ms' | 'bytes' | 'count';
  readonly count: number;
  readonly mean: number;
  readonly max: number;
  /** Value not exceeded by that percentage, e.g. `p99.9`. */
  readonly percentiles: Readonly<Record<string, number>>;
}

const summaryPercentages = [50, 75, 90, 95, 99, 99.9, 99.99] as const;

/** The same distribution for a JSON answer. */
export function summarise(sample: HistogramSample): HistogramSummary {
  const metric = metricById(sample.metricId);
  const isTime = metric.unit === 'micros';
  const divisor = isTime ? 1000 : 1;
  const count = countOf(sample.counts);
  return {
    name: metric.name,
    labels: Object.fromEntries(metric.labels.map((key, index) => [key, sample.labels[index] ?? ''])),
    unit: isTime ? 'ms' : metric.unit === 'bytes' ? 'bytes' : 'count',
    count,
    mean: count === 0 ? 0 : sample.sum / count / divisor,
    max: percentile(sample.counts, 1) / divisor,
    percentiles: Object.fromEntries(
      summaryPercentages.map((percentage) => [`p${percentage}`, percentile(sample.counts, percentage / 100) / divisor]),
    ),
  };
}

function renderValues(lines: string[], metric: MetricRow, samples: readonly ValueSample[]): void {
  if (samples.length === 0) return;
  pushHead(lines, metric.name, metric.type, metric.help);
  for (const sample of samples) {
    const value = sample.total / divisors[metric.unit];
    lines.push(`${metric.name}${braced(labelText(metric.labels, sample.labels))} ${numberText(value)}`);
  }
}

function renderHistograms(lines: string[], metric: MetricRow, samples: readonly HistogramSample[]): void {
  if (samples.length === 0) return;
  const divisor = divisors[metric.unit];
  pushHead(lines, metric.name, 'histogram', metric.help);
  for (const sample of samples) {
    const labels = labelText(metric.labels, sample.labels);
    const prefix = labels === '' ? '' : `${labels},`;
    let index = 0;
    let cumulative = 0;
    for (const exponent of exponents[metric.unit]) {
      const bound = 2 ** exponent;
      while (index < sample.counts.length && bucketUpperBound(index) < bound) cumulative += sample.counts[index++]!;
      const shown = (metric.unit === 'micros' ? bound : bound - 1) / divisor;
      lines.push(`${metric.name}_bucket{${prefix}le="${numberText(shown)}"} ${cumulative}`);
    }
    while (index < sample.counts.length) cumulative += sample.counts[index++]!;
    lines.push(`${metric.name}_bucket{${prefix}le="+Inf"} ${cumulative}`);
    lines.push(`${metric.name}_sum${braced(labels)} ${numberText(sample.sum / divisor)}`);
    lines.push(`${metric.name}_count${braced(labels)} ${cumulative}`);
  }
  if (metric.quantiles === undefined) return;
  pushHead(lines, `${metric.name}_quantile`, 'gauge', `Quantiles since start of ${metric.name}.`);
  for (const sample of samples) {
    const labels = labelText(metric.labels, sample.labels);
    const prefix = labels === '' ? '' : `${labels},`;
    const isEmpty = countOf(sample.counts) === 0;
    for (const quantile of metric.quantiles) {
      const value = isEmpty ? NaN : percentile(sample.counts, quantile) / divisor;
      lines.push(`${metric.name}_quantile{${prefix}quantile="${quantile}"} ${numberText(value)}`);
    }
  }
}

/** Three digits are more than the fine buckets hold (3.2 %), so that the conversion adds no error of its own. */
function hdrOf(sample: HistogramSample): ReturnType<typeof build> {
  const hdr = build({
    bitBucketSize: 64,
    lowestDiscernibleValue: 1,
    highestTrackableValue: 2 ** 42,
    numberOfSignificantValueDigits: 3,
  });
  for (let index = 0; index < sample.counts.length; index++) {
    const count = sample.counts[index]!;
    if (count > 0) hdr.recordValueWithCount(bucketUpperBound(index), count);
  }
  return hdr;
}

function pushHead(lines: string[], name: string, type: string, help: string): void {
  lines.push(`# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`, `# TYPE ${name} ${type}`);
}

function labelText(keys: readonly string[], labelValues: readonly string[]): string {
  return keys.map((key, index) => `${key}="${escapeLabel(labelValues[index] ?? '')}"`).join(',');
}

function braced(labels: string): string {
  return labels === '' ? '' : `{${labels}}`;
}

/** Format 0.0.4: backslash, double quote and line feed are escaped, everything else is UTF-8 as it is. */
function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  if (Number.isNaN(value)) return 'NaN';
  return value > 0 ? '+Inf' : '-Inf';
}

function countOf(counts: Float64Array): number {
  let total = 0;
  for (const count of counts) total += count;
  return total;
}

function groupById<Sample extends { readonly metricId: number }>(samples: readonly Sample[]): Map<number, Sample[]> {
  const groups = new Map<number, Sample[]>();
  for (const sample of samples) {
    const group = groups.get(sample.metricId);
    if (group === undefined) groups.set(sample.metricId, [sample]);
    else group.push(sample);
  }
  return groups;
}

function range(first: number, last: number, step: number): number[] {
  return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, index) => first + index * step);
}
