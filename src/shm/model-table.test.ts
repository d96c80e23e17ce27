import { expect, test } from 'vitest';
import { createSharedMemory } from './memory.ts';
import {
  contextTokensOf,
  isAdapter,
  type ListedModel,
  listedModelsMax,
  listUnknown,
  loadsOnUse,
  ModelTable,
  notListed,
} from './model-table.ts';

function tables(): { readonly control: ModelTable; readonly shard: ModelTable } {
  const memory = createSharedMemory({ shardCount: 1, endpointCountMax: 4, bufferedBytesMax: 1024 });
  return { control: new ModelTable(memory, -1), shard: new ModelTable(memory, 0) };
}

function model(key: number, contextTokens = 0, rest: Partial<ListedModel> = {}): ListedModel {
  return { key, contextTokens, isAdapter: false, loads: false, ...rest };
}

test('model-table: when nothing was published, nothing is known; when a list was, its names are there and no others', () => {
  const { control, shard } = tables();
  expect(shard.find(1, 7)).toBe(listUnknown);
  expect(shard.digest(1)).toBe(-1);
  // The lowest bits are the same: they meet in one place.
  const adapter = model(519, 8192, { isAdapter: true, loads: true });
  control.publish(1, [model(7, 4096), adapter, model(0xffff_ffff)]);
  expect(contextTokensOf(shard.find(1, 7))).toBe(4096);
  expect(isAdapter(shard.find(1, 7))).toBe(false);
  expect(shard.find(1, 0xffff_ffff)).toBe(0);
  const facts = shard.find(1, 519);
  expect([contextTokensOf(facts), isAdapter(facts), loadsOnUse(facts)]).toEqual([8192, true, true]);
  expect(shard.find(1, 1031)).toBe(notListed);
  expect(shard.find(2, 7), 'a neighbour').toBe(listUnknown);
  expect(shard.longestContext(1)).toBe(8192);
});

test('model-table: when a list changes, the generation does, and its digest where the names do', () => {
  const { control, shard } = tables();
  control.publish(0, [model(7), model(8)]);
  const { generation } = shard;
  const digest = shard.digest(0);
  control.publish(0, [model(8, 512), model(7), model(7)]);
  expect(shard.generation).not.toBe(generation);
  expect(shard.digest(0)).toBe(digest);
  control.publish(0, [model(8)]);
  expect(shard.digest(0)).not.toBe(digest);
  expect(shard.find(0, 7)).toBe(notListed);
  control.publish(0, null);
  expect(shard.find(0, 8)).toBe(listUnknown);
  expect(shard.longestContext(0)).toBe(0);
});

test('model-table: when a list has more names than there is room for, it is as if it were not known', () => {
  const { control, shard } = tables();
  const keys = Array.from({ length: listedModelsMax + 1 }, (_, index) => Math.imul(index + 1, 0x9e3779b1) >>> 0);
  expect(
    control.publish(
      0,
      keys.slice(1).map((key) => model(key)),
    ),
  ).toBe(true);
  for (const key of keys.slice(1)) expect(shard.find(0, key)).toBe(0);
  expect(shard.find(0, keys[0]!)).toBe(notListed);
  expect(
    control.publish(
      0,
      keys.map((key) => model(key)),
    ),
  ).toBe(false);
  expect(shard.find(0, keys[1]!)).toBe(listUnknown);
});

test('model-table: when a page is published, shards read it; one that is too long is none', () => {
  const { control, shard } = tables();
  expect(shard.readPage()).toBeNull();
  control.publishPage(Buffer.from('["naïve"]'));
  expect(shard.readPage()?.toString()).toBe('["naïve"]');
  control.publishPage(Buffer.alloc(256 * 1024 + 1));
  expect(shard.readPage()).toBeNull();
  control.publishPage(Buffer.from('x'));
  control.publishPage(null);
  expect(shard.readPage()).toBeNull();
});

test('model-table: when a shard would publish, it is stopped', () => {
  const { shard } = tables();
  expect(() => shard.publish(0, null)).toThrow('only control');
  expect(() => shard.publishPage(null)).toThrow('only control');
});
