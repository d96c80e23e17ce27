import { expect, test } from 'vitest';
import { SharedBudget } from './budget.ts';
import { createSharedMemory } from './memory.ts';
import { largeSlabBytes, SlabPool, smallSlabBytes } from './slab-pool.ts';

const MiB = 1024 * 1024;

function poolOf(bufferedBytesMax: number): { pool: SlabPool; other: SlabPool; budget: SharedBudget } {
  const memory = createSharedMemory({ shardCount: 2, endpointCountMax: 1, bufferedBytesMax });
  const budget = new SharedBudget(memory, 0);
  return { pool: new SlabPool(budget), other: new SlabPool(new SharedBudget(memory, 1)), budget };
}

test('slab-pool: when the budget shared by two shards is spent, both decline until one gives back', () => {
  const { pool, other, budget } = poolOf(largeSlabBytes + smallSlabBytes);
  const large = pool.takeLarge();
  const small = other.takeSmall();
  expect([pool.takeSmall(), other.takeSmall(), other.takeLarge()]).toEqual([-1, -1, -1]);
  expect([pool.inUse, other.inUse]).toEqual([1, 1]);
  pool.give(large);
  other.give(small);
  expect(other.takeLarge()).toBeGreaterThanOrEqual(0);
  expect(budget.used()).toBe(largeSlabBytes);
});

test('slab-pool: when slabs of both classes are out over several segments, no two share a byte', () => {
  const { pool } = poolOf(32 * MiB);
  const handles: number[] = [];
  for (let round = 0; round < 600; round++) handles.push(round % 12 === 0 ? pool.takeLarge() : pool.takeSmall());
  expect(handles.every((handle) => handle >= 0)).toBe(true);
  expect(new Set(handles).size).toBe(600);
  for (const [index, handle] of handles.entries()) pool.bytes(handle).writeUInt32LE(index, 0);
  for (const [index, handle] of handles.entries()) pool.bytes(handle).fill(index & 255, 4);
  for (const [index, handle] of handles.entries()) {
    const bytes = pool.bytes(handle);
    expect(bytes.length).toBe(pool.sizeOf(handle));
    expect([bytes.readUInt32LE(0), bytes[4], bytes.at(-1)]).toEqual([index, index & 255, index & 255]);
  }
});

test('slab-pool: when a slab is given and one is taken, it is the same slab and the same view', () => {
  const { pool } = poolOf(MiB);
  const handle = pool.takeSmall();
  const view = pool.bytes(handle);
  pool.give(handle);
  expect(pool.takeSmall()).toBe(handle);
  expect(pool.bytes(handle)).toBe(view);
});

test('slab-pool: when a slab is given twice or used after it was given, it fails', () => {
  const { pool, budget } = poolOf(MiB);
  const handle = pool.takeLarge();
  pool.give(handle);
  for (const misuse of [() => pool.give(handle), () => pool.bytes(handle), () => pool.share(handle)]) {
    expect(misuse).toThrow('slab is not held');
  }
  expect(() => pool.give(-1)).toThrow('slab is not held');
  expect(() => pool.give(12_345)).toThrow('slab is not held');
  expect([pool.inUse, budget.used()]).toEqual([0, 0]);
});

test('slab-pool: when bytes arrived after the pause was asked for, a forced take succeeds, is counted and given back', () => {
  const { pool, budget } = poolOf(smallSlabBytes);
  expect(pool.takeLarge()).toBe(-1);
  const handle = pool.takeLarge(true);
  expect(handle).toBeGreaterThanOrEqual(0);
  expect([pool.overdraftCount, budget.used()]).toEqual([1, largeSlabBytes]);
  pool.give(handle);
  expect(budget.used()).toBe(0);
});

test('slab-pool: when a slab is shared with a worker, the worker sees the same bytes', () => {
  const { pool } = poolOf(MiB);
  pool.takeSmall();
  const handle = pool.takeSmall();
  pool.bytes(handle).write('prompt');
  const { sab, offset, length } = pool.share(handle);
  expect(sab).toBeInstanceOf(SharedArrayBuffer);
  expect(Buffer.from(sab, offset, length).toString('latin1', 0, 6)).toBe('prompt');
  expect(length).toBe(smallSlabBytes);
});

test('slab-pool: when a burst is over, trim lets its segments go, keeps what is held, and the pool can grow again', () => {
  const { pool, budget } = poolOf(64 * MiB);
  const burst = Array.from({ length: 200 }, () => pool.takeLarge());
  expect(pool.segmentBytes).toBe(13 * 4 * MiB);
  const kept = burst[100]!;
  pool.bytes(kept).write('kept');
  for (const handle of burst) if (handle !== kept) pool.give(handle);
  expect(pool.trim()).toBe(10);
  expect(pool.segmentBytes, 'two spare ones and the one that holds a slab').toBe(3 * 4 * MiB);
  expect(pool.trim()).toBe(0);
  const again = Array.from({ length: 200 }, () => pool.takeLarge());
  expect(new Set([...again, kept]).size).toBe(201);
  expect(pool.bytes(kept).toString('latin1', 0, 4)).toBe('kept');
  for (const handle of again) pool.bytes(handle).fill(1);
  expect(pool.bytes(kept).toString('latin1', 0, 4)).toBe('kept');
  expect(budget.used()).toBe(201 * largeSlabBytes);
});
