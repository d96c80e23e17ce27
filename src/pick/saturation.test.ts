import { expect, test } from 'vitest';
import { createSharedMemory, FleetTable } from '../shm/index.ts';
import { Saturation } from './saturation.ts';

function fleet() {
  const memory = createSharedMemory({ shardCount: 2, endpointCountMax: 1, bufferedBytesMax: 1024 });
  const control = new FleetTable(memory, -1);
  const slot = control.claim();
  const shards = [new FleetTable(memory, 0), new FleetTable(memory, 1)] as const;
  const say = (runningRequests: number, queueDepth: number, kvCacheUsageRatio = 0): void =>
    control.publishScrape(slot, { runningRequests, queueDepth, kvCacheUsageRatio, scrapedAtMs: 1000 });
  const send = (count: number): void => {
    for (let number = 0; number < count; number++) shards[number % 2]!.tryTakeInflight(slot, 0);
  };
  const finish = (count: number): void => {
    for (let number = 0; number < count; number++) shards[number % 2]!.giveInflight(slot);
  };
  return { control, slot, shards, say, send, finish };
}

test('saturation: when more wait in the engine than may, it is reached, by its word and by what was sent since', () => {
  const { slot, shards, say, send, finish } = fleet();
  const saturation = new Saturation(shards[0], { waitingMax: 4, kvUsageMax: 0 });
  expect(saturation.isReached(slot, 1000), 'never asked').toBe(false);
  send(10);
  say(8, 2);
  expect(saturation.isReached(slot, 1000)).toBe(false);
  send(1);
  expect(saturation.isReached(slot, 1000), 'three wait').toBe(false);
  send(1);
  expect(saturation.isReached(slot, 1000), 'four wait').toBe(true);
  finish(2);
  expect(saturation.isReached(slot, 1000), 'two are done').toBe(false);
  send(2);
  expect(saturation.isReached(slot, 6001), 'numbers of long ago').toBe(false);
});

test('saturation: when no request has had to wait yet, what was sent is taken to run', () => {
  const { slot, shards, say, send } = fleet();
  const saturation = new Saturation(shards[1], { waitingMax: 1, kvUsageMax: 0 });
  say(0, 0);
  send(100);
  expect(saturation.isReached(slot, 1000)).toBe(false);
  say(60, 40);
  expect(saturation.isReached(slot, 1000)).toBe(true);
});

// Prompts become shorter, or an engine is given more room: what it can run has to be found out again.
test('saturation: when as many run as were known to and nobody waits, one more is sent', () => {
  const { control, slot, shards, say, send, finish } = fleet();
  const saturation = new Saturation(shards[0], { waitingMax: 1, kvUsageMax: 0 });
  send(10);
  say(8, 2);
  expect(control.capacity(slot)).toBe(8);
  finish(2);
  say(8, 0);
  expect(control.capacity(slot)).toBe(9);
  send(1);
  expect(saturation.isReached(slot, 1000), 'all run').toBe(false);
  send(1);
  expect(saturation.isReached(slot, 1000), 'one waits').toBe(true);
  say(9, 0);
  expect([control.capacity(slot), saturation.isReached(slot, 1000)]).toEqual([10, false]);
  say(3, 0);
  expect(control.capacity(slot), 'few run for want of work').toBe(10);
});

test('saturation: when the KV cache is as full as it may be, it is reached, the new ones reckoned as the others are', () => {
  const { slot, shards, say, send } = fleet();
  const saturation = new Saturation(shards[0], { waitingMax: 0, kvUsageMax: 0.9 });
  send(10);
  say(10, 0, 0.8);
  expect(saturation.isReached(slot, 1000)).toBe(false);
  send(1);
  expect(saturation.isReached(slot, 1000), '0.88').toBe(false);
  send(1);
  expect(saturation.isReached(slot, 1000), '0.96').toBe(true);
  say(12, 0, 0.91);
  expect(saturation.isReached(slot, 1000)).toBe(true);
  expect(new Saturation(shards[0], { waitingMax: 0, kvUsageMax: 0 }).isReached(slot, 1000), 'off').toBe(false);
});
