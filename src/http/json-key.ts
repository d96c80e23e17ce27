import { afterWhitespace, endsEscaped } from './json-string.ts';

const quote = 0x22;
const colon = 0x3a;

/** Finds one key in bytes of JSON whose beginning may be missing. */
export class JsonKey {
  readonly #needle: Uint8Array;
  /**
   * Boyer-Moore-Horspool, backwards: how far the window may move left, by its first byte. Most bytes are never looked at,
   * and unlike `Buffer.lastIndexOf` it stops at `start`: read buffers hold stale bytes around the piece.
   */
  readonly #shifts: Uint8Array;

  constructor(name: string) {
    this.#needle = Buffer.from(`"${name}"`);
    const { length } = this.#needle;
    this.#shifts = new Uint8Array(256).fill(length);
    for (let index = length - 1; index > 0; index--) this.#shifts[this.#needle[index]!] = index;
  }

  /** @hot per chunk. Offset of the value of the last such key in [start, end) whose value begins with `opening`, or -1. */
  lastValue(bytes: Buffer, start: number, end: number, opening: number): number {
    const shifts = this.#shifts;
    let at = end - this.#needle.length;
    while (at >= start) {
      const first = bytes[at]!;
      if (first === quote && this.#isAt(bytes, at, start)) {
        const value = valueAfterKey(bytes, at + this.#needle.length, end);
        if (value !== -1 && bytes[value] === opening) return value;
      }
      at -= shifts[first]!;
    }
    return -1;
  }

  /** A quote inside a string is escaped, so text that speaks of the key is not taken for it. */
  #isAt(bytes: Buffer, at: number, start: number): boolean {
    const needle = this.#needle;
    for (let index = 1; index < needle.length; index++) if (bytes[at + index] !== needle[index]) return false;
    return !endsEscaped(bytes, start, at);
  }
}

/** Offset of the first byte of the value behind a key that ends at `at`, or -1 when it is no key or the bytes end. */
function valueAfterKey(bytes: Buffer, at: number, end: number): number {
  const colonAt = afterWhitespace(bytes, at, end);
  if (colonAt >= end || bytes[colonAt] !== colon) return -1;
  const valueAt = afterWhitespace(bytes, colonAt + 1, end);
  return valueAt < end ? valueAt : -1;
}
