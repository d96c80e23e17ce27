import { expect, test } from 'vitest';
import { createSharedMemory } from './memory.ts';
import { Residency, residentsMax, ResidentTable } from './resident-table.ts';

function tables(): { readonly control: ResidentTable; readonly shard: ResidentTable; readonly other: ResidentTable } {
  const memory = createSharedMemory({ shardCount: 2, endpointCountMax: 4, bufferedBytesMax: 1024 });
  return {
    control: new ResidentTable(memory, -1),
    shard: new ResidentTable(memory, 0),
    other: new ResidentTable(memory, 1),
  };
}
const { here, room, full } = Residency;

test('resident-table: when a shard sends there, the others know at once; the one used longest ago leaves first', () => {
  const { control, shard, other } = tables();
  control.note(1, 2, [], 1000);
  shard.use(1, 7, 1100);
  other.use(1, 0xffff_fff0, 1200);
  shard.use(1, 7, 1300);
  expect([other.find(1, 7), shard.find(1, 0xffff_fff0), shard.find(0, 7)]).toEqual([here, here, room]);
  shard.use(1, 9, 1400);
  expect([7, 0xffff_fff0, 9].map((key) => other.find(1, key))).toEqual([here, full, here]);
});

test('resident-table: when all places have been used since the engine was asked, there is none; when it says less, there is', () => {
  const { control, shard } = tables();
  control.note(0, 2, [], 1000);
  shard.use(0, 7, 1100);
  expect(shard.find(0, 9)).toBe(room);
  shard.use(0, 8, 1200);
  expect(shard.find(0, 9)).toBe(full);
  control.note(0, 2, [8], 2000);
  expect([shard.find(0, 9), shard.find(0, 7)], 'one is idle, and in memory still').toEqual([room, here]);
  control.note(0, 2, [8, 9], 3000);
  expect([shard.find(0, 7), shard.find(0, 9)], 'the engine runs what others sent').toEqual([full, here]);
});

test('resident-table: when the engine does not say how many, or more than there are places for, there is always room', () => {
  const { control, shard } = tables();
  for (let key = 1; key <= residentsMax + 5; key++) shard.use(0, key, 1000 + key);
  control.note(1, residentsMax + 5, [], 500);
  for (let key = 1; key <= residentsMax; key++) shard.use(1, key, 1000);
  expect([shard.find(0, 1), shard.find(0, residentsMax + 5), shard.find(1, 9999)]).toEqual([full, here, room]);
});

test('resident-table: when an engine has fewer places than was thought, or was restarted, what is there is forgotten', () => {
  const { control, shard } = tables();
  for (const key of [1, 2, 3, 4]) shard.use(0, key, 1000 + key);
  control.note(0, 2, [], 2000);
  expect([1, 2, 3, 4].filter((key) => shard.find(0, key) === here)).toHaveLength(2);
  control.clear(0);
  expect(shard.find(0, 1)).toBe(room);
});

test('resident-table: when an engine lists what it has in memory, that is it, and what was sent there just now', () => {
  const { control, shard } = tables();
  shard.use(0, 1, 1000);
  shard.use(0, 2, 9000);
  control.replace(0, [3], 5000);
  expect([1, 2, 3].map((key) => shard.find(0, key))).toEqual([room, here, here]);
  control.replace(0, [], 8000);
  expect(
    [2, 3].map((key) => shard.find(0, key)),
    'nobody sent the other one',
  ).toEqual([here, room]);
});

test('resident-table: when times wrap, the one used longest ago still leaves first', () => {
  const { control, shard } = tables();
  const wrapMs = 2 ** 31;
  control.note(0, 2, [], wrapMs - 100);
  shard.use(0, 1, wrapMs - 50);
  shard.use(0, 2, wrapMs + 50);
  shard.use(0, 3, wrapMs + 60);
  expect([1, 2, 3].map((key) => shard.find(0, key))).toEqual([full, here, here]);
});
