import { fail } from '../core/assert.ts';
import { copyShared, type SlabPool, smallSlabBytes } from '../shm/index.ts';

/**
 * The bytes of a request body as the client sent them, in slabs, from the first byte until nobody needs them: until the
 * response is committed (no replay after that) and the upstream socket has taken them.
 *
 *   slab 0        slab 1        slab 2
 *   [given back]  [sent ......] [received ...|      ]
 *                 ▲ firstHeld                ▲ receivedBytes
 *
 * Slabs are filled in order and completely, so the byte at position p is found by walking slab lengths. A body that fits
 * a small slab takes one; any other takes large ones.
 */
export class RequestBody {
  readonly #slabs: number[] = [];
  #firstHeld = 0;
  /** Bytes free at the end of the last slab. */
  #tailRoom = 0;
  #receivedBytes = 0;
  /** True once the client's last byte is here. */
  isComplete = false;

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  get slabCount(): number {
    return this.#slabs.length;
  }

  /** Index of the first slab still held; earlier ones cannot be replayed. */
  get firstHeld(): number {
    return this.#firstHeld;
  }

  get heldCount(): number {
    return this.#slabs.length - this.#firstHeld;
  }

  get isWhole(): boolean {
    return this.#firstHeld === 0;
  }

  /** Handle of slab `index` in the pool. */
  slab(index: number): number {
    if (index < this.#firstHeld || index >= this.#slabs.length) fail('slab of the body is not held', index);
    return this.#slabs[index]!;
  }

  /** Bytes received into slab `index`. */
  filledBytes(index: number, pool: SlabPool): number {
    const size = pool.sizeOf(this.slab(index));
    return index === this.#slabs.length - 1 ? size - this.#tailRoom : size;
  }

  /**
   * Makes sure there is room behind the last byte; returns the bytes of it. `expectedBytes`: what is still to come, when
   * known (0 = unknown). Memory beyond the budget is taken too (`force`), because the bytes have already arrived; the
   * caller pauses the client instead. Returns 0 only when not forced and the budget is spent.
   */
  makeRoom(pool: SlabPool, expectedBytes: number, force: boolean): number {
    if (this.#tailRoom > 0) return this.#tailRoom;
    const isSmall = this.#slabs.length === 0 && expectedBytes > 0 && expectedBytes <= smallSlabBytes;
    let handle = isSmall ? pool.takeSmall() : -1;
    if (handle < 0) handle = pool.takeLarge(force);
    if (handle < 0) return 0;
    this.#slabs.push(handle);
    return (this.#tailRoom = pool.sizeOf(handle));
  }

  /**
   * @hot per chunk. Copies as much of `bytes` from `from` as fits behind the last byte; `makeRoom` was called.
   * Returns the count copied. The copy is the one the acceptor forces on us: its memory is detached on return.
   */
  append(pool: SlabPool, bytes: Uint8Array, from: number): number {
    const last = this.#slabs.length - 1;
    const buffer = pool.bytes(this.#slabs[last]!);
    const offset = buffer.length - this.#tailRoom;
    const count = Math.min(this.#tailRoom, bytes.length - from);
    copyShared(buffer, offset, from === 0 && count === bytes.length ? bytes : bytes.subarray(from, from + count));
    this.#tailRoom -= count;
    this.#receivedBytes += count;
    return count;
  }

  /** Gives back slabs before `index`. Returns how many. */
  giveBefore(pool: SlabPool, index: number): number {
    const end = Math.min(index, this.#slabs.length);
    const count = end - this.#firstHeld;
    if (count <= 0) return 0;
    while (this.#firstHeld < end) pool.give(this.#slabs[this.#firstHeld++]!);
    if (this.#firstHeld === this.#slabs.length) this.#tailRoom = 0; // The next byte starts a new slab.
    return count;
  }

  /** As `giveBefore`, but the slabs go on to another holder. */
  moveBefore(index: number, into: number[]): void {
    const end = Math.min(index, this.#slabs.length);
    while (this.#firstHeld < end) into.push(this.#slabs[this.#firstHeld++]!);
    if (this.#firstHeld === this.#slabs.length) this.#tailRoom = 0;
  }

  recycle(): void {
    if (this.#firstHeld !== this.#slabs.length) fail('a body was recycled with slabs', this.heldCount);
    this.#slabs.length = 0;
    this.#firstHeld = 0;
    this.#tailRoom = 0;
    this.#receivedBytes = 0;
    this.isComplete = false;
  }
}
