import type { MetricRow } from './metric-row.ts';

/** Rows of the table in metrics.ts: what engines say of themselves. */
export const engineRows = {
  engineHitRatio: {
    name: 'penstock_engine_prefix_hit_ratio',
    type: 'gauge',
    unit: 'ratio',
    source: 'scrape',
    labels: ['pool', 'endpoint'],
    help: 'Prompt tokens the engine had in its prefix cache, of those it looked for in the last one to two minutes, by its own count.',
  },
  modelLoads: {
    name: 'penstock_model_loads_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['pool'],
    help: 'Requests sent to an endpoint that had to load their adapter or model first, as far as was known.',
  },
} as const satisfies Record<string, MetricRow>;
