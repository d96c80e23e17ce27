import type { SharedMemory } from './memory.ts';

/**
 * One word a shard: how often its timer has run. Control watches it change; a shard whose word stands still has a blocked
 * event loop, and could not answer a message either.
 *
 * | Word              | Unit       | Writer    |
 * | ----------------- | ---------- | --------- |
 * | 16 * shardIndex   | turns, wraps | the shard |
 */
const wordsEach = 16; // A cache line, so that shards do not slow each other down.

export function heartbeatMemoryBytes(shardCount: number): number {
  return shardCount * wordsEach * Int32Array.BYTES_PER_ELEMENT;
}

export class Heartbeats {
  readonly #words: Int32Array;

  constructor(memory: SharedMemory) {
    this.#words = new Int32Array(memory.heartbeats);
  }

  beat(shardIndex: number): void {
    Atomics.add(this.#words, shardIndex * wordsEach, 1);
  }

  read(shardIndex: number): number {
    return Atomics.load(this.#words, shardIndex * wordsEach);
  }
}
