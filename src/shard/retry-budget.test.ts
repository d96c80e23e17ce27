import { expect, test } from 'vitest';
import { RetryBudget } from './retry-budget.ts';

function taken(budget: RetryBudget, nowMs: number, countMax = 1000): number {
  let count = 0;
  while (count < countMax && budget.tryTake(nowMs)) count++;
  return count;
}

test('retry budget: when there were few requests, the minimum may be retried', () => {
  const budget = new RetryBudget({ percent: 20, countMin: 3 });
  budget.noteRequest(100);
  expect(taken(budget, 100)).toBe(3);
  expect(budget.tryTake(4000)).toBe(false);
});

test('retry budget: when there were many requests, a share of them may be retried, and no more until they are forgotten', () => {
  const budget = new RetryBudget({ percent: 20, countMin: 3 });
  for (let index = 0; index < 100; index++) budget.noteRequest(1000);
  expect(taken(budget, 1000)).toBe(20);
  // Half a window later both requests and retries still count.
  expect(taken(budget, 6500)).toBe(0);
  for (let index = 0; index < 50; index++) budget.noteRequest(6500);
  expect(taken(budget, 6500)).toBe(10);
  expect(taken(budget, 30_000)).toBe(3);
});

test('retry budget: when percent and minimum are 0, nothing is retried', () => {
  const budget = new RetryBudget({ percent: 0, countMin: 0 });
  budget.noteRequest(0);
  expect(budget.tryTake(0)).toBe(false);
});
