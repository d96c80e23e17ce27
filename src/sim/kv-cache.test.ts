import { expect, test } from 'vitest';
import { KvCache, PrefixHash } from './kv-cache.ts';

/** Keys of consecutive blocks of a prompt that is told apart by `seed`. */
function keysOf(seed: number, count: number): number[] {
  const hash = new PrefixHash(seed);
  return Array.from({ length: count }, (_, index) => {
    hash.add(index);
    return hash.key;
  });
}

function fill(cache: KvCache, keys: readonly number[]): number[] {
  return keys.map((key) => {
    const block = cache.take();
    cache.tag(block, key);
    return block;
  });
}

test('kv-cache: when a prefix was computed before, its blocks are found, held by both, and freed with the last', () => {
  const cache = new KvCache(8, 16);
  const keys = keysOf(1, 3);
  const first = fill(cache, keys);
  expect(cache.match(keys, 3)).toBe(3);
  expect(cache.match([...keys.slice(0, 2), 99], 3)).toBe(2);
  expect(cache.match(keysOf(2, 3), 3), 'another first block means another prefix').toBe(0);
  const second: number[] = [];
  cache.takeCached(keys, 2, second);
  expect(second).toEqual(first.slice(0, 2));
  expect(cache.usedCount, 'shared blocks count once').toBe(3);
  cache.give(first);
  expect(cache.usedCount).toBe(2);
  cache.give(second);
  expect(cache.usedCount).toBe(0);
  expect(cache.match(keys, 3), 'free blocks keep their content').toBe(3);
});

test('kv-cache: when blocks run out, the least recently freed prefix goes first, its tail before its head', () => {
  const cache = new KvCache(6, 16);
  const [old, young] = [keysOf(1, 3), keysOf(2, 3)];
  cache.give(fill(cache, old));
  cache.give(fill(cache, young));
  const taken = [cache.take(), cache.take()];
  expect(cache.match(old, 3), 'two of three blocks evicted, from the tail').toBe(1);
  expect(cache.match(young, 3)).toBe(3);
  expect(cache.evictedCount).toBe(2);
  cache.give([...taken]);
  expect(new Set([cache.take(), cache.take()]), 'blocks without a key are used before a cached one').toEqual(
    new Set(taken),
  );
  expect(cache.match(old, 3)).toBe(1);
});

test('kv-cache: when every block is held, take declines', () => {
  const cache = new KvCache(2, 16);
  const blocks = [cache.take(), cache.take()];
  expect(cache.take()).toBe(-1);
  expect(cache.usageRatio).toBe(1);
  cache.give(blocks);
  expect(cache.freeCount).toBe(2);
});

test('kv-cache: when a block is given twice, it throws', () => {
  const cache = new KvCache(2, 16);
  const block = cache.take();
  cache.give([block]);
  expect(() => cache.give([block])).toThrow('block is not held');
});

test('kv-cache: when two sequences computed the same block side by side, the first stays the shared one', () => {
  const cache = new KvCache(4, 16);
  const keys = keysOf(1, 1);
  const [first, second] = [fill(cache, keys), fill(cache, keys)];
  const found: number[] = [];
  cache.takeCached(keys, 1, found);
  expect(found).toEqual(first);
  for (const blocks of [first, second, found]) cache.give(blocks);
  expect(cache.usedCount).toBe(0);
});
