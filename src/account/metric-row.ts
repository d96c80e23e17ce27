/** A row of the table in metrics.ts, which says how its values are written and read. */
export type MetricUnit = 'count' | 'ratio' | 'micros' | 'bytes';

export interface MetricRow {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly unit: MetricUnit;
  readonly source: 'series' | 'scrape';
  readonly labels: readonly string[];
  readonly help: string;
  /** Of a histogram: also exposed as gauges, see exposition.ts. */
  readonly quantiles?: readonly number[];
}
