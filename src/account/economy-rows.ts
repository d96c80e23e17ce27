import type { MetricRow } from './metric-row.ts';

/** Rows of the table in metrics.ts: what answers cost the endpoints, and what these could still take. docs/routing.md has the formulas. */
export const economyRows = {
  gpuSeconds: {
    name: 'penstock_gpu_seconds_total',
    type: 'counter',
    unit: 'micros',
    source: 'series',
    labels: ['pool', 'model', 'sku'],
    help: 'Estimated time that endpoints worked for requests: prompts, and tokens less what other streams got meanwhile.',
  },
  endpointThroughput: {
    name: 'penstock_endpoint_throughput_tokens_per_second',
    type: 'gauge',
    unit: 'ratio',
    source: 'scrape',
    labels: ['pool', 'endpoint', 'kind'],
    help: 'Tokens of all requests together over the last 10 s; of prompts those that were not cached.',
  },
  endpointHeadroom: {
    name: 'penstock_endpoint_headroom_tokens_per_second',
    type: 'gauge',
    unit: 'ratio',
    source: 'scrape',
    labels: ['pool', 'endpoint', 'kind'],
    help: 'The best throughput seen of the endpoint, forgotten by half in an hour, less what it does now. Prompts and completions share it.',
  },
} as const satisfies Record<string, MetricRow>;
