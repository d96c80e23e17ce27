import { assert } from '../core/assert.ts';
import type { SharedMemory } from './memory.ts';

/**
 * How much is let in, over all shards: connections, requests, connections by address; and how short memory is.
 *
 * | Words of a region   | Count            | Unit        | Writer                                |
 * | ------------------- | ---------------- | ----------- | ------------------------------------- |
 * | connections         | 1                | connections | that shard (control: after it died)   |
 * | requests            | 1                | requests    | that shard (control: after it died)   |
 * | (rest of 128 bytes) | 30               |             | nobody: no other writer on the line   |
 * | address rows        | 2 * addressCells | connections | that shard (control: after it died)   |
 *
 * One region a shard; the first word of the last one, control's, is the share of the container's memory in use, in
 * percent. A total is the sum over the shards: a few loads where it is asked for, no contended word where it changes. Two
 * shards may let in the last one both, so a limit may be passed by as many as there are shards less one.
 *
 * Addresses are counted as in a count-min sketch: each adds to one cell in both rows, and has the smaller of the two. The
 * size does not grow with their number; sharing both cells with a busy address is one case in 2^28, and nobody can
 * choose it, because the hash is keyed by a number drawn at the start.
 */
const connectionsWord = 0;
const requestsWord = 1;
const memoryPercentWord = 0;
const rowsWord = 32;
const addressCellBits = 14;
const addressCells = 1 << addressCellBits;
const strideWords = rowsWord + 2 * addressCells;

/** Rows of addresses cost no memory until they are touched: zero pages. */
export function admissionMemoryBytes(shardCount: number): number {
  return (strideWords * shardCount + rowsWord) * 4;
}

export class Admission {
  readonly #words: Int32Array;
  readonly #shardCount: number;
  readonly #seed: number;
  /** Where this shard's region begins; -1 in control. */
  readonly #base: number;

  /** `shardIndex` is -1 for control, which may read, reclaim, and say how short memory is. */
  constructor(memory: SharedMemory, shardIndex: number) {
    assert(shardIndex >= -1 && shardIndex < memory.shardCount, 'shardIndex < shardCount');
    this.#words = new Int32Array(memory.admission);
    this.#shardCount = memory.shardCount;
    this.#seed = memory.hashSeed;
    this.#base = shardIndex === -1 ? -1 : shardIndex * strideWords;
  }

  addConnections(delta: number): void {
    this.#words[this.#base + connectionsWord]! += delta; // Plain: single writer.
  }

  /** How many this shard has. */
  setRequests(count: number): void {
    this.#words[this.#base + requestsWord] = count;
  }

  /** Of all shards. */
  connections(): number {
    return this.#sum(connectionsWord);
  }

  /** Of all shards. */
  requests(): number {
    return this.#sum(requestsWord);
  }

  /** Share of the container's memory in use, 0 where it has no limit. */
  memoryPercent(): number {
    return Atomics.load(this.#words, this.#shardCount * strideWords + memoryPercentWord);
  }

  /** Control alone. */
  setMemoryPercent(percent: number): void {
    assert(this.#base === -1, 'control alone says how short memory is');
    Atomics.store(this.#words, this.#shardCount * strideWords + memoryPercentWord, Math.round(percent));
  }

  /**
   * What an address is counted under. `bytes`: 4 or 16, in network order. An IPv6 address counts with its /64, which is
   * what one customer has; IPv4 in its IPv6 form as IPv4.
   */
  addressKey(bytes: Uint8Array): number {
    let at = 0;
    let end = bytes.length;
    if (end === 16) {
      if (isMappedV4(bytes)) at = 12;
      else end = 8;
    }
    let hash = this.#seed;
    for (; at < end; at++) {
      hash = Math.imul(hash ^ bytes[at]!, 0x5bd1_e995);
      hash ^= hash >>> 15;
    }
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
    // A cell of each row: 28 bits.
    return (hash ^ (hash >>> 16)) & ((1 << (2 * addressCellBits)) - 1);
  }

  /** Connections of the address, in all shards. */
  addressConnections(key: number): number {
    const first = rowsWord + (key & (addressCells - 1));
    const second = rowsWord + addressCells + (key >>> addressCellBits);
    return Math.min(this.#sum(first), this.#sum(second));
  }

  addAddress(key: number, delta: 1 | -1): void {
    const first = this.#base + rowsWord;
    this.#words[first + (key & (addressCells - 1))]! += delta;
    this.#words[first + addressCells + (key >>> addressCellBits)]! += delta;
  }

  /** Control, once the thread of the shard has ended: what it had let in is gone. */
  reclaimShard(shardIndex: number): void {
    assert(this.#base === -1, 'only control reclaims');
    this.#words.fill(0, shardIndex * strideWords, (shardIndex + 1) * strideWords);
  }

  #sum(word: number): number {
    let total = 0;
    for (let shard = 0; shard < this.#shardCount; shard++)
      total += Atomics.load(this.#words, shard * strideWords + word);
    return total;
  }
}

/** RFC 4291 section 2.5.5.2. */
function isMappedV4(bytes: Uint8Array): boolean {
  for (let at = 0; at < 10; at++) if (bytes[at] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}
