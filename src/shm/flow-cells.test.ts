import { expect, test } from 'vitest';
import { FlowCells, flowCellCount } from './flow-cells.ts';
import { createSharedMemory } from './memory.ts';

function cells(): FlowCells {
  return new FlowCells(createSharedMemory({ shardCount: 1, endpointCountMax: 1, bufferedBytesMax: 1024 }));
}

/** A flow whose two cells nobody else has: low and high half of its bits are its own. */
const flow = (index: number): number => (index << 12) | index;

test('flow cells: when flows take turns, each has waited since its own, and one that never had any waits longest', () => {
  const made = cells();
  for (const index of [1, 2, 3, 1]) made.takeTurn(7, flow(index));
  expect([1, 2, 3, 4].map((index) => made.turnsSince(7, flow(index)))).toEqual([0, 2, 1, 4]);
  expect(made.turnsSince(8, flow(1)), 'in another row').toBe(0);
});

// A flow meets another in one of its cells often, in both hardly ever.
test('flow cells: when a flow shares one cell with a busy one, it is taken for no busier than it is', () => {
  const made = cells();
  const busy = (5 << 12) | 9;
  const other = (6 << 12) | 9;
  made.takeTurn(0, busy);
  made.takeTurn(0, busy);
  expect(made.turnsSince(0, other)).toBe(2);
  made.addService(1, busy, 16_000, 4);
  expect([made.service(1, busy, 4), made.service(1, other, 4)]).toEqual([16_000, 0]);
});

test('flow cells: when half-lives go by, service halves with each, and is nothing in the end', () => {
  const made = cells();
  made.addService(0, flow(1), 16_000, 300);
  expect([300, 301, 302, 310, 324].map((epoch) => made.service(0, flow(1), epoch))).toEqual([16_000, 8000, 4000, 0, 0]);
  made.addService(0, flow(1), 1600, 301);
  expect(made.service(0, flow(1), 301)).toBe(9600);
});

test('flow cells: when more is taken back than was counted, nothing is left, and what is too much stays at the most', () => {
  const made = cells();
  made.addService(0, flow(1), 1600, 1);
  made.addService(0, flow(1), -3200, 1);
  expect(made.service(0, flow(1), 1)).toBe(0);
  made.addService(0, flow(1), 2 ** 40, 1);
  expect(made.service(0, flow(1), 1)).toBe((2 ** 24 - 1) * 16);
});

// Threads read the clock one after the other.
test('flow cells: when one thread sees the next half-life before another, nothing is lost', () => {
  const made = cells();
  made.addService(0, flow(1), 1600, 256);
  expect(made.service(0, flow(1), 255)).toBe(1600);
  made.addService(0, flow(1), 1600, 255);
  expect([made.service(0, flow(1), 256), made.service(0, flow(1), 257)]).toEqual([3200, 1600]);
});

test('flow cells: when cells are gone over in time, old service does not come back as new', () => {
  const made = cells();
  made.addService(0, flow(3), 160_000, 10);
  for (let epoch = 10; epoch < 10 + 300; epoch += 60) {
    for (let from = 0; from < flowCellCount; from += 1000) made.refresh(0, from, 1000, epoch);
  }
  expect(made.service(0, flow(3), 10 + 256)).toBe(0);
  made.addService(0, flow(3), 160, 300);
  made.takeTurn(0, flow(4));
  made.clear(0);
  expect([made.service(0, flow(3), 300), made.turnsSince(0, flow(4))]).toEqual([0, 0]);
});
