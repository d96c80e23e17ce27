import { assert, fail } from '../core/assert.ts';
import type { SharedMemory } from './memory.ts';

/**
 * Who waits for a place, over all shards: a row for each pool, in it a region for each shard.
 *
 * | Words of a row's head   | Unit          | Writer                              |
 * | ----------------------- | ------------- | ----------------------------------- |
 * | tickets                 | drawn, wraps  | every shard, Atomics                |
 *
 * | Words of a region       | Unit          | Writer                              |
 * | ----------------------- | ------------- | ----------------------------------- |
 * | requests by level (4)   | requests      | that shard (control: after it died) |
 * | bytes by level (4)      | KiB           | that shard (control: after it died) |
 * | requests                | of all levels | that shard (control: after it died) |
 * | sequence                | odd: changing | that shard                          |
 * | firsts (8): who, ticket | see `publish` | that shard, under the sequence      |
 * | parts of the firsts (8) | 0 = any       | that shard, under the sequence      |
 * | models of the firsts (8) | 0 = any      | that shard, under the sequence      |
 * | evictions by level (4)  | requests      | the others add, that shard takes    |
 *
 * A level is a priority, the lowest 0. A total is the sum over the shards, a few loads: two shards may let in the last one
 * both, so a bound may be passed by as many as there are shards less one. What a shard publishes is whom it would serve
 * first, of each of up to 8 flows: whose turn it is among them changes with every turn taken in another shard, which
 * compares them with its own when it has a place to give.
 */
const wordsEach = 64; // 256 bytes: no two writers of what is written often on one line.
const requestsWord = 0;
const kibWord = 4;
const kibMax = 2 ** 31 - 1;
const allRequestsWord = 8;
const sequenceWord = 9;
const firstsWord = 16;
const partsWord = 32;
const modelsWord = 40;
const evictionsWord = 48;
const seqlockTriesMax = 64;

export const queueLevelCount = 4;
/** Pools of a configuration (at most 64), and as many again that a reload took away while requests waited there. */
export const queueRowCount = 128;
/** Flows are numbers below this. */
export const flowBits = 24;
/** Flows of which a shard says who is first. */
export const queueFirstsMax = 8;

export function queueMemoryBytes(shardCount: number): number {
  return queueRowCount * (shardCount + 1) * wordsEach * 4;
}

/** A waiter, as far as its turn depends on it. */
export interface QueueFirst {
  level: number;
  flow: number;
  ticket: number;
  /** Which part of the pool it has use for: a number that is up to the pool, 0 = any. */
  part: number;
  /** Hash of the model that its endpoint has to have; 0 = none in particular. */
  model: number;
}

export class QueueTable {
  readonly shardCount: number;
  readonly #words: Int32Array;
  readonly #shardIndex: number;

  /** `shardIndex` is -1 for control, which may read and reclaim. */
  constructor(memory: SharedMemory, shardIndex: number) {
    assert(shardIndex >= -1 && shardIndex < memory.shardCount, 'shardIndex < shardCount');
    this.#words = new Int32Array(memory.queues);
    this.shardCount = memory.shardCount;
    this.#shardIndex = shardIndex;
  }

  get shardIndex(): number {
    return this.#shardIndex;
  }

