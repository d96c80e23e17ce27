import { expect, test } from 'vitest';
import { createSharedMemory } from './memory.ts';
import { WorkTable } from './work-table.ts';

function tables(shardCount = 2, endpointCountMax = 40) {
  const memory = createSharedMemory({ shardCount, endpointCountMax, bufferedBytesMax: 1024 });
  const shards = Array.from({ length: shardCount }, (_, shard) => new WorkTable(memory, shard));
  return { control: new WorkTable(memory, -1), shards };
}

test('work table: when shards count what an endpoint did, control reads the sum, slot by slot and kind by kind', () => {
  const { control, shards } = tables();
  for (let slot = 0; slot < 40; slot++) {
    shards[0]!.addPrompt(slot, 1000 + slot);
    shards[1]!.addPrompt(slot, 7);
    shards[1]!.addCompletion(slot, 5);
    shards[0]!.addCompletion(slot, slot);
    shards[0]!.addCompletion(slot, -2);
  }
  for (let slot = 0; slot < 40; slot++) {
    expect([control.promptTokens(slot), control.completionTokens(slot)]).toEqual([1007 + slot, slot + 3]);
  }
});

test('work table: when a count wraps, the difference of two readings is still what came between them', () => {
  const { control, shards } = tables();
  for (const shard of shards) shard.addCompletion(3, 0x7fff_fff0);
  const before = control.completionTokens(3);
  for (const shard of shards) shard.addCompletion(3, 100);
  expect((control.completionTokens(3) - before) | 0).toBe(200);
});

test('work table: when prompts were worked for, every shard sees how long that was, over all', () => {
  const { control, shards } = tables();
  shards[0]!.addPromptMs(39, 1.5);
  shards[1]!.addPromptMs(39, 100);
  for (const table of [control, ...shards]) expect(table.promptMicros(39)).toBe(101_500);
  expect([shards[0]!.promptMicros(38), control.promptTokens(39)]).toEqual([0, 0]);
});

test('work table: when control says how an endpoint writes, every shard reads it', () => {
  const { control, shards } = tables();
  control.setWriteRates(39, { usedRatio: 0.25, headroom: 1500, pace: 62.5 });
  control.setWriteRates(0, { usedRatio: 1, headroom: -1, pace: 1e12 });
  for (const table of [control, ...shards]) {
    expect([table.usedRatio(39), table.usedRatio(0), table.usedRatio(38)]).toEqual([0.25, 1, 0]);
    expect([table.headroom(39), table.headroom(0), table.headroom(38)]).toEqual([1500, -1, -1]);
    expect([table.pace(39), table.pace(0), table.pace(38)]).toEqual([62.5, 2_000_000, 0]);
    expect([table.promptMicros(39), table.promptMicros(0)]).toEqual([0, 0]);
  }
  expect(() => shards[0]!.setWriteRates(0, { usedRatio: 1, headroom: 0, pace: 0 })).toThrow();
});

test('work table: when a slot is out of range, or control counts, that is a defect', () => {
  const { control, shards } = tables();
  expect(() => shards[1]!.addCompletion(40, 1)).toThrow();
  expect(() => control.promptTokens(-1)).toThrow();
  expect(() => control.addPrompt(0, 1)).toThrow();
});
