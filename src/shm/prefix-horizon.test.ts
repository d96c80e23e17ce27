import { expect, test, vi } from 'vitest';
import { PrefixHorizon, prefixHorizonBytes } from './prefix-horizon.ts';

function horizonOf(blockCount: number, endpointCount = 1): PrefixHorizon {
  const horizon = new PrefixHorizon(new SharedArrayBuffer(prefixHorizonBytes(endpointCount)));
  horizon.reset(blockCount);
  return horizon;
}

/** A cache of blocks by name, as an engine keeps it: the reference. */
class Lru {
  readonly #names = new Set<number>();
  readonly #countMax: number;

  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  use(name: number): void {
    this.#names.delete(name);
    this.#names.add(name);
    if (this.#names.size > this.#countMax) this.#names.delete(this.#names.values().next().value!);
  }

  holds(name: number): boolean {
    return this.#names.has(name);
  }
}

function seeded(seed: number): (end: number) => number {
  let state = seed;
  return (end) => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) % end;
}

// Few hot blocks and many cold ones; one that cycles through more than fits; one that fits with room to spare.
const patterns: Record<string, (random: (end: number) => number, step: number) => number> = {
  skewed: (random) => Math.floor(random(3000) ** 2 / 3000),
  'hot and idle': (random, step) => (step < 400 ? step : random(60)),
  'a scan in between': (random, step) => (step % 4000 < 1500 ? 10_000 + step : random(500)),
};
for (const [what, nameAt] of Object.entries(patterns)) {
  test(`prefix horizon: when use is ${what}, it agrees with an LRU list on what is held`, () => {
    const capacity = 1024;
    const horizon = horizonOf(capacity);
    const reference = new Lru(capacity);
    const epochs = new Map<number, number>();
    const random = seeded(11);
    let askedCount = 0;
    let differCount = 0;
    for (let step = 0; step < 60_000; step++) {
      const name = nameAt(random, step);
      const epoch = epochs.get(name) ?? -1;
      const isHeld = epoch >= 0 && horizon.isHeld(0, epoch);
      if (epoch >= 0) {
        askedCount++;
        if (isHeld !== reference.holds(name)) differCount++;
      }
      epochs.set(name, horizon.use(0, isHeld ? epoch : -1, 1));
      reference.use(name);
    }
    // A 64th of the capacity is the resolution.
    expect(differCount / askedCount, `${differCount} of ${askedCount}`).toBeLessThan(0.03);
    expect(horizon.heldSize(0)).toBeLessThanOrEqual(capacity + capacity / 64);
  });
}

test('prefix horizon: when a few blocks are used over and over, those that fit beside them stay held', () => {
  const horizon = horizonOf(640);
  const idle = Array.from({ length: 300 }, () => horizon.use(0, -1, 1));
  const hot = Array.from({ length: 40 }, () => horizon.use(0, -1, 1));
  // 400 rounds are 1600 epochs, six times round the ring.
  for (let round = 0; round < 400; round++) {
    for (let block = 0; block < hot.length; block++) hot[block] = horizon.use(0, hot[block]!, 1);
  }
  expect(idle.every((epoch) => horizon.isHeld(0, epoch))).toBe(true);
  horizon.useUnnamed(0, 310);
  expect(
    idle.some((epoch) => horizon.isHeld(0, epoch)),
    'now they do not fit',
  ).toBe(false);
  expect(horizon.isHeld(0, hot[0]!)).toBe(true);
});

test('prefix horizon: when an endpoint forgets, nothing it held is held, and others keep theirs', () => {
  const horizon = horizonOf(640, 2);
  const [mine, others] = [horizon.use(0, -1, 1), horizon.use(1, -1, 1)];
  horizon.forget(0);
  expect([horizon.isHeld(0, mine), horizon.isHeld(1, others), horizon.heldSize(0)]).toEqual([false, true, 0]);
  expect(horizon.isHeld(0, horizon.use(0, -1, 1))).toBe(true);
});

test('prefix horizon: when its epochs come round to the first, what was used last is held and the rest is not', () => {
  const horizon = new PrefixHorizon(new SharedArrayBuffer(prefixHorizonBytes(1)));
  horizon.reset(64, 2 ** 24 - 500);
  // An epoch a block.
  const epochs = Array.from({ length: 1000 }, () => horizon.use(0, -1, 1));
  expect(Math.min(...epochs)).toBe(1);
  expect(epochs.map((epoch) => horizon.isHeld(0, epoch)).lastIndexOf(false)).toBe(1000 - 64 - 1);
  expect(epochs.slice(-64).every((epoch) => horizon.isHeld(0, epoch))).toBe(true);
});

