import { metrics } from '../account/metrics.ts';
import { Admission, QueueTable, SeriesReader, SeriesWriter, SharedBudget } from '../shm/index.ts';
import type { FleetTable, SharedMemory } from '../shm/index.ts';

/**
 * Gives back what a dead shard held, so that the totals of the process stay true: endpoint counts, body memory, and in
 * the metrics its leases and its gauges. The thread has ended, so its region of the series has no other writer until its
 * replacement starts.
 */
export function reclaimShard(memory: SharedMemory, fleet: FleetTable, shardIndex: number): void {
  fleet.reclaimShard(shardIndex);
  new SharedBudget(memory, -1).reclaimShard(shardIndex);
  new Admission(memory, -1).reclaimShard(shardIndex);
  new QueueTable(memory, -1).reclaimShard(shardIndex);
  const writer = new SeriesWriter(memory, shardIndex);
  const { counters } = new SeriesReader(memory).collect();
  for (const { metricId, labels, values } of counters) {
    const own = values[shardIndex]!;
    if (own === 0) continue;
    if (gauges.has(metricId)) writer.set(writer.counter(metricId, labels), 0);
    else if (metricId === metrics.leasesTaken.id) writer.set(writer.counter(metrics.leasesGiven.id, labels), own);
  }
}

/** Levels, not sums: what they counted ended with the thread. */
const gauges: ReadonlySet<number> = new Set([
  metrics.queueDepth.id,
  metrics.slabsInUse.id,
  metrics.shardConnections.id,
  metrics.shedLevel.id,
]);
