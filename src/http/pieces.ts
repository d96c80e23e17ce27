/**
 * Several pieces read as one run of bytes, without joining them. Offsets count from the start of the first piece.
 */
export class Pieces {
  readonly length: number;
  readonly #pieces: readonly Buffer[];
  /** Offset of each piece. */
  readonly #starts: number[] = [];

  constructor(pieces: readonly Buffer[]) {
    this.#pieces = pieces;
    let length = 0;
    for (const piece of pieces) {
      this.#starts.push(length);
      length += piece.length;
    }
    this.length = length;
  }

  /** Offset of the first occurrence that starts at or behind `from`, or -1. Bytes around a seam are copied, nothing else. */
  indexOf(needle: Buffer, from: number): number {
    for (let index = this.#pieceAt(from); index < this.#pieces.length; index++) {
      const piece = this.#pieces[index]!;
      const pieceStart = this.#starts[index]!;
      const inside = piece.indexOf(needle, Math.max(0, from - pieceStart));
      if (inside !== -1) return pieceStart + inside;
      // The needle may begin here and end in a later piece.
      const pieceEnd = pieceStart + piece.length;
      const seamStart = Math.max(from, pieceStart, pieceEnd - needle.length + 1);
      const seam = this.bytes(seamStart, pieceEnd + needle.length - 1);
      const across = seam.indexOf(needle);
      if (across !== -1) return seamStart + across;
    }
    return -1;
  }

  /** A copy of bytes [start, end), shorter where the text ends. */
  bytes(start: number, end: number): Buffer {
    const taken: Buffer[] = [];
    for (let index = this.#pieceAt(start); index < this.#pieces.length && this.#starts[index]! < end; index++) {
      const pieceStart = this.#starts[index]!;
      taken.push(this.#pieces[index]!.subarray(Math.max(0, start - pieceStart), end - pieceStart));
    }
    return Buffer.concat(taken);
  }

  /** As `bytes`, decoded. */
  text(start: number, end: number): string {
    return this.bytes(start, end).toString('utf8');
  }

  /** Index of the piece that holds that offset. */
  #pieceAt(offset: number): number {
    let low = 0;
    let high = this.#pieces.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle]! + this.#pieces[middle]!.length <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
