import type { MetricRow } from './metric-row.ts';

/** Rows of the table in metrics.ts: what the KV events of engines say. docs/kv-events.md */
export const kvEventRows = {
  kvEvents: {
    name: 'penstock_kv_events_total',
    type: 'counter',
    unit: 'count',
    source: 'scrape',
    labels: ['pool', 'endpoint', 'event'],
    help: 'KV events of engines: stored, removed, cleared, other; malformed are messages that could not be read.',
  },
  kvEventGaps: {
    name: 'penstock_kv_event_gaps_total',
    type: 'counter',
    unit: 'count',
    source: 'scrape',
    labels: ['pool', 'endpoint'],
    help: 'Times that batches of KV events did not come.',
  },
  kvEventsMissed: {
    name: 'penstock_kv_event_batches_missed_total',
    type: 'counter',
    unit: 'count',
    source: 'scrape',
    labels: ['pool', 'endpoint'],
    help: 'Batches of KV events that did not come, and could not be had afterwards either.',
  },
  kvEventReplays: {
    name: 'penstock_kv_event_replays_total',
    type: 'counter',
    unit: 'count',
    source: 'scrape',
    labels: ['pool', 'endpoint', 'outcome'],
    help: 'Times that batches were asked for again: complete, or failed.',
  },
  kvEmptied: {
    name: 'penstock_kv_emptied_total',
    type: 'counter',
    unit: 'count',
    source: 'scrape',
    labels: ['pool', 'endpoint', 'cause'],
    help: 'Times that the prefix index was emptied for an endpoint by its KV events: cleared, or restarted.',
  },
  kvPublishers: {
    name: 'penstock_kv_publishers',
    type: 'gauge',
    unit: 'count',
    source: 'scrape',
    labels: ['pool', 'endpoint', 'state'],
    help: 'Publishers of KV events of the endpoint, one for each data parallel rank: connected, or lost.',
  },
  kvFillRatio: {
    name: 'penstock_kv_fill_ratio',
    type: 'gauge',
    unit: 'ratio',
    source: 'scrape',
    labels: ['pool', 'endpoint', 'source'],
    help: 'Of what the KV cache can hold: what it holds by its events (source events, missing while unknown), and what the prefix index believes it holds of prompts sent there (index).',
  },
  kvForeignTokens: {
    name: 'penstock_kv_foreign_tokens_total',
    type: 'counter',
    unit: 'count',
    source: 'scrape',
    labels: ['pool', 'endpoint'],
    help: 'Tokens that the engine stored without anything sent there that explains it: other clients use it, or it evicts sooner than was thought.',
  },
} as const satisfies Record<string, MetricRow>;
