import { expect, test } from 'vitest';
import { HealthJudge } from './health-judge.ts';

test('health: when nothing is known, the first check decides alone', () => {
  for (const isOk of [true, false]) {
    const judge = new HealthJudge({ unhealthyAfter: 3, healthyAfter: 3 }, null);
    expect(judge.note(isOk)).toBe(true);
    expect(judge.isHealthy).toBe(isOk);
  }
});

test('health: when checks alternate, the verdict stays', () => {
  const judge = new HealthJudge({ unhealthyAfter: 2, healthyAfter: 2 }, true);
  for (let round = 0; round < 10; round++) expect(judge.note(round % 2 === 0)).toBe(false);
  expect(judge.isHealthy).toBe(true);
});

test('health: when enough results in a row say so, the verdict changes once, both ways', () => {
  const judge = new HealthJudge({ unhealthyAfter: 3, healthyAfter: 2 }, true);
  expect([false, false, false, false].map((isOk) => judge.note(isOk))).toEqual([false, false, true, false]);
  expect(judge.isHealthy).toBe(false);
  expect([true, true, true].map((isOk) => judge.note(isOk))).toEqual([false, true, false]);
  expect(judge.isHealthy).toBe(true);
});