  /** The next number of the row: who has the smaller one came first (`isTicketBefore`). */
  drawTicket(row: number): number {
    return Atomics.add(this.#words, this.#headOf(row), 1);
  }

  // That shard alone.

  /**
   * `deltaCount` requests of the level come or go, with `deltaKib` (see `queuedKib`) together. Returns how many of these were counted:
   * less than came where the word is full, 2 TiB.
   */
  note(row: number, level: number, deltaCount: number, deltaKib: number): number {
    const at = this.#ownRegion(row);
    const count = this.#words[at + requestsWord + level]! + deltaCount;
    const kibBefore = this.#words[at + kibWord + level]!;
    const kib = Math.min(kibMax, kibBefore + deltaKib);
    if (!(count >= 0 && kib >= 0)) fail('more leave the queue than waited', row, level);
    Atomics.store(this.#words, at + requestsWord + level, count);
    Atomics.store(this.#words, at + kibWord + level, kib);
    Atomics.store(this.#words, at + allRequestsWord, this.#words[at + allRequestsWord]! + deltaCount);
    return kib - kibBefore;
  }

  /** Who is first of this shard, of each of the first `count` flows; 0: nobody waits here. */
  publish(row: number, firsts: readonly Readonly<QueueFirst>[], count: number): void {
    const words = this.#words;
    const at = this.#ownRegion(row);
    const sequence = Atomics.load(words, at + sequenceWord);
    Atomics.store(words, at + sequenceWord, sequence + 1);
    for (let index = 0; index < count; index++) {
      const { level, flow, ticket, part, model } = firsts[index]!;
      // The level is put above the flow, and 1 is added: 0 ends the list.
      Atomics.store(words, at + firstsWord + 2 * index, level * 2 ** flowBits + flow + 1);
      Atomics.store(words, at + firstsWord + 2 * index + 1, ticket);
      Atomics.store(words, at + partsWord + index, part);
      Atomics.store(words, at + modelsWord + index, model);
    }
    if (count < queueFirstsMax) Atomics.store(words, at + firstsWord + 2 * count, 0);
    Atomics.store(words, at + sequenceWord, sequence + 2);
  }

  /** How many of the level others want to be given up here; they are told once. */
  takeEvictions(row: number, level: number): number {
    return Atomics.exchange(this.#words, this.#ownRegion(row) + evictionsWord + level, 0);
  }

  // Any thread.

  requests(row: number): number {
    return this.#sum(row, allRequestsWord);
  }

  requestsOf(row: number, level: number): number {
    return this.#sum(row, requestsWord + level);
  }

  kib(row: number): number {
    return this.kibBelow(row, queueLevelCount);
  }

  /** Of the levels below `level`. */
  kibBelow(row: number, level: number): number {
    let total = 0;
    for (let lower = 0; lower < level; lower++) total += this.#sum(row, kibWord + lower);
    return total;
  }

  /** Fills the first places of `out`, of length `queueFirstsMax`; returns how many: 0 also when it kept changing. */
  readFirsts(row: number, shardIndex: number, out: readonly QueueFirst[]): number {
    const words = this.#words;
    const at = this.#regionOf(row, shardIndex);
    for (let tries = 0; tries < seqlockTriesMax; tries++) {
      const sequence = Atomics.load(words, at + sequenceWord);
      if ((sequence & 1) !== 0) continue;
      let count = 0;
      for (; count < queueFirstsMax; count++) {
        const first = Atomics.load(words, at + firstsWord + 2 * count) - 1;
        if (first < 0) break;
        out[count]!.level = first >>> flowBits;
        out[count]!.flow = first & ((1 << flowBits) - 1);
        out[count]!.ticket = Atomics.load(words, at + firstsWord + 2 * count + 1);
        out[count]!.part = Atomics.load(words, at + partsWord + count);
        out[count]!.model = Atomics.load(words, at + modelsWord + count) >>> 0;
      }
      if (Atomics.load(words, at + sequenceWord) === sequence) return count;
    }
    return 0;
  }

  /**
   * Asks another shard to give up one of the level: the one with most of them that nobody has asked for. Returns the shard,
   * which has to be woken, or -1 when there is none.
   */
  askEviction(row: number, level: number): number {
    let most = 0;
    let chosen = -1;
    for (let shard = 0; shard < this.shardCount; shard++) {
      if (shard === this.#shardIndex) continue;
      const at = this.#regionOf(row, shard);
      const asked = Atomics.load(this.#words, at + evictionsWord + level);
      const left = Atomics.load(this.#words, at + requestsWord + level) - asked;
      if (left > most) {
        most = left;
        chosen = shard;
      }
    }
    if (chosen >= 0) Atomics.add(this.#words, this.#regionOf(row, chosen) + evictionsWord + level, 1);
    return chosen;
  }

  /** What one request of the level is about, in that shard. */
  kibEach(row: number, shardIndex: number, level: number): number {
    const at = this.#regionOf(row, shardIndex);
    const count = Atomics.load(this.#words, at + requestsWord + level);
    return count <= 0 ? 0 : Math.floor(Atomics.load(this.#words, at + kibWord + level) / count);
  }

  /** Control, once the thread of the shard has ended: nobody waits there any more. */
  reclaimShard(shardIndex: number): void {
    assert(this.#shardIndex === -1, 'only control reclaims');
    for (let row = 0; row < queueRowCount; row++) {
      const at = this.#regionOf(row, shardIndex);
      for (let word = 0; word < wordsEach; word++) Atomics.store(this.#words, at + word, 0);
    }
  }

  #sum(row: number, word: number): number {
    let total = 0;
    for (let shard = 0; shard < this.shardCount; shard++)
      total += Atomics.load(this.#words, this.#regionOf(row, shard) + word);
    return total;
  }

  #ownRegion(row: number): number {
    if (this.#shardIndex === -1) fail('control does not wait', row);
    return this.#regionOf(row, this.#shardIndex);
  }

  #headOf(row: number): number {
    return row * (this.shardCount + 1) * wordsEach;
  }

  #regionOf(row: number, shardIndex: number): number {
    return this.#headOf(row) + (shardIndex + 1) * wordsEach;
  }
}

export function queueFirst(): QueueFirst {
  return { level: 0, flow: 0, ticket: 0, part: 0, model: 0 };
}

/** A place for `readFirsts` to fill. */
export function queueFirsts(): QueueFirst[] {
  return Array.from({ length: queueFirstsMax }, () => queueFirst());
}

export function queuedKib(bytes: number): number {
  return Math.ceil(bytes / 1024);
}

/** Tickets wrap: less than 2^31 of them are ever out at once. */
export function isTicketBefore(one: number, other: number): boolean {
  return ((one - other) | 0) < 0;
}
