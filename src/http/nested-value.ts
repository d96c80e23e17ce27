import type { PrefixHash } from './prefix-hash.ts';
import { index, load, loaded, scanModule, takeState, views } from './scan-memory.ts';

/** wasm/nested-value.ts has the grammar and the layout of the state. */
const stateBytes = 512;

/** Words of a state. */
const expectWord = 0;
const tokenWord = 1;
const depthWord = 2;
const baseWord = 3;
const problemWord = 4;
const isDoneWord = 5;
const hashWord = 6;
const stringWord = 7;
/** The first of four, each of 80 bytes; a length of 0 is none. */
const seamWord = 42;
const seamWords = 20;
const seamCount = 4;

const problems = ['', 'bad_syntax', 'bad_nesting', 'depth'] as const;

/** Skips one JSON value that nobody wants, piece by piece; lives as long as its scanner. */
export class NestedValue {
  readonly #state = takeState(stateBytes);
  readonly #words = this.#state / 4;

  /** Prepares for a value inside `depth` open brackets. Its bytes go into `hash`, with a checkpoint behind each element. */
  begin(depth: number, hash: PrefixHash | null): void {
    const { words } = views;
    const at = this.#words;
    words[at + expectWord] = 0;
    words[at + tokenWord] = 0;
    words[at + depthWord] = depth;
    words[at + baseWord] = depth;
    words[at + problemWord] = 0;
    words[at + isDoneWord] = 0;
    words[at + hashWord] = hash === null ? 0 : hash.address;
    words[at + stringWord] = 0;
    for (let seam = 0; seam < seamCount; seam++) words[at + seamWord + seam * seamWords] = 0;
  }

  /** Whether the value has ended. */
  get isDone(): boolean {
    return views.words[this.#words + isDoneWord] === 1;
  }

  /** Why the value is not valid; empty while it is. */
  get problem(): string {
    return problems[views.words[this.#words + problemWord]!]!;
  }

  /**
   * @hot per chunk. Goes on at byte `start` of a piece that ends at `end`; `forgetPiece` was called when the piece was new.
   * Returns the offset behind the value when it ends here, `end` when it goes on, -1 when it is not valid.
   */
  push(bytes: Uint8Array, start: number, end: number): number {
    const { words } = views;
    let at = start;
    do {
      load(bytes, at, end);
      index();
      at = loaded.start + scanModule.skip(this.#state, at - loaded.start, loaded.end - loaded.start);
      if (words[this.#words + problemWord] !== 0) return -1;
      if (words[this.#words + isDoneWord] === 1) return at;
    } while (at < end);
    return end;
  }
}
