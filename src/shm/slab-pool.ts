import { assert, fail } from '../core/assert.ts';
import type { SharedBudget } from './budget.ts';

/**
 * The memory bodies live in while they pass. One pool a shard; its slabs are views of SharedArrayBuffers, so a worker
 * thread can read a body without a copy.
 *
 * | Class | Slab bytes | Slabs in a segment (4 MiB) | For                                      |
 * | ----- | ---------- | -------------------------- | ---------------------------------------- |
 * | small | 16 KiB     | 256                        | heads, 3 KB prompts, response chunks     |
 * | large | 256 KiB    | 16                         | big uploads: one read gives up to 512 KiB |
 *
 * Handle: (slab number in its class << 1) | class. A segment belongs to one class, is allocated when the free stack of
 * that class is empty and the shared budget agrees, and is dropped by `trim` when all its slabs are free. Free stacks
 * are last in, first out: the next slab out is the one that is still in the cache.
 *
 * A slab is not cleared between holders: who takes it reads only what it wrote.
 */
export const smallSlabBytes = 16 * 1024;
export const largeSlabBytes = 256 * 1024;
const segmentBytes = 4 * 1024 * 1024;
/** Segments a class keeps while they are all free, so that a lull between two bursts does not cost an allocation. */
const spareSegmentsMax = 2;

export interface SlabShare {
  readonly sab: SharedArrayBuffer;
  readonly offset: number;
  readonly length: number;
}

/** Slabs of one size. Knows nothing of the budget. */
class SlabClass {
  readonly slabBytes: number;
  readonly slabsPerSegment: number;
  readonly #kind: number;
  readonly #segmentShift: number; // Slab number >> this = segment.
  /** Views by slab number; undefined where the segment was dropped. */
  readonly buffers: (Buffer | undefined)[] = [];
  #free = new Int32Array(0);
  #freeCount = 0;
  /** 1 while a slab is out; catches a double give. */
  #held = new Uint8Array(0);
  /** Slabs out, by segment. */
  readonly #heldCounts: number[] = [];

  constructor(slabBytes: number, kind: number) {
    this.slabBytes = slabBytes;
    this.slabsPerSegment = segmentBytes / slabBytes;
    this.#kind = kind;
    this.#segmentShift = Math.log2(this.slabsPerSegment);
  }

