import { metrics } from '../../account/metrics.ts';
import type { Snapshot } from '../../shard/protocol.ts';
import type { KvEvents } from './kv-events.ts';

type Add = (metric: { readonly id: number }, labels: readonly string[], total: number) => void;

/** The values of `GET /metrics` that come from KV events; none for endpoints whose events are not followed. */
export function addKvEventSamples(kvEvents: KvEvents, { config, endpointSlots }: Snapshot, add: Add): void {
  for (const [poolIndex, pool] of config.pools.entries()) {
    for (const [index, { url }] of pool.endpoints.entries()) {
      const status = kvEvents.status(endpointSlots[poolIndex]![index]!);
      if (status === null) continue;
      const labels = [pool.name, url];
      for (const [event, count] of Object.entries(status.events)) add(metrics.kvEvents, [...labels, event], count);
      add(metrics.kvEventGaps, labels, status.gaps);
      add(metrics.kvEventsMissed, labels, status.missed_batches);
      for (const [outcome, count] of Object.entries(status.replays))
        add(metrics.kvEventReplays, [...labels, outcome], count);
      for (const [cause, count] of Object.entries(status.emptied)) add(metrics.kvEmptied, [...labels, cause], count);
      add(metrics.kvPublishers, [...labels, 'connected'], status.connected);
      add(metrics.kvPublishers, [...labels, 'lost'], status.publishers - status.connected);
      add(metrics.kvForeignTokens, labels, status.foreign_tokens);
      const { capacity_tokens: capacity, fill_tokens: fill, believed_tokens: believed } = status;
      if (capacity === null || capacity === 0) continue;
      if (fill !== null) add(metrics.kvFillRatio, [...labels, 'events'], fill / capacity);
      if (believed !== null) add(metrics.kvFillRatio, [...labels, 'index'], believed / capacity);
    }
  }
}
