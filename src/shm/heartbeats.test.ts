import { expect, test } from 'vitest';
import { Heartbeats } from './heartbeats.ts';
import { createSharedMemory } from './memory.ts';

test('heartbeats: when a shard beats, its word changes for everybody and no other does', () => {
  const memory = createSharedMemory({ shardCount: 3, endpointCountMax: 1, bufferedBytesMax: 1024 });
  const [shard, control] = [new Heartbeats(memory), new Heartbeats(memory)];
  const before = [0, 1, 2].map((index) => control.read(index));
  shard.beat(2);
  shard.beat(2);
  expect([0, 1, 2].map((index) => control.read(index) - before[index]!)).toEqual([0, 0, 2]);
});