  /** @hot per chunk. */
  take(): number {
    if (this.#freeCount === 0) this.#addSegment();
    const slab = this.#free[--this.#freeCount]!;
    this.#held[slab] = 1;
    this.#heldCounts[slab >> this.#segmentShift]! += 1;
    return (slab << 1) | this.#kind;
  }

  /** @hot per chunk. */
  give(slab: number): void {
    if (this.#held[slab] !== 1) fail('slab is not held', slab, this.slabBytes);
    this.#held[slab] = 0;
    this.#heldCounts[slab >> this.#segmentShift]! -= 1;
    this.#free[this.#freeCount++] = slab;
  }

  isHeld(slab: number): boolean {
    return this.#held[slab] === 1;
  }

  get segmentCount(): number {
    let count = 0;
    for (let first = 0; first < this.buffers.length; first += this.slabsPerSegment) {
      if (this.buffers[first] !== undefined) count++;
    }
    return count;
  }

  /** Drops all-free segments beyond the spare ones. Returns how many. */
  trim(): number {
    let spares = 0;
    let dropped = 0;
    for (let segment = 0; segment < this.#heldCounts.length; segment++) {
      const first = segment * this.slabsPerSegment;
      if (this.#heldCounts[segment] !== 0 || this.buffers[first] === undefined) continue;
      if (spares < spareSegmentsMax) {
        spares++;
        continue;
      }
      this.buffers.fill(undefined, first, first + this.slabsPerSegment);
      dropped++;
    }
    if (dropped > 0) {
      const kept = this.#free.subarray(0, this.#freeCount).filter((slab) => this.buffers[slab] !== undefined);
      this.#free.set(kept);
      this.#freeCount = kept.length;
    }
    return dropped;
  }

  /** Cold: about 0.2 ms for a small segment with its 256 views. Its pages are not resident until they are touched. */
  #addSegment(): void {
    const sab = new SharedArrayBuffer(segmentBytes);
    let segment = 0;
    while (this.buffers[segment * this.slabsPerSegment] !== undefined) segment++;
    const first = segment * this.slabsPerSegment;
    for (let index = 0; index < this.slabsPerSegment; index++) {
      this.buffers[first + index] = Buffer.from(sab, index * this.slabBytes, this.slabBytes);
    }
    this.#heldCounts[segment] = 0;
    if (this.buffers.length > this.#held.length) {
      const held = new Uint8Array(this.buffers.length * 2);
      held.set(this.#held);
      this.#held = held;
      const free = new Int32Array(held.length);
      free.set(this.#free.subarray(0, this.#freeCount));
      this.#free = free;
    }
    for (let index = this.slabsPerSegment - 1; index >= 0; index--) this.#free[this.#freeCount++] = first + index;
  }
}

export class SlabPool {
  readonly #budget: SharedBudget;
  readonly #small = new SlabClass(smallSlabBytes, 0);
  readonly #large = new SlabClass(largeSlabBytes, 1);
  #inUse = 0;
  #overdraftCount = 0;

  /** `budget` is this shard's view of the budget all shards share; every slab that is out is counted there. */
  constructor(budget: SharedBudget) {
    this.#budget = budget;
  }

  /** Slabs out, of both classes. */
  get inUse(): number {
    return this.#inUse;
  }

  /** Takes that were forced beyond the budget since start. */
  get overdraftCount(): number {
    return this.#overdraftCount;
  }

  /** Bytes of all segments, free slabs included: the most this pool can have resident. */
  get segmentBytes(): number {
    return (this.#small.segmentCount + this.#large.segmentCount) * segmentBytes;
  }

  /** @hot per chunk. A handle, or -1 when the shared budget is spent: pause the source. */
  takeSmall(): number {
    if (!this.#budget.tryTake(smallSlabBytes)) return -1;
    this.#inUse++;
    return this.#small.take();
  }

  /**
   * @hot per chunk. As `takeSmall`. `force` takes beyond the budget: for bytes that arrived before a pause took effect,
   * which the acceptor must store or lose. It cannot run away: a paused connection yields at most 512 KiB more.
   */
  takeLarge(force: boolean = false): number {
    if (!this.#budget.tryTake(largeSlabBytes)) {
      if (!force) return -1;
      this.#budget.takeForced(largeSlabBytes);
      this.#overdraftCount++;
    }
    this.#inUse++;
    return this.#large.take();
  }

  /** @hot per chunk. Fails on a handle that is not out. */
  give(handle: number): void {
    const slabs = this.#classOf(handle);
    slabs.give(handle >> 1);
    this.#inUse--;
    this.#budget.give(slabs.slabBytes);
  }

  /** @hot per chunk. The whole slab; the view is made once and belongs to the pool. Fails on a handle that is not out. */
  bytes(handle: number): Buffer {
    const slabs = this.#classOf(handle);
    if (!slabs.isHeld(handle >> 1)) fail('slab is not held', handle);
    return slabs.buffers[handle >> 1]!;
  }

  /** Bytes of the slab. */
  sizeOf(handle: number): number {
    return this.#classOf(handle).slabBytes;
  }

  /** What a worker thread needs to see the slab. The slab stays held until the worker has answered. */
  share(handle: number): SlabShare {
    const view = this.bytes(handle);
    assert(view.buffer instanceof SharedArrayBuffer, 'slab is shared memory');
    return { sab: view.buffer, offset: view.byteOffset, length: view.length };
  }

  /** Lets go of segments that are all free, but for a few. Call it now and then (seconds), never per chunk. */
  trim(): number {
    return this.#small.trim() + this.#large.trim();
  }

  #classOf(handle: number): SlabClass {
    return (handle & 1) === 0 ? this.#small : this.#large;
  }
}
