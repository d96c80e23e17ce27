import { expect, test } from 'vitest';
import { metrics } from '../account/index.ts';
import { Priority } from '../exchange/index.ts';
import { Admission, createSharedMemory, SeriesReader, SeriesWriter } from '../shm/index.ts';
import { memoryFloor, Shedder } from './shedder.ts';

type Limits = Parameters<Shedder['refusal']>[1];

function limitsOf(changed: Partial<Limits>): Limits {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- What the shedder reads of them.
  return { requestsMax: 0, shedDelayMs: 100, shedMemoryPercent: 85, ...changed } as Limits;
}

const limits = limitsOf({});

function made() {
  const memory = createSharedMemory({ shardCount: 1, endpointCountMax: 1, bufferedBytesMax: 1024 });
  const admission = new Admission(memory, 0);
  const state = { nowMs: 1000, heap: 10, random: 0.5 };
  const shedder = new Shedder(new SeriesWriter(memory, 0), 0, {
    admission,
    random: () => state.random,
    heapPercent: () => state.heap,
  });
  /** Twenty samples a second, or as many as fit. */
  const run = (seconds: number, delayMs: (sample: number) => number): void => {
    const endMs = state.nowMs + seconds * 1000;
    for (let sample = 0; state.nowMs < endMs; sample++) {
      const delay = delayMs(sample);
      state.nowMs += Math.max(50, delay);
      shedder.noteDelay(delay, state.nowMs, limits);
    }
  };
  const counted = (reason: string, priority: string): number =>
    new SeriesReader(memory)
      .collect()
      .counters.find((each) => each.metricId === metrics.shed.id && each.labels.join() === `${reason},${priority}`)!
      .total;
  return { shedder, admission, control: new Admission(memory, -1), state, run, counted };
}

const refused = (shedder: Shedder): (string | null)[] =>
  [Priority.low, Priority.normal, Priority.high].map((priority) => shedder.refusal(priority, limits));

test('shedder: when single turns are long, however long, nobody is refused', () => {
  const { shedder, run } = made();
  run(20, (sample) => (sample % 3 === 0 ? 2 : 800));
  expect(shedder.level).toBe(0);
  expect(refused(shedder)).toEqual([null, null, null]);
});

test('shedder: when the queue never empties, low priority goes first, then normal but never all of it, and high stays', () => {
  const { shedder, run, state, counted } = made();
  run(0.8, () => 120);
  expect(shedder.level).toBeGreaterThan(0);
  expect(shedder.level).toBeLessThan(1);
  state.random = 0.01;
  expect(refused(shedder)).toEqual(['event_loop', null, null]);
  run(30, () => 150);
  state.random = 0.5;
  expect(refused(shedder)).toEqual(['event_loop', 'event_loop', null]);
  state.random = 0.99;
  expect(refused(shedder)).toEqual(['event_loop', null, null]);
  expect(counted('event_loop', 'low')).toBe(3);
  run(10, () => 1);
  expect(shedder.level).toBe(0);
});

test('shedder: when it is twice as late, the share grows faster', () => {
  const rise = (delayMs: number): number => {
    const { shedder, run } = made();
    run(1.1, () => delayMs);
    const before = shedder.level;
    run(0.4, () => delayMs);
    return shedder.level - before;
  };
  expect(rise(205)).toBeGreaterThan(rise(110));
});

test('shedder: when memory runs short, of the heap or of the container, priorities go in order', () => {
  expect([80, 85, 90, 95, 100].map((percent) => memoryFloor(85, percent, 0))).toEqual([0, 1, 2, 3, 3]);
  expect(memoryFloor(85, 10, 91)).toBe(2);
  expect(memoryFloor(0, 99, 99)).toBe(0);
  const { shedder, run, state, control } = made();
  state.heap = 91;
  run(0.3, () => 1);
  expect(refused(shedder)).toEqual(['memory', 'memory', null]);
  state.heap = 10;
  control.setMemoryPercent(96);
  run(0.3, () => 1);
  expect(refused(shedder)).toEqual(['memory', 'memory', 'memory']);
  control.setMemoryPercent(20);
  run(0.3, () => 1);
  expect(refused(shedder)).toEqual([null, null, null]);
});

test('shedder: when more requests are open than may be, the next is refused, whatever its priority', () => {
  const { shedder, admission } = made();
  admission.setRequests(5);
  expect(shedder.refusal(Priority.high, limitsOf({ requestsMax: 5 }))).toBeNull();
  admission.setRequests(6);
  expect(shedder.refusal(Priority.high, limitsOf({ requestsMax: 5 }))).toBe('requests_max');
});
