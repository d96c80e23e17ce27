import { expect, test } from 'vitest';
import { Bells } from './bells.ts';
import { createSharedMemory } from './memory.ts';

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

async function heard(counts: () => number, wanted: number): Promise<void> {
  for (let turns = 0; turns < 1000 && counts() < wanted; turns++) await turn();
  expect(counts()).toBe(wanted);
}

test('bells: when a bell is rung, its shard hears it, and no other shard does', async () => {
  const memory = createSharedMemory({ shardCount: 2, endpointCountMax: 1, bufferedBytesMax: 1024 });
  const one = new Bells(memory);
  const other = new Bells(memory);
  const counts = [0, 0];
  one.listen(0, () => void counts[0]!++);
  other.listen(1, () => void counts[1]!++);
  for (let round = 1; round <= 5; round++) {
    one.ring(1);
    await heard(() => counts[1]!, round);
  }
  one.ring(1);
  one.ring(1);
  await heard(() => counts[1]!, 6); // At once, so they are one.
  other.stop();
  one.stop();
  one.ring(1);
  for (let turns = 0; turns < 20; turns++) await turn();
  expect(counts).toEqual([0, 6]);
});

test('bells: when a bell is rung while the last ring is answered, that is another one', async () => {
  const bells = new Bells(createSharedMemory({ shardCount: 1, endpointCountMax: 1, bufferedBytesMax: 1024 }));
  let count = 0;
  bells.listen(0, () => {
    if (++count < 4) bells.ring(0);
  });
  bells.ring(0);
  await heard(() => count, 4);
  bells.stop();
});
