import type { MetricRow } from './metric-row.ts';

/** Rows of metrics.ts: what gateways tell one another. Only where `sharing.url` is given. */
export const sharingRows = {
  sharingUp: {
    name: 'penstock_sharing_up',
    type: 'gauge',
    unit: 'count',
    source: 'scrape',
    labels: [],
    help: 'Where gateways share: 1 while the store is reached, else 0.',
  },
  sharingPeers: {
    name: 'penstock_sharing_peers',
    type: 'gauge',
    unit: 'count',
    source: 'scrape',
    labels: [],
    help: 'Other gateways that were heard of within a second.',
  },
  sharingLag: {
    name: 'penstock_sharing_lag_seconds',
    type: 'histogram',
    unit: 'micros',
    source: 'series',
    labels: [],
    help: 'From a batch being sent to its being read back from the store; other gateways have it then, too.',
    quantiles: [0.5, 0.9, 0.99, 0.999],
  },
  sharingBatches: {
    name: 'penstock_sharing_batches_total',
    type: 'counter',
    unit: 'count',
    source: 'scrape',
    labels: ['event'],
    help: 'Batches sent and received, failed to be sent, and malformed.',
  },
  sharingKeys: {
    name: 'penstock_sharing_keys_total',
    type: 'counter',
    unit: 'count',
    source: 'scrape',
    labels: ['event'],
    help: 'Blocks of prompts sent and received; lost (more than the journals hold), dropped (the store was away), unknown (of endpoints that are not configured here), stale (of a process that has ended).',
  },
} as const satisfies Record<string, MetricRow>;
