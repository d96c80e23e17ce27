/**
 * Seeded pseudo-random numbers, so that two runs with one seed answer the same bytes.
 *
 * mulberry32: 32 bits of state, full period 2^32, passes gjrand's small tests. Enough for words and fault draws; not for
 * secrets.
 */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** An integer in 0 .. 2^32 - 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** A number in [0, 1). */
  ratio(): number {
    return this.next() / 0x1_0000_0000;
  }

  /** An integer in 0 .. bound - 1. */
  below(bound: number): number {
    return Math.floor(this.ratio() * bound);
  }

  /** `digitCount` lower-case hexadecimal digits. */
  hex(digitCount: number): string {
    let text = '';
    while (text.length < digitCount) text += this.next().toString(16).padStart(8, '0');
    return text.slice(0, digitCount);
  }
}

/** 32-bit FNV-1a over UTF-16 code units: a seed from a name. */
export function hashText(text: string, seed = 0x811c9dc5): number {
  let hash = seed;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}
