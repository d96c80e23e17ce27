import { pino } from 'pino';
import { afterEach, expect, test, vi } from 'vitest';
import { createSharedMemory, FleetTable, SharedBudget } from '../shm/index.ts';
import { LostReleases } from './lost-releases.ts';

const looksPerWindow = 20;
const running: LostReleases[] = [];

afterEach(() => {
  for (const each of running.splice(0)) each.stop();
});

function rig() {
  const memory = createSharedMemory({ shardCount: 2, endpointCountMax: 4, bufferedBytesMax: 1024 * 1024 });
  const [control, shard] = [new FleetTable(memory, -1), new FleetTable(memory, 1)];
  const [budget, shardBudget] = [new SharedBudget(memory, -1), new SharedBudget(memory, 1)];
  const lines: Record<string, unknown>[] = [];
  const log = pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const lost = new LostReleases([control, budget], log);
  running.push(lost);
  const slot = control.claim();
  const look = (count = looksPerWindow): void => {
    for (let index = 0; index < count; index++) lost.look();
  };
  return { control, shard, budget, shardBudget, lost, lines, slot, look };
}

/** A release of which the half in the shared total is lost. */
function losing(release: () => void): void {
  vi.spyOn(Atomics, 'sub').mockImplementation(() => 0 as never);
  release();
  vi.restoreAllMocks();
}

test('lost releases: when totals stay above what shards hold, they are corrected by that after one window', () => {
  const { control, shard, budget, shardBudget, lost, lines, slot, look } = rig();
  for (let count = 0; count < 3; count++) shard.tryTakeInflight(slot, 0);
  shardBudget.tryTake(64 * 1024);
  look();
  expect(lost.recoveredCount, 'what is held is not lost').toBe(0);
  losing(() => shard.giveInflight(slot));
  losing(() => shard.giveInflight(slot));
  losing(() => shardBudget.give(64 * 1024));
  expect(control.inflight(slot)).toBe(3);
  look(looksPerWindow - 1);
  expect(control.inflight(slot), 'a difference may be something half done').toBe(3);
  look(1);
  expect(control.inflight(slot)).toBe(1);
  expect(budget.used()).toBe(0);
  expect(lines).toMatchObject([
    { count: 'inflight', endpoint_slot: slot, surplus: 2 },
    { count: 'buffered_kibibytes', surplus: 64 },
  ]);
  shard.giveInflight(slot);
  look();
  expect(lost.recoveredCount).toBe(2);
});

test('lost releases: when a total was off only for some looks, nothing is corrected', () => {
  const { control, shard, lost, slot, look } = rig();
  shard.tryTakeConnection(slot, 0);
  losing(() => shard.giveConnection(slot));
  look(looksPerWindow - 1);
  const index = slot * 4 + 2;
  control.takeOff(index, 1); // As the other half of the release does, late.
  look(looksPerWindow + 1);
  expect(lost.recoveredCount).toBe(0);
  expect(control.connections(slot)).toBe(0);
});

test('lost releases: when a slot is claimed or freed in the middle of a window, its closing mark is no surplus', () => {
  const { control, lost, slot, look } = rig();
  look(5);
  expect(control.release(slot)).toBe(true);
  look(5);
  expect(control.claim()).toBe(slot);
  look(2 * looksPerWindow);
  expect(lost.recoveredCount).toBe(0);
  expect(control.inflight(slot)).toBe(0);
});
