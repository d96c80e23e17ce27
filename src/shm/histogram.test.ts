import { expect, test } from 'vitest';
import { bucketCount, bucketIndex, bucketUpperBound, percentile } from './histogram.ts';

test('histogram: when buckets are walked, each ends where the next begins and no integer is in two', () => {
  for (let index = 0; index < bucketCount; index++) {
    const upper = bucketUpperBound(index);
    expect(bucketIndex(upper)).toBe(index);
    expect(bucketIndex(upper + 1), `after ${upper}`).toBe(Math.min(index + 1, bucketCount - 1));
  }
  expect(bucketUpperBound(bucketCount - 1)).toBe(2 ** 42 - 1);
});

test('histogram: when a value is above 32, its bucket is at most 3.2 % wide, below and above 2^32 alike', () => {
  for (let value = 33; value < 2 ** 42; value *= 1.37) {
    const upper = bucketUpperBound(bucketIndex(value));
    expect(upper).toBeGreaterThanOrEqual(Math.floor(value));
    expect((upper - Math.floor(value)) / value).toBeLessThanOrEqual(1 / 32);
  }
});

test('histogram: when a value is not one, it is counted at the nearest end', () => {
  expect([NaN, -1, -Infinity, 0, 0.9, -0].map(bucketIndex)).toEqual([0, 0, 0, 0, 0, 0]);
  expect([2 ** 42, 1e300, Infinity].map(bucketIndex)).toEqual([1215, 1215, 1215]);
  expect([1.5, 31.9, 32.5, 2 ** 32 - 0.5]).toSatisfy((values: number[]) =>
    values.every((value) => bucketIndex(value) === bucketIndex(Math.floor(value))),
  );
});

test('histogram: when percentiles are read, they are those of the sorted values within a bucket', () => {
  const counts = new Float64Array(bucketCount);
  const values = Array.from({ length: 1000 }, (_, index) => (index + 1) * 37);
  for (const value of values) counts[bucketIndex(value)]! += 1;
  for (const ratio of [0, 0.001, 0.5, 0.9, 0.99, 0.999, 1]) {
    const exact = values[Math.max(0, Math.ceil(ratio * 1000) - 1)]!;
    expect(percentile(counts, ratio)).toBe(bucketUpperBound(bucketIndex(exact)));
  }
  expect(percentile(new Float64Array(bucketCount), 0.5)).toBe(0);
});
