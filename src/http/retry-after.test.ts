import { expect, test } from 'vitest';
import { retryAfterMs } from './retry-after.ts';

const now = Date.UTC(2026, 10, 21, 8, 0, 0);

test.each([
  ['0', 0],
  ['7', 7000],
  ['1.5', 1500],
  ['Sat, 21 Nov 2026 08:00:30 GMT', 30_000],
  ['Saturday, 21-Nov-26 08:00:30 GMT', 30_000],
  ['Sat, 21 Nov 2026 07:59:00 GMT', 0],
  ['', 0],
  ['-1', 0],
  ['soon', 0],
  ['2026', 2_026_000],
  ['99999999999', 0],
])('retry-after: when it says %j, the wait is %i ms', (value, expected) => {
  expect(retryAfterMs(value, now)).toBe(expected);
});

test('retry-after: when it is absent, there is no wait', () => {
  expect(retryAfterMs(null, now)).toBe(0);
});
