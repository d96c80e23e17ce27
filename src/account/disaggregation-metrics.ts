import type { MetricRow } from './metric-row.ts';

/** Of pools whose prompts are computed elsewhere: rows of the table in metrics.ts. */
export const disaggregationRows = {
  prefillSteps: {
    name: 'penstock_prefill_steps_total',
    type: 'counter',
    unit: 'count',
    source: 'series',
    labels: ['pool', 'outcome'],
    help: 'Attempts in disaggregated pools, by what became of their prompts: `computed` elsewhere; `not_kept` there, because the first token was the last; `refused` or `failed` there; `alone`: one endpoint did both.',
  },
} as const satisfies Record<string, MetricRow>;
