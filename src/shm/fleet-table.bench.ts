import { bench, do_not_optimize, run } from 'mitata';
import { SharedBudget } from './budget.ts';
import { Fault } from './fault.ts';
import { EndpointState, FleetTable } from './fleet-table.ts';
import { createSharedMemory } from './memory.ts';

// What one pick and one exchange cost in the shared tables, without contention.
const memory = createSharedMemory({ shardCount: 2, endpointCountMax: 64, bufferedBytesMax: 2 ** 30 });
const control = new FleetTable(memory, -1);
const table = new FleetTable(memory, 0);
const budget = new SharedBudget(memory, 0);
const nowMs = 1_000_000;
for (let slot = 0; slot < 64; slot++) {
  control.claim();
  control.setState(slot, EndpointState.healthy);
  control.publishScrape(slot, { queueDepth: slot, runningRequests: 3, kvCacheUsageRatio: 0.5, scrapedAtMs: nowMs });
}
const scrape = { queueDepth: 0, runningRequests: 0, kvCacheUsageRatio: 0, scrapedAtMs: 0 };

function isPickable(slot: number): boolean {
  const { health } = table;
  if (table.state(slot) !== EndpointState.healthy || health.isOut(slot, 2, nowMs)) return false;
  return !health.isDistrusted(slot, 2) && health.share(slot, 2, nowMs, 5000) === 1;
}

bench('inflight: take without a maximum, give', () => {
  table.tryTakeInflight(5, 0);
  table.giveInflight(5);
});
bench('inflight: take below a maximum, give', () => {
  table.tryTakeInflight(5, 100);
  table.giveInflight(5);
});
bench('screen: state, isOut, isDistrusted, share', () => do_not_optimize(isPickable(5)));
bench('readScrape', () => do_not_optimize(table.readScrape(5, scrape)));
bench('publishScrape', () => control.publishScrape(5, scrape));
bench('look at 64 endpoints: screen, readScrape, inflight, ttftMs', () => {
  let sum = 0;
  for (let slot = 0; slot < 64; slot++) {
    if (!isPickable(slot) || !table.readScrape(slot, scrape)) continue;
    sum += scrape.queueDepth + table.inflight(slot) + table.health.ttftMs(slot, 2);
  }
  do_not_optimize(sum);
});
bench('noteTtft', () => table.health.noteTtft(5, 2, 120));
const answer = { slot: 5, row: 2, probes: 0, nowMs };
bench('noteAnswer, no fault before', () => table.health.noteAnswer(answer, Fault.slow));
bench('budget: take, give', () => {
  budget.tryTake(16_384);
  budget.give(16_384);
});
await run();
