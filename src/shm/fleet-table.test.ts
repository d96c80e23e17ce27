import { expect, test } from 'vitest';
import type { EndpointScrape } from './endpoint-scrape.ts';
import { EndpointState, FleetTable } from './fleet-table.ts';
import { otherRow, wholeRow } from './health-record.ts';
import { createSharedMemory } from './memory.ts';

function tables(endpointCountMax = 4): { control: FleetTable; first: FleetTable; second: FleetTable } {
  const memory = createSharedMemory({ shardCount: 2, endpointCountMax, bufferedBytesMax: 1024 });
  return {
    control: new FleetTable(memory, -1),
    first: new FleetTable(memory, 0),
    second: new FleetTable(memory, 1),
  };
}

function emptyScrape(): EndpointScrape {
  return { queueDepth: -1, runningRequests: -1, kvCacheUsageRatio: -1, scrapedAtMs: -1 };
}

test('fleet-table: when slots are claimed, each is given once, and -1 when all are taken', () => {
  const { control } = tables(3);
  expect([control.claim(), control.claim(), control.claim(), control.claim()]).toEqual([0, 1, 2, -1]);
  expect(control.release(1)).toBe(true);
  expect(control.claim()).toBe(1);
});

test('fleet-table: when a slot was never claimed or was freed, nothing can be taken on it', () => {
  const { control, first } = tables();
  for (const max of [0, 5]) {
    expect(first.tryTakeInflight(2, max)).toBe(false);
    expect(first.tryTakeConnection(2, max)).toBe(false);
  }
  const slot = control.claim();
  control.release(slot);
  expect(first.tryTakeInflight(slot, 0)).toBe(false);
  expect([control.inflight(slot), control.connections(slot)]).toEqual([0, 0]);
  expect(() => control.setState(slot, EndpointState.healthy)).toThrow('slot is claimed');
  expect(() => control.release(slot)).toThrow('slot is claimed');
});

test('fleet-table: when anything is still held on a slot, release declines and takes go on as before', () => {
  const { control, first } = tables();
  const slot = control.claim();
  const holds: [take: () => unknown, give: () => void][] = [
    [() => first.tryTakeInflight(slot, 0), () => first.giveInflight(slot)],
    [() => first.tryTakeConnection(slot, 0), () => first.giveConnection(slot)],
    [() => first.addTokens(slot, 5), () => first.addTokens(slot, -5)],
  ];
  for (const [take, give] of holds) {
    take();
    expect(control.release(slot)).toBe(false);
    expect(first.tryTakeInflight(slot, 2), 'the slot is still open').toBe(true);
    first.giveInflight(slot);
    give();
  }
  expect(control.release(slot)).toBe(true);
});

test('fleet-table: when a slot is claimed again, nothing of the endpoint before is left', () => {
  const { control, first } = tables();
  const slot = control.claim();
  control.publishScrape(slot, { queueDepth: 1, runningRequests: 2, kvCacheUsageRatio: 0.5, scrapedAtMs: 1000 });
  control.setWeight(slot, 7.5);
  first.health.noteTtft(slot, otherRow, 80);
  first.health.coolDown(slot, wholeRow, 1000, 5000);
  expect(control.isEjected(slot, 1000)).toBe(true);
  control.release(slot);
  expect(control.claim()).toBe(slot);
  expect(first.state(slot)).toBe(EndpointState.unhealthy);
  expect(first.isEjected(slot, 1000)).toBe(false);
  expect(first.weight(slot)).toBe(1);
  expect(first.health.ttftMs(slot, otherRow)).toBe(0);
  expect(first.readScrape(slot, emptyScrape())).toBe(false);
});

test('fleet-table: when counts are limited, the limit holds over all shards; 0 is no limit', () => {
  const { control, first, second } = tables();
  const slot = control.claim();
  expect([first.tryTakeInflight(slot, 2), second.tryTakeInflight(slot, 2), first.tryTakeInflight(slot, 2)]).toEqual([
    true,
    true,
    false,
  ]);
  expect(first.tryTakeInflight(slot, 0)).toBe(true);
  expect(control.inflight(slot)).toBe(3);
  expect([first.tryTakeConnection(slot, 1), second.tryTakeConnection(slot, 1)]).toEqual([true, false]);
  expect(control.connections(slot)).toBe(1);
});

test('fleet-table: when a shard gives back what it does not hold, it fails, even if another shard holds it', () => {
  const { control, first, second } = tables();
  const slot = control.claim();
  first.tryTakeInflight(slot, 0);
  first.tryTakeConnection(slot, 0);
  first.addTokens(slot, 100);
  expect(() => second.giveInflight(slot)).toThrow('given back more often');
  expect(() => second.giveConnection(slot)).toThrow('given back more often');
  expect(() => first.addTokens(slot, -101)).toThrow('given back more than taken');
  expect([control.inflight(slot), control.connections(slot), control.inflightTokens(slot)]).toEqual([1, 1, 100]);
  first.giveInflight(slot);
  expect(() => first.giveInflight(slot)).toThrow('given back more often');
});

// Whoever announces bodies of 64 MiB a hundred times would otherwise make the count negative, which ends the thread.
test('fleet-table: when more tokens are counted than a word holds, what does not go in is not, and all of it can be given back', () => {
  const { control, first, second } = tables();
  const slot = control.claim();
  const held = [first, second].map((shard) => ({
    shard,
    tokens: Array.from({ length: 300 }, () => shard.addTokens(slot, 16_777_216)),
    pending: Array.from({ length: 300 }, () => shard.addPending(slot, 18_119_394)),
  }));
  for (const { tokens, pending } of held) {
    expect([tokens[0], tokens.at(-1), pending[0], pending.at(-1)]).toEqual([16_777_216, 0, 18_119_394, 0]);
  }
  expect(control.inflightTokens(slot)).toBeGreaterThan(2_000_000_000);
  expect(control.pendingTokens(slot)).toBeGreaterThan(2_000_000_000);
  for (const { shard, tokens, pending } of held) {
    for (const each of tokens) shard.addTokens(slot, -each);
    for (const each of pending) shard.addPending(slot, -each);
  }
  expect([control.inflightTokens(slot), control.pendingTokens(slot)]).toEqual([0, 0]);
});

test('fleet-table: when a call is not for this thread or slot, it fails instead of writing elsewhere', () => {
  const { control, first } = tables();
  const slot = control.claim();
  expect(() => control.tryTakeInflight(slot, 0)).toThrow('control takes nothing');
  expect(() => first.setState(slot, EndpointState.healthy)).toThrow('only control');
  expect(() => first.release(slot)).toThrow('only control');
  expect(() => first.claim()).toThrow('only control');
  expect(() => first.tryTakeInflight(4, 0), 'beyond the last record come the shadow rows').toThrow(RangeError);
  expect(() => first.health.noteTtft(4, otherRow, 1)).toThrow(RangeError);
  expect(() => first.addTokens(4, 1)).toThrow();
  expect(() => control.addTokens(slot, 1)).toThrow();
});

test('fleet-table: when a scrape was published, readers get it whole, to the microsecond after weeks of uptime', () => {
  const { control, first } = tables();
  const slot = control.claim();
  const out = emptyScrape();
  expect(first.readScrape(slot, out)).toBe(false);
  expect(out).toEqual(emptyScrape());
  const scrape = { queueDepth: 12, runningRequests: 250, kvCacheUsageRatio: 0.873_214, scrapedAtMs: 5_184_000_123.457 };
  control.publishScrape(slot, scrape);
  expect(first.readScrape(slot, out)).toBe(true);
  expect(out).toEqual(scrape);
});
