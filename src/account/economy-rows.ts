import type { MetricRow } from './metric-row.ts';

/** Rows of the table in metrics.ts: how fast endpoints answer, what that costs them, and what they could still take. docs/routing.md has the formulas. */
export const economyRows = {
  endpointTtft: {
    name: 'penstock_endpoint_ttft_seconds',
    type: 'gauge',
    unit: 'micros',
    source: 'scrape',
    labels: ['pool', 'endpoint', 'model'],
    help: 'From dispatch to the first piece of a stream, smoothed.',
  },
  endpointTokenRate: {
    name: 'penstock_endpoint_tokens_per_second',
    type: 'gauge',
    unit: 'ratio',
    source: 'scrape',
    labels: ['pool', 'endpoint', 'model'],
    help: 'Of one stream, smoothed; where there are none, of answers that came whole.',
  },
  gpuSeconds: {
    name: 'penstock_gpu_seconds_total',
    type: 'counter',
    unit: 'micros',
    source: 'series',
    labels: ['pool', 'model', 'sku'],
    help: 'Estimated time that endpoints worked for requests: for their prompts, and their part of the time in which answers were written.',
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
    help: 'The best throughput seen of endpoints of the pool with its sku, by weight, forgotten by half in an hour, or completion_rate_max of the pool, less what it does now. Prompts and completions share it.',
  },
} as const satisfies Record<string, MetricRow>;
