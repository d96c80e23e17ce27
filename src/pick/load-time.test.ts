import { expect, test } from 'vitest';
import { LoadTime, LoadTimes } from './load-time.ts';

test('load time: when loads take about as long, it comes to their median, within its bounds', () => {
  const time = new LoadTime(0.5, 0.1, 5);
  for (let turn = 0; turn < 200; turn++) time.learn(turn % 10 === 0 ? 30 : 1.2);
  expect(time.seconds).toBeGreaterThan(1.1);
  expect(time.seconds).toBeLessThan(1.4);
  for (let turn = 0; turn < 200; turn++) time.learn(-0.01);
  expect(time.seconds, 'never nothing').toBe(0.1);
  for (let turn = 0; turn < 200; turn++) time.learn(100);
  expect(time.seconds).toBe(5);
});

test('load time: when one request waited for something else besides, it hardly moves', () => {
  const time = new LoadTime(0.5, 0.1, 5);
  time.learn(3600);
  expect(time.seconds).toBeCloseTo(0.525);
});

test('load time: when answers take long, a place is held as long, but not for ever', () => {
  const times = new LoadTimes();
  for (let turn = 0; turn < 200; turn++) times.noteHold(8);
  expect(times.holdSeconds).toBeCloseTo(8, 1);
  for (let turn = 0; turn < 400; turn++) times.noteHold(100_000);
  expect(times.holdSeconds).toBeCloseTo(60, 1);
});
