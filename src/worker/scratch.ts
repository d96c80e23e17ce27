import { assert } from '../core/assert.ts';
import type { Job } from './job.ts';

/** Memory a thread keeps between jobs; a larger job gets memory of its own, which goes with it. */
export const keptBytesMax = 4 * 1024 * 1024;
const firstBytes = 256 * 1024;

/**
 * Where one thread puts the pieces of a job together. Grows by doubling up to `keptBytesMax`; beyond that a job has an
 * allocation of its size, bounded by what the pool lets in, and nothing of it stays. One job runs at a time in a thread,
 * so the bytes are valid until the next `assemble`.
 */
export class Scratch {
  #bytes = new Uint8Array(0);

  get keptBytes(): number {
    return this.#bytes.length;
  }

  /** The bytes of the job's range, borrowed until the next call. The one copy a job makes of the body. */
  assemble({ pieces, range }: Job): Uint8Array {
    const length = range.end - range.start;
    const target = this.#room(length);
    let pieceStart = 0;
    let written = 0;
    for (const { sab, offset, length: pieceBytes } of pieces) {
      const from = Math.max(range.start - pieceStart, 0);
      const to = Math.min(range.end - pieceStart, pieceBytes);
      if (to > from) {
        target.set(new Uint8Array(sab, offset + from, to - from), written);
        written += to - from;
      }
      pieceStart += pieceBytes;
    }
    assert(written === length, 'the range lies within the pieces');
    return target.subarray(0, length);
  }

  #room(length: number): Uint8Array {
    if (length > keptBytesMax) return new Uint8Array(length);
    if (this.#bytes.length < length) {
      let size = Math.max(firstBytes, this.#bytes.length);
      while (size < length) size *= 2;
      this.#bytes = new Uint8Array(size);
    }
    return this.#bytes;
  }
}
