/**
 * Paged KV cache: blocks of `blockSize` tokens with reference counts, shared by prefix, evicted least recently used first.
 *
 * A block is *held* (some sequence uses it), or free. A free block that carries a key still holds the KV of its tokens and
 * can be taken again by a sequence with the same prefix; free blocks wait in one list, those without a key at the head,
 * then the least recently freed. Same rules as vLLM's `v1/core/block_pool.py`.
 *
 * A block's key is the chained hash of all tokens up to its end (`PrefixHash`), so equal keys mean equal prefixes.
 */
import { fail } from '../core/index.ts';
import type { KvCacheListener } from './kv-events.ts';

/**
 * Running hash of a token sequence. `key` folds it to 53 bits: with 65,536 blocks, a false match has odds of about one in
 * four million over a cache's worth of blocks.
 */
export class PrefixHash {
  #low: number;
  #high: number;

  /** `seed` separates what must not be shared: LoRA adapters and cache salts. */
  constructor(seed: number) {
    this.#low = Math.imul(seed ^ 0x2545f491, 0x9e3779b1);
    this.#high = Math.imul(seed ^ 0x7f4a7c15, 0x85ebca6b);
  }

  add(token: number): void {
    let low = Math.imul(this.#low ^ token, 0x9e3779b1);
    low ^= low >>> 15;
    const high = Math.imul((this.#high + token) | 0, 0x85ebca6b) ^ low;
    this.#low = low;
    this.#high = (high << 13) | (high >>> 19);
  }

  /** A positive integer below 2^53, never 0. */
  get key(): number {
    return (this.#high >>> 0) * 0x20_0000 + (this.#low >>> 11) || 1;
  }
}

export class KvCache {
  readonly blockSize: number;
  readonly blockCount: number;
  readonly #holders: Int32Array;
  /** Key by block; 0 when the block has none. */
  readonly #keys: Float64Array;
  readonly #blockByKey = new Map<number, number>();
  /** Free list, doubly linked; index `blockCount` is the anchor: its next is the head, its previous the tail. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  #freeCount = 0;
  #evictedCount = 0;
  /** Told of what becomes findable and what no longer is. */
  listener: KvCacheListener | null = null;

  constructor(blockCount: number, blockSize: number) {
    this.blockCount = blockCount;
    this.blockSize = blockSize;
    this.#holders = new Int32Array(blockCount);
    this.#keys = new Float64Array(blockCount);
    this.#next = new Int32Array(blockCount + 1).fill(blockCount);
    this.#previous = new Int32Array(blockCount + 1).fill(blockCount);
    for (let block = 0; block < blockCount; block++) this.#link(block, this.#previous[blockCount]!);
  }

  get freeCount(): number {
    return this.#freeCount;
  }

  get usedCount(): number {
    return this.blockCount - this.#freeCount;
  }

  /** Held blocks over all blocks, 0 .. 1. Free blocks count as free even while they carry a key, as in vLLM. */
  get usageRatio(): number {
    return this.usedCount / this.blockCount;
  }

  /** Free or held blocks another sequence could reuse. */
  get cachedCount(): number {
    return this.#blockByKey.size;
  }

  get evictedCount(): number {
    return this.#evictedCount;
  }

  /** How many of the first `limit` keys are cached without a gap. */
  match(keys: ArrayLike<number>, limit: number): number {
    let count = 0;
    while (count < limit && this.#blockByKey.has(keys[count]!)) count++;
    return count;
  }

  /** How many of the first `count` keys, all matched, sit in free blocks: taking them uses up free blocks. */
  freeAmong(keys: ArrayLike<number>, count: number): number {
    let free = 0;
    for (let index = 0; index < count; index++) {
      if (this.#holders[this.#blockByKey.get(keys[index]!)!] === 0) free++;
    }
    return free;
  }

  /** Takes the blocks of the first `count` keys, all matched in this turn, and appends them to `blocks`. */
  takeCached(keys: ArrayLike<number>, count: number, blocks: number[]): void {
    for (let index = 0; index < count; index++) {
      const block = this.#blockByKey.get(keys[index]!);
      if (block === undefined) fail('prefix block was not matched', index);
      if (this.#holders[block]!++ === 0) this.#unlink(block);
      blocks.push(block);
    }
  }

  /** A fresh block, or -1 when every block is held. A cached free block loses its key. */
  take(): number {
    if (this.#freeCount === 0) return -1;
    const block = this.#next[this.blockCount]!;
    this.#unlink(block);
    const key = this.#keys[block]!;
    if (key !== 0) {
      this.#blockByKey.delete(key);
      this.#keys[block] = 0;
      this.#evictedCount++;
      this.listener?.onRemoved(key);
    }
    this.#holders[block] = 1;
    return block;
  }

  /**
   * Makes a held, full block findable, and returns true. When another block has the key already, that one stays the shared
   * one.
   */
  tag(block: number, key: number): boolean {
    if (this.#holders[block]! < 1) fail('tagged block is not held', block);
    if (this.#keys[block] !== 0 || this.#blockByKey.has(key)) return false;
    this.#keys[block] = key;
    this.#blockByKey.set(key, block);
    return true;
  }

  /** Gives back a sequence's blocks, last first, so that the head of a prefix outlives its tail. Empties `blocks`. */
  give(blocks: number[]): void {
    for (let block = blocks.pop(); block !== undefined; block = blocks.pop()) {
      const holders = --this.#holders[block]!;
      if (holders < 0) fail('block is not held', block);
      if (holders > 0) continue;
      this.#link(block, this.#keys[block] === 0 ? this.blockCount : this.#previous[this.blockCount]!);
    }
  }

  /** Forgets every key (`POST /reset_prefix_cache`). Held blocks stay held. */
  forgetPrefixes(): void {
    this.#blockByKey.clear();
    this.#keys.fill(0);
    this.listener?.onCleared();
  }

  #link(block: number, after: number): void {
    const next = this.#next[after]!;
    this.#next[after] = block;
    this.#previous[block] = after;
    this.#next[block] = next;
    this.#previous[next] = block;
    this.#freeCount++;
  }

  #unlink(block: number): void {
    const next = this.#next[block]!;
    const previous = this.#previous[block]!;
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.#freeCount--;
  }
}
