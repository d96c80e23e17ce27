import { expect, test, vi } from 'vitest';
import { createPrefixMemory, PrefixIndex, type PrefixKeys } from './prefix-index.ts';
import { PrefixSweeper } from './prefix-sweeper.ts';

/** Keys as the chained hash would make them: of a prompt that shares `shared` blocks with every other of its family. */
function keysOf(family: number, count: number, shared = count, own = 0): PrefixKeys {
  const lows = new Int32Array(count);
  const highs = new Int32Array(count);
  const ends = new Int32Array(count);
  let low = family * 0x9e3779b1;
  for (let block = 0; block < count; block++) {
    low = Math.imul(low ^ (low >>> 15) ^ (block < shared ? 0 : own + 1), 0x85ebca6b) + block + 1;
    lows[block] = low === 0 || low === -1 ? 1 : low;
    highs[block] = Math.imul(low ^ (low >>> 13), 0xc2b2ae35);
    ends[block] = (block + 1) * 512;
  }
  return { count, lows, highs, ends };
}

function indexOf(slotCount = 4096, endpointCount = 4, blockCount = 2000): PrefixIndex {
  return new PrefixIndex(createPrefixMemory(slotCount, endpointCount, blockCount * 512));
}

function matched(index: PrefixIndex, keys: PrefixKeys): number[] {
  const found = new Int32Array(4);
  index.lookup(keys, found);
  return [...found];
}

test('prefix index: when prompts part, each endpoint matches as far as it holds the same', () => {
  const index = indexOf();
  index.insert(keysOf(1, 20, 12, 1), 0);
  index.insert(keysOf(1, 16, 12, 2), 2);
  expect(matched(index, keysOf(1, 20, 12, 1))).toEqual([20 * 512, 0, 12 * 512, 0]);
  expect(matched(index, keysOf(1, 16, 12, 2))).toEqual([12 * 512, 0, 16 * 512, 0]);
  expect(matched(index, keysOf(1, 30, 5, 3))).toEqual([5 * 512, 0, 5 * 512, 0]);
  expect(matched(index, keysOf(2, 20))).toEqual([0, 0, 0, 0]);
});

test('prefix index: when an endpoint has taken in more than it holds, the oldest prefix is gone and the youngest is not', () => {
  const index = indexOf(4096, 4, 640);
  for (let family = 1; family <= 20; family++) index.insert(keysOf(family, 64), 1);
  expect(matched(index, keysOf(1, 64))[1]).toBe(0);
  expect(matched(index, keysOf(8, 64))[1]).toBe(0);
  expect(matched(index, keysOf(20, 64))[1]).toBe(64 * 512);
  expect(matched(index, keysOf(14, 64))[1]).toBe(64 * 512);
});

test('prefix index: when a cache has no room for all of a prompt, its tail goes first', () => {
  const index = indexOf(4096, 4, 640);
  index.insert(keysOf(1, 300), 0);
  for (let family = 2; family <= 8; family++) index.insert(keysOf(family, 64), 0);
  const held = matched(index, keysOf(1, 300))[0]!;
  expect(held).toBeGreaterThan(100 * 512);
  expect(held).toBeLessThan(250 * 512);
});

// Blocks are 512 bytes, 2 KiB behind 64 KiB and 8 KiB behind 512 KiB: counted alike, 3 MB would seem to be 336 KB.
test('prefix index: when blocks grow with their depth, each takes the room of its bytes', () => {
  const heldOf = (blockBytes: number): number => {
    const index = indexOf(4096, 4, 640);
    for (let family = 1; family <= 20; family++) {
      const keys = keysOf(family, 16);
      for (let block = 0; block < keys.count; block++) keys.ends[block] = (block + 1) * blockBytes;
      index.insert(keys, 2);
    }
    return Array.from({ length: 20 }, (_, at) => matched(index, keysOf(at + 1, 16))[2]!).filter((held) => held > 0)
      .length;
  };
  // 320 KiB of cache: all twenty of 8 KiB, ten of 32 KiB, two of 128 KiB, and the head of one more.
  expect(heldOf(512)).toBe(20);
  expect([10, 11]).toContain(heldOf(2048));
  expect([2, 3]).toContain(heldOf(8192));
});

test('prefix index: when a prefix is used again, it stays while others go', () => {
  const index = indexOf(4096, 4, 640);
  for (let family = 2; family <= 40; family++) {
    index.insert(keysOf(1, 64), 0);
    index.insert(keysOf(family, 64), 0);
  }
  expect(matched(index, keysOf(1, 64))[0]).toBe(64 * 512);
  expect(matched(index, keysOf(20, 64))[0]).toBe(0);
});

