import { expect, test } from 'vitest';
import { ejectionPeriodMs, nextEjectionCount, remainingEjections } from './ejection.ts';

const rule = { consecutiveFailures: 5, baseMs: 10_000, maxMs: 300_000 };

test('ejection: when an endpoint is ejected again and again, the period doubles up to the maximum', () => {
  expect([0, 1, 2, 4, 5, 6, 5000].map((count) => ejectionPeriodMs(count, rule))).toEqual([
    10_000, 20_000, 40_000, 160_000, 300_000, 300_000, 300_000,
  ]);
});

test('ejection: when the period is at its maximum, the count stops, so that a recovery is not owed for ever', () => {
  let count = 0;
  for (let round = 0; round < 1000; round++) count = nextEjectionCount(count, rule);
  expect(count).toBe(5);
});

test('ejection: when an endpoint lasts as long as its last ejection did, one is forgotten', () => {
  expect(remainingEjections(2, 19_999, rule)).toBe(2);
  expect(remainingEjections(2, 20_000, rule)).toBe(1);
  expect(remainingEjections(2, 30_000, rule)).toBe(0);
  expect(remainingEjections(5, 3_600_000, rule)).toBe(0);
});
