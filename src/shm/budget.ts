import { assert, fail } from '../core/assert.ts';
import type { SharedMemory } from './memory.ts';
import type { SharedCounts } from './shared-counts.ts';

/**
 * The bytes of bodies held at once by all shards together (`limits.buffered_bytes_max`).
 *
 * | Word            | Byte offset       | Unit | Writer                                          |
 * | --------------- | ----------------- | ---- | ----------------------------------------------- |
 * | used            | 0                 | KiB  | every shard, Atomics                            |
 * | shadow of shard | 128 * (shard + 1) | KiB  | that shard alone; control after the shard died  |
 *
 * The unit is 1 KiB so that 2 TiB fit an Int32 (BigInt64 costs 24 ns and garbage). The shadow says how much of `used` is
 * one shard's, which is what `reclaimShard` gives back. Words of different writers are 128 bytes apart: on one cache
 * line two threads slow each other by 2.5.
 */
const unitBytes = 1024;
const strideBytes = 128;
const strideWords = strideBytes / 4;

/** Largest budget one Int32 of KiB can hold. */
export const budgetBytesMax = 0x7fff_ffff * unitBytes;

export function budgetMemoryBytes(shardCount: number): number {
  return strideBytes * (shardCount + 1);
}

export class SharedBudget implements SharedCounts {
  readonly countCount = 1;
  readonly max: number;
  readonly #words: Int32Array;
  readonly #maxUnits: number;
  readonly #shardCount: number;
  readonly #shadow: number;

  /** `shardIndex` is -1 for control, which may only read and reclaim. */
  constructor(memory: SharedMemory, shardIndex: number) {
    assert(shardIndex >= -1 && shardIndex < memory.shardCount, 'shardIndex < shardCount');
    this.max = memory.bufferedBytesMax;
    this.#words = new Int32Array(memory.budget);
    this.#maxUnits = Math.floor(memory.bufferedBytesMax / unitBytes);
    this.#shardCount = memory.shardCount;
    this.#shadow = shardIndex === -1 ? -1 : shadowOf(shardIndex);
  }

  /**
   * @hot per chunk. False when `bytes` do not fit: pause the source. A compare-and-swap, not add-and-roll-back: `used`
   * never shows more than `max`, and a large claim that fails cannot make a small one that fits fail beside it.
   */
  tryTake(bytes: number): boolean {
    if (this.#shadow === -1) fail('control holds no budget');
    const units = unitsOf(bytes);
    const words = this.#words;
    let used = Atomics.load(words, 0);
    for (;;) {
      if (used + units > this.#maxUnits) return false;
      const seen = Atomics.compareExchange(words, 0, used, used + units);
      if (seen === used) break;
      used = seen;
    }
    this.#shadowAdd(units);
    return true;
  }

  /** Takes even beyond `max`: for bytes that have already arrived and have to be held somewhere. */
  takeForced(bytes: number): void {
    if (this.#shadow === -1) fail('control holds no budget');
    const units = unitsOf(bytes);
    Atomics.add(this.#words, 0, units);
    this.#shadowAdd(units);
  }

  /** @hot per chunk. `bytes` is the amount of one earlier take. */
  give(bytes: number): void {
    const units = unitsOf(bytes);
    if (!(this.#words[this.#shadow]! >= units)) fail('budget given back more than taken', bytes);
    this.#shadowAdd(-units);
    Atomics.sub(this.#words, 0, units);
  }

  /** Bytes held by all shards, each take rounded up to 1 KiB. */
  used(): number {
    return Atomics.load(this.#words, 0) * unitBytes;
  }

  /** Bytes held by one shard. */
  usedBy(shardIndex: number): number {
    return Atomics.load(this.#words, shadowOf(shardIndex)) * unitBytes;
  }

  /** Control, once the thread of the shard has ended: gives back all that it held. Returns the bytes. */
  reclaimShard(shardIndex: number): number {
    assert(this.#shadow === -1, 'only control reclaims');
    assert(shardIndex >= 0 && shardIndex < this.#shardCount, 'shardIndex < shardCount');
    const units = Atomics.exchange(this.#words, shadowOf(shardIndex), 0);
    Atomics.sub(this.#words, 0, units);
    return units * unitBytes;
  }

  readSurplus(out: Int32Array): void {
    let surplus = Atomics.load(this.#words, 0);
    for (let shard = 0; shard < this.#shardCount; shard++) surplus -= Atomics.load(this.#words, shadowOf(shard));
    out[0] = surplus;
  }

  takeOff(_index: number, surplus: number): void {
    assert(this.#shadow === -1, 'only control corrects');
    Atomics.sub(this.#words, 0, surplus);
  }

  describeCount(): Record<string, string | number> {
    return { count: 'buffered_kibibytes' };
  }

  #shadowAdd(units: number): void {
    this.#words[this.#shadow]! += units; // Plain: single writer.
  }
}

function shadowOf(shardIndex: number): number {
  return (shardIndex + 1) * strideWords;
}

function unitsOf(bytes: number): number {
  return Math.ceil(bytes / unitBytes);
}
