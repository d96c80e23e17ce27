import type { SeriesWriter } from '../shm/series.ts';
import type { Metrics } from './metrics.ts';

/** One label value for each label key of the row, in its order. */
type LabelValues<Keys extends readonly string[]> = { readonly [Key in keyof Keys]: string };

/** Cold: the cell of a counter or gauge in this thread's region; keep it. */
export function counterCell<Row extends Metrics[keyof Metrics]>(
  writer: SeriesWriter,
  metric: Row & { readonly type: 'counter' | 'gauge'; readonly source: 'series' },
  labels: LabelValues<Row['labels']>,
): number {
  return writer.counter(metric.id, labels);
}

/** Cold: the histogram in this thread's region; keep it. */
export function histogramCell<Row extends Metrics[keyof Metrics]>(
  writer: SeriesWriter,
  metric: Row & { readonly type: 'histogram' },
  labels: LabelValues<Row['labels']>,
): number {
  return writer.histogram(metric.id, labels);
}
