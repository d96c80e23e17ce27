import { expect, test } from 'vitest';
import { PrefillRate } from './prefill-rate.ts';

test('prefill rate: when an endpoint was met seldom, it is taken to be about as fast as the others, and after eight times for what it is', () => {
  const rate = new PrefillRate();
  expect(rate.of('a')).toBe(rate.of('b'));
  rate.learn('a', 4000, 200);
  expect([rate.of('a'), rate.of('b')]).toEqual([20_000, 20_000]);
  for (let count = 1; count <= 8; count++) {
    const before = rate.of('b');
    rate.learn('b', 4000, 400);
    expect(rate.of('b')).toBeLessThan(before);
  }
  expect(rate.of('b')).toBe(10_000);
  expect(rate.of('c')).toBeGreaterThan(10_000);
  rate.keep(new Set(['a']));
  expect(rate.of('b')).toBe(rate.of('c'));
});

test('prefill rate: when the first prompt at an endpoint met others, it is not taken to be slow', () => {
  const rate = new PrefillRate();
  for (let count = 0; count < 10; count++) rate.learn('a', 4000, 200);
  rate.learn('b', 4000, 3000);
  expect(rate.of('b')).toBeGreaterThan(17_000);
});

test('prefill rate: when an endpoint has become slower, that is known after 32 prompts', () => {
  const rate = new PrefillRate();
  for (let count = 0; count < 100; count++) rate.learn('a', 4000, 200);
  for (let count = 0; count < 32; count++) rate.learn('a', 4000, 800);
  expect(rate.of('a')).toBe(5000);
});

test('prefill rate: when first bytes take longer now and then, the rate stays near the fastest of them', () => {
  const rate = new PrefillRate();
  for (let count = 0; count < 2000; count++) rate.learn('a', 4000, count % 10 === 0 ? 200 : 800);
  expect(rate.of('a')).toBeGreaterThan(15_000);
  expect(rate.of('a')).toBeLessThan(25_000);
});

test('prefill rate: when the first prompts met others, a dozen more are enough to find how fast it is', () => {
  const rate = new PrefillRate();
  rate.learn('a', 4000, 1000);
  for (let count = 0; count < 12; count++) rate.learn('a', 4000, count % 3 === 0 ? 600 : 200);
  expect(rate.of('a')).toBeGreaterThan(16_000);
  expect(rate.of('a')).toBeLessThanOrEqual(20_000);
});

test('prefill rate: when a prompt is short, or its time is not known, nothing is learned', () => {
  const rate = new PrefillRate();
  const before = rate.of('a');
  rate.learn('a', 100, 50);
  rate.learn('a', 4000, 0);
  expect(rate.of('a')).toBe(before);
});
