import { wasmBase64 } from './wasm/nested-value.wasm.ts';

/**
 * Skips JSON values that nobody wants, in WebAssembly; wasm/nested-value.ts has the grammar and the layout of its state.
 *
 * The module sees only its own memory, so a piece is copied there, at 40 GB/s, in cuts that stay in the first cache. One
 * memory serves all scanners of a thread: the scratch area first, behind it a state for each of them.
 */
const scratchBytes = 64 * 1024;
const stateBytes = 192;

/** Words of a state. */
const expectWord = 0;
const tokenWord = 1;
const depthWord = 2;
const baseWord = 3;
const problemWord = 4;
const isDoneWord = 5;

const problems = ['', 'bad_syntax', 'bad_nesting', 'depth'] as const;

const memory = new WebAssembly.Memory({ initial: 2 });
const module = new WebAssembly.Module(Buffer.from(wasmBase64, 'base64'));
const { skip } = new WebAssembly.Instance(module, { env: { memory } }).exports as {
  skip(this: void, state: number, start: number, end: number): number;
};

// Views of the memory; made again when it grows.
let scratch = new Uint8Array(memory.buffer, 0, scratchBytes);
let words = new Int32Array(memory.buffer);
let nextState = scratchBytes;

/** What lies in the scratch area: bytes [loadedStart, loadedEnd) of the piece that is being scanned. */
let loadedStart = 0;
let loadedEnd = 0;

/** A new piece is about to be scanned: what the scratch area holds is of another one. */
export function forgetPiece(): void {
  loadedStart = 0;
  loadedEnd = 0;
}

/** One value under way; lives as long as its scanner, and its memory as long as the thread. */
export class NestedValue {
  readonly #state: number;
  readonly #words: number;

  constructor() {
    if (nextState + stateBytes > memory.buffer.byteLength) {
      memory.grow(1);
      scratch = new Uint8Array(memory.buffer, 0, scratchBytes);
      words = new Int32Array(memory.buffer);
    }
    this.#state = nextState;
    this.#words = nextState / 4;
    nextState += stateBytes;
  }

  /** Prepares for a value inside `depth` open brackets. */
  begin(depth: number): void {
    const at = this.#words;
    words[at + expectWord] = 0;
    words[at + tokenWord] = 0;
    words[at + depthWord] = depth;
    words[at + baseWord] = depth;
    words[at + problemWord] = 0;
    words[at + isDoneWord] = 0;
  }

  /** Whether the value has ended. */
  get isDone(): boolean {
    return words[this.#words + isDoneWord] === 1;
  }

  /** Why the value is not valid; empty while it is. */
  get problem(): string {
    return problems[words[this.#words + problemWord]!]!;
  }

  /**
   * @hot per chunk. Goes on at byte `start` of a piece that ends at `end`; `forgetPiece` was called when the piece was new.
   * Returns the offset behind the value when it ends here, `end` when it goes on, -1 when it is not valid.
   */
  push(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    do {
      if (at < loadedStart || at >= loadedEnd) {
        loadedStart = at;
        loadedEnd = Math.min(end, at + scratchBytes);
        scratch.set(bytes.subarray(loadedStart, loadedEnd));
      }
      at = loadedStart + skip(this.#state, at - loadedStart, loadedEnd - loadedStart);
      if (words[this.#words + problemWord] !== 0) return -1;
      if (words[this.#words + isDoneWord] === 1) return at;
    } while (at < end);
    return end;
  }
}
