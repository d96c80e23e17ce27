import type { SharedMemory } from './memory.ts';

/**
 * How a shard wakes another without a message through control: a word each, which the others change and that shard waits
 * for with `Atomics.waitAsync`, so that its event loop goes on. 0.08 ms from one idle thread to the other at p50, Node
 * 20.20, two cores. Rings that come while one is being answered are one ring.
 *
 * | Word            | Unit         | Writer               |
 * | --------------- | ------------ | -------------------- |
 * | 32 * shardIndex | rings, wraps | every shard, Atomics |
 */
const wordsEach = 32;

export function bellMemoryBytes(shardCount: number): number {
  return shardCount * wordsEach * 4;
}

/** Not in the library types of the language version we compile for; V8 has it since 8.7. */
interface AsyncWait {
  waitAsync(
    words: Int32Array,
    index: number,
    value: number,
  ): { readonly async: false } | { readonly async: true; readonly value: Promise<string> };
}

export class Bells {
  readonly #words: Int32Array;
  #onRing: (() => void) | null = null;
  #answeredRing = 0;

  constructor(memory: SharedMemory) {
    this.#words = new Int32Array(memory.bells);
  }

  ring(shardIndex: number): void {
    Atomics.add(this.#words, shardIndex * wordsEach, 1);
    Atomics.notify(this.#words, shardIndex * wordsEach);
  }

  /** `onRing` is called, in a turn of its own, after this shard's bell was rung. Once an object; does not keep the thread alive. */
  listen(shardIndex: number, onRing: () => void): void {
    this.#onRing = onRing;
    this.#answeredRing = Atomics.load(this.#words, shardIndex * wordsEach);
    this.#wait(shardIndex);
  }

  stop(): void {
    this.#onRing = null;
  }

  #wait(shardIndex: number): void {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- See AsyncWait.
    const atomics = Atomics as unknown as AsyncWait;
    const waiting = atomics.waitAsync(this.#words, shardIndex * wordsEach, this.#answeredRing);
    if (waiting.async) void waiting.value.then(() => this.#answer(shardIndex));
    else setImmediate(() => this.#answer(shardIndex)); // Rung since.
  }

  #answer(shardIndex: number): void {
    if (this.#onRing === null) return;
    // Before the answer: a ring during it is another one.
    this.#answeredRing = Atomics.load(this.#words, shardIndex * wordsEach);
    try {
      this.#onRing();
    } finally {
      this.#wait(shardIndex);
    }
  }
}
