import { forgetPiece, load, loaded, scanModule, takeState, views } from './scan-memory.ts';

/** wasm/prefix-hash.ts has the hash, the block sizes and the layout of the state. */
const headBytes = 48;
const recordWords = 3;
/** 3 MiB have 544 to 680; 16 MiB have room whatever their messages. */
export const blockCountMax = 2048;

/** So much of an image, or anything else in Base64, counts as prompt; its bytes are hashed to the last. */
export const encodedBytesCounted = 4096;

/** Words of a state. */
const bytesWord = 2;
const countWord = 5;
const uncountedWord = 9;
const encodedWord = 10;

/**
 * Chained hashes of the part of a prompt that decides what a KV cache can reuse, while it arrives; reused through `reset`.
 * How the bytes were cut into pieces makes no difference.
 */
export class PrefixHash {
  /** Of its state in the module's memory. */
  readonly address: number;
  readonly #words: number;
  readonly #countMax: number;

  /** `countMax`: blocks there is room for; what lies behind them is not hashed. */
  constructor(countMax: number = blockCountMax) {
    this.address = takeState(headBytes + countMax * recordWords * 4);
    this.#words = this.address / 4;
    this.#countMax = countMax;
    this.reset();
  }

  /** Blocks closed so far. */
  get blockCount(): number {
    return views.words[this.#words + countWord]!;
  }

  /** Bytes hashed so far that count as prompt, those of the open block included. */
  get byteCount(): number {
    return views.words[this.#words + bytesWord]! - views.words[this.#words + uncountedWord]!;
  }

  /** Long strings in Base64, each of them `encodedBytesCounted` of `byteCount`. */
  get encodedCount(): number {
    return views.words[this.#words + encodedWord]!;
  }

  reset(): void {
    scanModule.hashReset(this.address, this.#countMax);
  }

  /** @hot per chunk. Hashes bytes [start, end) of `bytes`. */
  push(bytes: Uint8Array, start: number, end: number): void {
    forgetPiece();
    for (let at = start; at < end; at = loaded.end) {
      load(bytes, at, end);
      scanModule.hashPush(this.address, at - loaded.start, loaded.end - loaded.start);
    }
  }

  /** A message ends here: the next turn of the conversation has the same bytes up to this place. */
  checkpoint(): void {
    scanModule.hashCheckpoint(this.address);
  }

  /** Nothing follows: what is left is a block of its own, however short. */
  finish(): void {
    scanModule.hashFinish(this.address);
  }

  /** First lane of the hash of everything up to the end of block `index`; signed. */
  high(index: number): number {
    return views.words[this.#record(index)]!;
  }

  /** Second lane. */
  low(index: number): number {
    return views.words[this.#record(index) + 1]!;
  }

  /** Bytes that count from the start to the end of block `index`. */
  endOf(index: number): number {
    return views.words[this.#record(index) + 2]!;
  }

  #record(index: number): number {
    return this.#words + headBytes / 4 + index * recordWords;
  }
}