test('prefix index: when an endpoint restarts, it holds nothing at once, and what comes after', () => {
  const index = indexOf();
  for (const endpoint of [0, 3]) index.insert(keysOf(1, 20), endpoint);
  index.horizon.forget(3);
  expect(matched(index, keysOf(1, 20))).toEqual([20 * 512, 0, 0, 0]);
  index.insert(keysOf(1, 10), 3);
  expect(matched(index, keysOf(1, 20))).toEqual([20 * 512, 0, 0, 10 * 512]);
});

test('prefix index: when more endpoints hold a block than a slot has room for, the newest fourteen are known', () => {
  const index = new PrefixIndex(createPrefixMemory(64, 20, 2000 * 512));
  const keys = keysOf(1, 4);
  for (let endpoint = 0; endpoint < 20; endpoint++) index.insert(keys, endpoint);
  const found = new Int32Array(20);
  index.lookup(keys, found);
  expect(found.filter((bytes) => bytes === 4 * 512).length).toBe(14);
});

test('prefix index: when the table is far too small, look-ups still find only what was inserted', () => {
  const index = indexOf(64, 4, 2000);
  for (let family = 1; family <= 200; family++) index.insert(keysOf(family, 8), family % 4);
  let foundCount = 0;
  for (let family = 1; family <= 200; family++) {
    const found = matched(index, keysOf(family, 8));
    for (let endpoint = 0; endpoint < 4; endpoint++) {
      if (endpoint === family % 4) foundCount += found[endpoint]! > 0 ? 1 : 0;
      else expect(found[endpoint]).toBe(0);
    }
  }
  expect(foundCount).toBeGreaterThan(4);
});

test('prefix index: when single blocks were pushed out, a match goes on behind them, over eight in a row at the most', () => {
  const all = keysOf(1, 30);
  const heldWithout = (from: number, to: number): number => {
    const index = indexOf();
    const kept = [...all.lows.keys()].filter((block) => block < from || block >= to);
    const pick = (values: Int32Array): Int32Array => Int32Array.from(kept, (block) => values[block]!);
    index.insert({ count: kept.length, lows: pick(all.lows), highs: pick(all.highs), ends: pick(all.ends) }, 0);
    return matched(index, all)[0]!;
  };
  expect(heldWithout(10, 18)).toBe(30 * 512);
  expect(heldWithout(10, 19)).toBe(10 * 512);
  expect(heldWithout(0, 8)).toBe(30 * 512);
});

test('prefix index: when a slot gets another key between any two steps of a look-up, its new owner is not taken for one of the old', () => {
  const { load } = Atomics;
  let looks = 0;
  // Once behind each of the looks, until there are no more.
  for (let turn = 0; turn <= looks; turn++) {
    const index = indexOf(4); // One bucket, of four slots.
    for (let family = 1; family <= 4; family++) index.insert(keysOf(family, 1), 0);
    looks = 0;
    const spy = vi.spyOn(Atomics, 'load').mockImplementation((words, at) => {
      const value = load(words, at);
      if (looks++ === turn) {
        spy.mockImplementation(load);
        index.insert(keysOf(5, 1), 2);
      }
      return value;
    });
    const found = matched(index, keysOf(1, 1));
    spy.mockRestore();
    expect(found[2], `behind look ${turn}`).toBe(0);
    if (looks > turn) expect(matched(index, keysOf(5, 1))[2]).toBe(512);
  }
  expect(looks).toBeGreaterThan(2);
});

test('prefix sweeper: when owners are behind the horizon, it clears them; a slot written for longer than a second is freed', () => {
  const memory = createPrefixMemory(64, 4, 640 * 512);
  const index = new PrefixIndex(memory);
  const words = new Int32Array(memory.slots);
  index.insert(keysOf(1, 8), 0);
  index.horizon.forget(0);
  const owners = (): number => words.filter((word, at) => (at & 15) >= 2 && word !== 0).length;
  expect(owners()).toBe(8);
  const sweeper = new PrefixSweeper(index);
  sweeper.sweep(64, 0);
  expect(owners()).toBe(0);

  words[5 * 16] = -1;
  for (const nowMs of [0, 1000]) sweeper.sweep(64, nowMs);
  expect(words[5 * 16]).toBe(-1);
  sweeper.sweep(64, 1001);
  expect(words[5 * 16]).toBe(0);
});
