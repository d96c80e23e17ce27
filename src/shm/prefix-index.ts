import { assert } from '../core/assert.ts';
import type { PrefixNews } from './prefix-journal.ts';
import { epochMask, PrefixHorizon, prefixHorizonBytes } from './prefix-horizon.ts';

/**
 * Which endpoint of a pool holds which prefix: one table for all threads, without a lock. It is a hint. A race loses or
 * misplaces an entry; it never blocks, never throws, and the worst it does is send a request where its prefix is not.
 *
 * A block's key is a chained hash (http/prefix-hash), so a block found means that all before it were the same, too. A slot
 * is one cache line:
 *
 * | Word    | Holds                                                                                        |
 * | ------- | -------------------------------------------------------------------------------------------- |
 * | 0       | low half of the key; 0 = empty, -1 = being written. Written last, so a reader sees all or none |
 * | 1       | high half                                                                                    |
 * | 2 to 15 | owners: endpoint << 24 | epoch of its last use (prefix-horizon); 0 = none                    |
 *
 * Four slots are a bucket; a key lies in one of its bucket's. When all are taken the one used longest ago gives way. Sized
 * for a load of a half, where 4 % of inserts push somebody out too early; a look-up steps over up to eight missing blocks.
 *
 * Words that only narrow the search, or are compared and exchanged afterwards, are read without Atomics: an aligned Int32 does
 * not tear, and a call of Atomics.load is ten times a plain read (Node 20; inserting took 2.6 times as long, looking up 3).
 * What a later look at word 0 is to vouch for is read with Atomics: the language lets a plain read happen after an atomic one that
 * follows it, and 64-bit Arm does that.
 */
const slotWords = 16;
const slotShift = 4;
const firstOwner = 2;
const waysCount = 4;
const busy = -1;
const missesMax = 8;
/**
 * A block that stays in use is news again after so many epochs (a power of two), an eighth of what the cache holds: whoever learns of it
 * from afar takes it for that much older than it is at the most, and hears of it no more often than that.
 */
const newsEpochsShift = 3;
/** Owners are 8 bits of a word. */
export const prefixEndpointCountMax = 256;

export interface PrefixMemory {
  readonly slots: SharedArrayBuffer;
  readonly horizon: SharedArrayBuffer;
}

/** Keys of the blocks of one prompt, from its start; neither half of a key is 0 or -1 in `lows`. */
export interface PrefixKeys {
  readonly count: number;
  readonly lows: Int32Array;
  readonly highs: Int32Array;
  /** Bytes from the start of the prompt to the end of each block. */
  readonly ends: Int32Array;
}

/** `slotCount`: a power of two, twice the blocks that all caches of the pool hold. `heldBytes`: of prompts, in one of them. */
export function createPrefixMemory(slotCount: number, endpointCount: number, heldBytes: number): PrefixMemory {
  assert(slotCount >= waysCount && (slotCount & (slotCount - 1)) === 0, 'slotCount is a power of two');
  assert(endpointCount >= 1 && endpointCount <= prefixEndpointCountMax, 'endpointCount <= prefixEndpointCountMax');
  const horizon = new SharedArrayBuffer(prefixHorizonBytes(endpointCount));
  new PrefixHorizon(horizon).reset(heldBytes);
  return { slots: new SharedArrayBuffer(slotCount * slotWords * 4), horizon };
}

export class PrefixIndex {
  readonly horizon: PrefixHorizon;
  readonly slotCount: number;
  readonly #words: Int32Array;
  readonly #bucketMask: number;
  /** Scratch: endpoints that hold the block looked at. */
  readonly #holders = new Uint8Array(slotWords - firstOwner);
  /** Inserts given up because another thread was writing the slot. */
  droppedCount = 0;

  constructor(memory: PrefixMemory) {
    this.#words = new Int32Array(memory.slots);
    this.slotCount = this.#words.length >> slotShift;
    this.#bucketMask = this.slotCount / waysCount - 1;
    this.horizon = new PrefixHorizon(memory.horizon);
  }

