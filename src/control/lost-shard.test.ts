import { expect, test } from 'vitest';
import { counterCell } from '../account/metric-cells.ts';
import { metrics } from '../account/metrics.ts';
import {
  createSharedMemory,
  Fault,
  FleetTable,
  otherRow,
  QueueTable,
  SeriesReader,
  SeriesWriter,
  SharedBudget,
} from '../shm/index.ts';
import { leaseTotals } from './lease-totals.ts';
import { reclaimShard } from './lost-shard.ts';

test('lost shard: when a shard died, what it held is given back, and what others hold stays', () => {
  const memory = createSharedMemory({ shardCount: 2, endpointCountMax: 2, bufferedBytesMax: 1024 * 1024 });
  const control = new FleetTable(memory, -1);
  const slot = control.claim();
  const rule = { consecutiveFailures: 1, baseMs: 1000, maxMs: 1000 };
  const attempt = { slot, row: otherRow, probes: 0, nowMs: 0 };
  new FleetTable(memory, 1).health.noteFault({ ...attempt, fault: Fault.status, rule, modelCount: 1, mayEject: true });
  for (const shardIndex of [0, 1]) {
    const fleet = new FleetTable(memory, shardIndex);
    const writer = new SeriesWriter(memory, shardIndex);
    fleet.tryTakeInflight(slot, 0);
    fleet.addTokens(slot, 100);
    fleet.health.tryTakeProbes(slot, otherRow, 2000);
    fleet.tryTakeConnection(slot, 0);
    new SharedBudget(memory, shardIndex).tryTake(2048);
    new QueueTable(memory, shardIndex).note(3, 1, 2, 5);
    writer.add(counterCell(writer, metrics.leasesTaken, ['endpoint']), 7);
    writer.add(counterCell(writer, metrics.leasesGiven, ['endpoint']), 6);
    writer.add(counterCell(writer, metrics.leasesTaken, ['slab']), 1);
    writer.set(counterCell(writer, metrics.shardConnections, [`${shardIndex}`]), 9);
    writer.add(counterCell(writer, metrics.retries, ['p', 'connect']), 4);
  }
  expect(control.health.isBeingProbed(slot, otherRow), 'by the shard that died').toBe(true);
  reclaimShard(memory, control, 0);
  reclaimShard(memory, control, 0);
  expect(control.health.isBeingProbed(slot, otherRow)).toBe(false);
  expect([control.inflight(slot), control.inflightTokens(slot), control.connections(slot)]).toEqual([1, 100, 1]);
  expect(new SharedBudget(memory, -1).used()).toBe(2048);
  expect([new QueueTable(memory, -1).requests(3), new QueueTable(memory, -1).kib(3)]).toEqual([2, 5]);
  const series = new SeriesReader(memory).collect();
  expect(leaseTotals(series).outstanding).toEqual({ endpoint: 1, slab: 1 });
  const total = (metricId: number, label: string): number =>
    series.counters.find((counter) => counter.metricId === metricId && counter.labels[0] === label)!.total;
  expect(total(metrics.shardConnections.id, '0'), 'a gauge').toBe(0);
  expect(total(metrics.shardConnections.id, '1')).toBe(9);
  expect(total(metrics.retries.id, 'p'), 'a counter').toBe(8);
});
