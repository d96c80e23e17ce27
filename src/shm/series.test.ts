import { expect, test } from 'vitest';
import { createSharedMemory } from './memory.ts';
import type { SharedMemory } from './memory.ts';
import { counterCountMax, histogramCountMax, metricCountMax, SeriesReader, SeriesWriter } from './series.ts';

function memoryFor(shardCount: number): SharedMemory {
  return createSharedMemory({ shardCount, endpointCountMax: 1, bufferedBytesMax: 1024 });
}

test('series: when two shards and control count the same series, the reader sums them and keeps each value', () => {
  const memory = memoryFor(2);
  const writers = [0, 1, -1].map((index) => new SeriesWriter(memory, index));
  for (const [index, writer] of writers.entries()) {
    writer.add(writer.counter(3, ['a', 'é"\\']), 10 ** index);
    writer.record(writer.histogram(5, []), index + 1);
  }
  const { counters, histograms, overflowCount } = new SeriesReader(memory).collect();
  expect(counters).toEqual([{ metricId: 3, labels: ['a', 'é"\\'], total: 111, values: Float64Array.of(1, 10, 100) }]);
  expect(histograms.length).toBe(1);
  expect(histograms[0]).toMatchObject({ metricId: 5, labels: [], sum: 6 });
  expect([...histograms[0]!.counts.subarray(0, 5)]).toEqual([0, 1, 1, 1, 0]);
  expect(overflowCount).toBe(0);
});

test('series: when the same series is asked for again, it is the same cell; other labels or metric are another', () => {
  const writer = new SeriesWriter(memoryFor(1), 0);
  const cell = writer.counter(1, ['a', 'b']);
  expect(writer.counter(1, ['a', 'b'])).toBe(cell);
  const others = [writer.counter(1, ['a,b']), writer.counter(1, ['b', 'a']), writer.counter(11, ['a', 'b'])];
  expect(new Set([cell, ...others]).size).toBe(4);
});

test('series: when a gauge is set, the reader sees the last value', () => {
  const memory = memoryFor(1);
  const writer = new SeriesWriter(memory, 0);
  const cell = writer.counter(1, ['0']);
  writer.set(cell, 17);
  writer.set(cell, 4);
  expect(new SeriesReader(memory).collect().counters[0]).toMatchObject({ total: 4 });
});

// FAULTS F14: counters of a restarted shard must not jump back, or every rate over them is wrong.
test('series: when a shard starts again in the same place, it finds its cells and goes on counting', () => {
  const memory = memoryFor(1);
  const before = new SeriesWriter(memory, 0);
  const cell = before.counter(1, ['x']);
  const histogram = before.histogram(2, ['y']);
  before.add(cell, 5);
  before.record(histogram, 100);
  const after = new SeriesWriter(memory, 0);
  expect(after.counter(1, ['new'])).not.toBe(cell);
  expect(after.counter(1, ['x'])).toBe(cell);
  expect(after.histogram(2, ['y'])).toBe(histogram);
  after.add(cell, 1);
  const { counters, histograms } = new SeriesReader(memory).collect();
  expect(counters.find(({ labels }) => labels[0] === 'x')?.total).toBe(6);
  expect(histograms[0]?.sum).toBe(100);
});

test('series: when there is no room for another series, its metric gets one overflow cell and the refusals are counted', () => {
  const memory = memoryFor(1);
  const writer = new SeriesWriter(memory, 0);
  const cells = new Set<number>();
  for (let index = 0; index < 5000; index++) cells.add(writer.counter(index % 3, [`model-${index}`, 'pool']));
  expect(cells.size).toBe(counterCountMax - metricCountMax + 3);
  expect(writer.overflowCount).toBe(5000 - (counterCountMax - metricCountMax));
  const overflow = writer.counter(0, ['one more', 'pool']);
  expect(writer.counter(0, ['and another', 'pool'])).toBe(overflow);
  expect(writer.counter(0, ['model-0', 'pool']), 'what exists is still found').not.toBe(overflow);
  writer.add(overflow, 2);
  const { counters } = new SeriesReader(memory).collect();
  expect(counters.find(({ metricId, labels }) => metricId === 0 && labels[0] === 'other')).toMatchObject({
    labels: ['other', 'other'],
    total: 2,
  });
});

test('series: when histograms or the text area run out, every metric still has a place', () => {
  const memory = memoryFor(1);
  const writer = new SeriesWriter(memory, 0);
  for (let index = 0; index < 2000; index++) writer.histogram(0, [`${index}`]);
  const overflows = Array.from({ length: metricCountMax }, (_, id) => writer.histogram(id, ['a', 'b', 'c']));
  expect(new Set(overflows).size).toBe(metricCountMax);
  expect(Math.max(...overflows)).toBeLessThan(histogramCountMax);
  writer.record(overflows[63]!, 9);

  const long = 'x'.repeat(2000);
  for (let index = 0; index < 1000; index++) writer.counter(0, [`${long}${index}`]);
  const labels = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
  const cells = Array.from({ length: metricCountMax }, (_, id) => writer.counter(id, [...labels, long]));
  expect(new Set(cells).size).toBe(metricCountMax);
  const { histograms } = new SeriesReader(memory).collect();
  expect(histograms.find(({ metricId }) => metricId === 63)).toMatchObject({
    sum: 9,
    labels: ['other', 'other', 'other'],
  });
});

test('series: when a recorded value is no number, the sum stays usable', () => {
  const memory = memoryFor(1);
  const writer = new SeriesWriter(memory, 0);
  const histogram = writer.histogram(1, []);
  for (const value of [NaN, -5, 10, Infinity]) writer.record(histogram, value);
  const { sum, counts } = new SeriesReader(memory).collect().histograms[0]!;
  expect(sum).toBe(10 + 2 ** 42);
  expect(counts.reduce((total, count) => total + count, 0)).toBe(4);
});