  /**
   * Bytes of the prompt that each endpoint holds from its start, into `matched` (one entry an endpoint; the caller has set
   * them to 0). 0.2 ms for 3 MB that nine endpoints hold.
   */
  lookup(keys: PrefixKeys, matched: Int32Array): void {
    const words = this.#words;
    let missCount = 0;
    for (let block = 0; block < keys.count; block++) {
      const low = keys.lows[block]!;
      const slot = this.#find(low, keys.highs[block]!);
      if (slot < 0) {
        if (++missCount > missesMax) return;
        continue;
      }
      missCount = 0;
      let count = 0;
      for (let at = slot + firstOwner; at < slot + slotWords; at++) {
        const owner = words[at]!;
        if (owner === 0 || !this.horizon.isHeld(owner >>> 24, owner & epochMask)) continue;
        if (Atomics.load(words, at) === owner) this.#holders[count++] = owner >>> 24;
      }
      // When the slot has changed hands meanwhile, nothing read from it counts.
      if (count === 0 || Atomics.load(words, slot) !== low) continue;
      const end = keys.ends[block]!;
      for (let turn = 0; turn < count; turn++) matched[this.#holders[turn]!] = end;
    }
  }

  /**
   * The endpoint has all of these blocks, or will have them soon. The first are the youngest: caches free from the tail.
   * Each takes the room of its own bytes: one 8 KiB block deep in a prompt is as much as sixteen at its start. `news` gets those that other
   * gateways should know of.
   */
  insert(keys: PrefixKeys, endpoint: number, news: PrefixNews | null = null): void {
    for (let block = keys.count - 1; block >= 0; block--) {
      const low = keys.lows[block]!;
      const high = keys.highs[block]!;
      const bytes = block === 0 ? keys.ends[0]! : keys.ends[block]! - keys.ends[block - 1]!;
      if (this.touch(low, high, endpoint, bytes) && news !== null) news.add(low, high, bytes);
    }
  }

  /** The endpoint has one block, and uses it now. Returns whether that is news to whoever was told all that was before. */
  touch(low: number, high: number, endpoint: number, bytes: number): boolean {
    const slot = this.#find(low, high);
    return slot >= 0 ? this.#refresh(slot, low, endpoint, bytes) : this.#write(low, high, endpoint, bytes);
  }

  /**
   * For the sweeper: takes out owners that hold the block no more, so that no epoch can come round to one. Returns true when
   * the slot is being written.
   */
  tidy(slotIndex: number): boolean {
    const words = this.#words;
    const slot = slotIndex << slotShift;
    const low = Atomics.load(words, slot);
    if (low === 0) return false;
    if (low === busy) return true;
    for (let at = slot + firstOwner; at < slot + slotWords; at++) {
      const owner = Atomics.load(words, at);
      if (owner !== 0 && !this.horizon.isHeld(owner >>> 24, owner & epochMask)) {
        Atomics.compareExchange(words, at, owner, 0);
      }
    }
    return false;
  }

  /** For the sweeper: the thread that was writing the slot is gone. */
  free(slotIndex: number): void {
    const slot = slotIndex << slotShift;
    for (let at = slot + firstOwner; at < slot + slotWords; at++) Atomics.store(this.#words, at, 0);
    Atomics.compareExchange(this.#words, slot, busy, 0);
  }

  #bucket(low: number, high: number): number {
    return (((high ^ (low >>> 7)) & this.#bucketMask) * waysCount) << slotShift;
  }

  /** Word of the slot, or -1. */
  #find(low: number, high: number): number {
    const words = this.#words;
    const bucket = this.#bucket(low, high);
    for (let way = 0; way < waysCount; way++) {
      const slot = bucket + (way << slotShift);
      if (words[slot] !== low) continue;
      if (Atomics.load(words, slot) === low && Atomics.load(words, slot + 1) === high) return slot;
    }
    return -1;
  }

  #refresh(slot: number, low: number, endpoint: number, bytes: number): boolean {
    const words = this.#words;
    let place = -1;
    let placeAge = -1;
    for (let at = slot + firstOwner; at < slot + slotWords; at++) {
      const owner = words[at]!;
      if (owner !== 0 && owner >>> 24 === endpoint) {
        const epoch = owner & epochMask;
        const isHeld = this.horizon.isHeld(endpoint, epoch);
        const now = this.horizon.use(endpoint, isHeld ? epoch : -1, bytes);
        if (now !== epoch) Atomics.compareExchange(words, at, owner, ownerOf(endpoint, now));
        return !isHeld || epoch >> newsEpochsShift !== now >> newsEpochsShift;
      }
      // A free word, else the owner that has not used the block for the longest time.
      const age = owner === 0 ? Number.POSITIVE_INFINITY : this.#ageOf(owner);
      if (age > placeAge) {
        place = at;
        placeAge = age;
      }
    }
    const old = words[place]!;
    const mine = ownerOf(endpoint, this.horizon.use(endpoint, -1, bytes));
    if (Atomics.compareExchange(words, place, old, mine) !== old) this.droppedCount++;
    // Recycled under our hands: the owner does not belong to the new key. An exchange instead of a look, so that whoever recycles
    // the slot after it sees our owner even with plain reads.
    else if (Atomics.compareExchange(words, slot, low, low) !== low) Atomics.compareExchange(words, place, mine, 0);
    return true;
  }

  #write(low: number, high: number, endpoint: number, bytes: number): boolean {
    const words = this.#words;
    const bucket = this.#bucket(low, high);
    let victim = -1;
    let victimAge = -1;
    let victimLow = 0;
    for (let way = 0; way < waysCount; way++) {
      const slot = bucket + (way << slotShift);
      const present = words[slot]!;
      if (present === busy) continue;
      const age = present === 0 ? Number.POSITIVE_INFINITY : this.#youngest(slot);
      if (age > victimAge) {
        victim = slot;
        victimAge = age;
        victimLow = present;
      }
      if (age === Number.POSITIVE_INFINITY) break; // No slot is better than one that nobody wants.
    }
    if (victim < 0 || Atomics.compareExchange(words, victim, victimLow, busy) !== victimLow) {
      this.droppedCount++; // Somebody else is writing it.
      return true;
    }
    // Those who hold the block still hold it; only the table forgets, so their counts stay.
    for (let at = victim + firstOwner + 1; at < victim + slotWords; at++) {
      if (words[at] !== 0) Atomics.store(words, at, 0);
    }
    Atomics.store(words, victim + 1, high);
    Atomics.store(words, victim + firstOwner, ownerOf(endpoint, this.horizon.use(endpoint, -1, bytes)));
    Atomics.store(words, victim, low);
    return true;
  }

  /** Epochs since the last use by whoever used the block last; endless when nobody holds it. */
  #youngest(slot: number): number {
    let least = Number.POSITIVE_INFINITY;
    for (let at = slot + firstOwner; at < slot + slotWords; at++) {
      const owner = this.#words[at]!;
      if (owner === 0) continue;
      const age = this.#ageOf(owner);
      if (age < least) least = age;
    }
    return least;
  }

  /** In 64ths of the endpoint's cache, so ages of different endpoints compare; endless when it is not held any more. */
  #ageOf(owner: number): number {
    const endpoint = owner >>> 24;
    const epoch = owner & epochMask;
    return this.horizon.isHeld(endpoint, epoch) ? this.horizon.age(endpoint, epoch) : Number.POSITIVE_INFINITY;
  }
}

function ownerOf(endpoint: number, epoch: number): number {
  return (endpoint << 24) | epoch;
}