/** Blocks named from 0, used in turn, each the size of 1: with their epochs. */
function used(horizon: PrefixHorizon, count: number): number[] {
  return Array.from({ length: count }, () => horizon.use(0, -1, 1));
}

test('prefix horizon: when it is trimmed, those used longest ago go, and the rest stays within the size', () => {
  const horizon = horizonOf(6400);
  const epochs = used(horizon, 6000);
  horizon.trim(0, 6000);
  expect(horizon.isHeld(0, epochs[0]!), 'it fits').toBe(true);
  horizon.trim(0, 2000);
  expect(horizon.heldSize(0)).toBeLessThanOrEqual(2000);
  expect(horizon.heldSize(0)).toBeGreaterThan(1800);
  expect([0, 3900, 4150, 5999].map((block) => horizon.isHeld(0, epochs[block]!))).toEqual([false, false, true, true]);
  used(horizon, 3000);
  expect(horizon.heldSize(0), 'what comes then has room again').toBeGreaterThan(4800);
  horizon.trim(0, 0);
  expect(horizon.heldSize(0)).toBe(0);
});

test('prefix horizon: when it is trimmed after more than the ring remembers, the ancient go first', () => {
  const horizon = horizonOf(64_000);
  const hot = horizon.use(0, -1, 1);
  let epoch = hot;
  // One block used again and again keeps the epochs going without filling the cache.
  for (let turn = 0; turn < 400_000; turn++) epoch = horizon.use(0, epoch, 1000);
  used(horizon, 100);
  horizon.trim(0, 2000);
  expect(horizon.heldSize(0)).toBeLessThanOrEqual(2000);
  expect(horizon.isHeld(0, epoch)).toBe(true);
});

test('prefix horizon: when things arrive, their sizes are summed; what others sent, or was there, is none of them', () => {
  const horizon = horizonOf(6400, 2);
  const epoch = horizon.use(1, -1, 5);
  horizon.useUnnamed(1, 7000);
  horizon.use(1, epoch, 5);
  horizon.pushOut(1, 100);
  expect([horizon.arrivedSize(0), horizon.arrivedSize(1)]).toEqual([0, 7005]);
  expect([horizon.unnamedSize(1), horizon.unnamedCount(1)]).toEqual([7000, 1]);
});

/** What `step` does happens in the middle of `call`: in front of the next exchange of it, or right behind its next look. */
function amid(at: 'exchange' | 'load', step: () => void, call: () => void): void {
  const { exchange, load } = Atomics;
  const spy =
    at === 'exchange'
      ? vi.spyOn(Atomics, 'exchange').mockImplementationOnce((words, index, value) => {
          step();
          return exchange(words, index, value);
        })
      : vi.spyOn(Atomics, 'load').mockImplementationOnce((words, index) => {
          const value = load(words, index);
          step();
          return value;
        });
  call();
  spy.mockRestore();
}

test('prefix horizon: when an endpoint forgets while another thread begins an epoch, nothing it held is held', () => {
  // An epoch is ten blocks: one is missing until the next.
  const prepared = (): [PrefixHorizon, number[]] => {
    const horizon = horizonOf(640);
    return [horizon, used(horizon, 309)];
  };
  const [one, ones] = prepared();
  amid(
    'exchange',
    () => one.forget(0),
    () => one.use(0, -1, 1),
  );
  expect(ones.filter((epoch) => one.isHeld(0, epoch))).toEqual([]);
  const [other, others] = prepared();
  amid(
    'load',
    () => other.use(0, -1, 1),
    () => other.forget(0),
  );
  expect(others.filter((epoch) => other.isHeld(0, epoch))).toEqual([]);
});

test('prefix horizon: when more comes than a cache holds, all else is pushed out, in no more steps than that takes', () => {
  const horizon = horizonOf(640);
  const epochs = used(horizon, 600);
  const add = vi.spyOn(Atomics, 'add');
  horizon.useUnnamed(0, 64_000);
  expect(add.mock.calls.length).toBeLessThan(100);
  add.mockRestore();
  expect(epochs.filter((epoch) => horizon.isHeld(0, epoch))).toEqual([]);
  expect(horizon.heldSize(0)).toBeLessThanOrEqual(640);
  expect(horizon.unnamedSize(0)).toBe(64_000);
});
