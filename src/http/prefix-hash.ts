import { forgetPiece, load, loaded, scanModule, takeState, views } from './scan-memory.ts';

/** wasm/prefix-hash.ts has the hash, the block sizes and the layout of the state. */
const headBytes = 32;
const recordWords = 3;
export const blockCountMax = 2048;
const stateBytes = headBytes + blockCountMax * recordWords * 4;

/** Words of a state. */
const countWord = 5;

/**
 * Chained hashes of the part of a prompt that decides what a KV cache can reuse, while it arrives; reused through `reset`.
 * How the bytes were cut into pieces makes no difference.
 */
export class PrefixHash {
  readonly #state = takeState(stateBytes);
  readonly #words = this.#state / 4;

  constructor() {
    this.reset();
  }

  /** Blocks closed so far; at most `blockCountMax`, what lies behind is not hashed. */
  get blockCount(): number {
    return views.words[this.#words + countWord]!;
  }

  reset(): void {
    scanModule.hashReset(this.#state);
  }

  /** @hot per chunk. Hashes bytes [start, end) of `bytes`. */
  push(bytes: Uint8Array, start: number, end: number): void {
    forgetPiece();
    for (let at = start; at < end; at = loaded.end) {
      load(bytes, at, end);
      scanModule.hashPush(this.#state, at - loaded.start, loaded.end - loaded.start);
    }
  }

  /** A message ends here: the next turn of the conversation has the same bytes up to this place. */
  checkpoint(): void {
    scanModule.hashCheckpoint(this.#state);
  }

  /** First lane of the hash of everything up to the end of block `index`; signed. */
  high(index: number): number {
    return views.words[this.#record(index)]!;
  }

  /** Second lane. */
  low(index: number): number {
    return views.words[this.#record(index) + 1]!;
  }

  /** Bytes from the start to the end of block `index`. */
  endOf(index: number): number {
    return views.words[this.#record(index) + 2]!;
  }

  #record(index: number): number {
    return this.#words + headBytes / 4 + index * recordWords;
  }
}
