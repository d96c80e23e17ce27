/** A small seeded generator (mulberry32): the same seed gives the same run. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A whole number from 0 to `below` - 1. */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!;
  }
}

/** FNV-1a: what a target needs besides its input (where to cut it) comes from the input, so that a file reproduces it. */
export function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** Up to `countMax` offsets inside `length` bytes, ascending; may repeat. */
export function cutsOf(bytes: Uint8Array, countMax: number): number[] {
  const random = new Random(hashOf(bytes));
  const count = random.below(countMax + 1);
  return Array.from({ length: count }, () => random.below(bytes.length + 1)).sort((a, b) => a - b);
}
