import { expect, test } from 'vitest';
import { Backoff, restartBackoff } from './backoff.ts';

test('backoff: when something dies at once again and again, the wait doubles up to its maximum', () => {
  const backoff = new Backoff();
  const waits = Array.from({ length: 9 }, () => backoff.nextMs(0));
  expect(waits).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
});

test('backoff: when it lived long enough in between, the wait starts again at the shortest', () => {
  const backoff = new Backoff();
  backoff.nextMs(0);
  backoff.nextMs(0);
  expect(backoff.nextMs(restartBackoff.healthyMs - 1)).toBe(400);
  expect(backoff.nextMs(restartBackoff.healthyMs)).toBe(100);
  expect(backoff.nextMs(0)).toBe(200);
});
