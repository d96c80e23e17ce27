import { expect, test } from 'vitest';
import { SharedBudget } from './budget.ts';
import { createSharedMemory } from './memory.ts';

function budgets(bufferedBytesMax: number): { first: SharedBudget; second: SharedBudget; control: SharedBudget } {
  const memory = createSharedMemory({ shardCount: 2, endpointCountMax: 1, bufferedBytesMax });
  const [first, second, control] = [0, 1, -1].map((index) => new SharedBudget(memory, index));
  return { first: first!, second: second!, control: control! };
}

test('budget: when it is spent to the last unit, the next take declines and changes nothing', () => {
  const { first, second } = budgets(64 * 1024);
  expect(first.tryTake(48 * 1024)).toBe(true);
  expect(second.tryTake(16 * 1024)).toBe(true);
  expect(second.tryTake(1)).toBe(false);
  expect(second.used()).toBe(64 * 1024);
  first.give(48 * 1024);
  expect(second.tryTake(1)).toBe(true);
  expect(second.used(), 'a take is rounded up to 1 KiB').toBe(17 * 1024);
});

test('budget: when the maximum is 2 TiB, amounts far above 32 bits of bytes are exact', () => {
  const terabyte = 2 ** 40;
  const { first } = budgets(2 * terabyte - 1024);
  expect(first.tryTake(terabyte)).toBe(true);
  expect(first.tryTake(terabyte), 'used + amount must not wrap').toBe(false);
  expect(first.tryTake(terabyte - 1024)).toBe(true);
  expect(first.used()).toBe(first.max);
});

test('budget: when bytes have arrived already, a forced take goes beyond the maximum and is counted', () => {
  const { first, control } = budgets(16 * 1024);
  expect(first.tryTake(16 * 1024)).toBe(true);
  first.takeForced(256 * 1024);
  expect(control.used()).toBe(272 * 1024);
  expect(control.usedBy(0)).toBe(272 * 1024);
  expect(first.tryTake(1024)).toBe(false);
});

test('budget: when more is given back than this shard took, it fails even though another shard holds some', () => {
  const { first, second, control } = budgets(64 * 1024);
  expect(first.tryTake(32 * 1024)).toBe(true);
  expect(() => second.give(1024)).toThrow('budget given back more than taken');
  expect(() => control.give(1024)).toThrow('budget given back more than taken');
  expect(control.used()).toBe(32 * 1024);
});

test('budget: when a thread is not what the call is for, it fails', () => {
  const { first, control } = budgets(64 * 1024);
  expect(() => control.tryTake(1024)).toThrow('control holds no budget');
  expect(control.used(), 'a refused call leaves nothing behind').toBe(0);
  expect(() => first.reclaimShard(1)).toThrow('only control reclaims');
});
