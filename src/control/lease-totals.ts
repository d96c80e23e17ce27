import { metrics } from '../account/metrics.ts';
import type { SeriesSnapshot } from '../shm/index.ts';

export interface LeaseTotals {
  readonly taken: Record<string, number>;
  readonly given: Record<string, number>;
  /** Taken and not given back; every kind is 0 when the gateway is idle. */
  readonly outstanding: Record<string, number>;
}

/** Leases by kind, over all shards since the start. */
export function leaseTotals({ counters }: Pick<SeriesSnapshot, 'counters'>): LeaseTotals {
  const taken: Record<string, number> = {};
  const given: Record<string, number> = {};
  const outstanding: Record<string, number> = {};
  for (const { metricId, labels, total } of counters) {
    const kind = labels[0] ?? '';
    if (metricId === metrics.leasesTaken.id) taken[kind] = total;
    else if (metricId === metrics.leasesGiven.id) given[kind] = total;
  }
  for (const kind of new Set([...Object.keys(taken), ...Object.keys(given)])) {
    taken[kind] ??= 0;
    given[kind] ??= 0;
    outstanding[kind] = taken[kind] - given[kind];
  }
  return { taken, given, outstanding };
}
