import { wasmBase64 } from './wasm/module.wasm.ts';

/**
 * The memory of this thread's WebAssembly module (wasm/): a scratch area that pieces of a body are copied to, at 40 GB/s, in
 * cuts that stay in the first cache, and behind it the states of everything that is under way. It only grows.
 */
export const scratchBytes = 64 * 1024;
/** Behind it, room for what `index` finds there: an address for each byte at worst. */
const indexBytes = (scratchBytes + 64) * 4;

/** The functions of wasm/module.ts. All addresses are bytes of the memory. */
interface ScanModule {
  index(this: void, end: number): void;
  skip(this: void, state: number, start: number, end: number): number;
  hashReset(this: void, state: number, countMax: number): void;
  hashPush(this: void, state: number, start: number, end: number): void;
  hashCheckpoint(this: void, state: number): void;
  hashFinish(this: void, state: number): void;
}

const pageBytes = 65_536;
const memory = new WebAssembly.Memory({ initial: Math.ceil((scratchBytes + indexBytes) / pageBytes) });
const module = new WebAssembly.Module(Buffer.from(wasmBase64, 'base64'));
export const scanModule = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as ScanModule;

/** Views of the memory; made again when it grows. */
export const views = { scratch: new Uint8Array(0), words: new Int32Array(0) };
let nextState = scratchBytes + indexBytes;

/** Address of `bytes` bytes, for as long as the thread lives; its owner is pooled and stays. */
export function takeState(bytes: number): number {
  const address = nextState;
  nextState += (bytes + 63) & ~63;
  const missing = nextState - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / pageBytes));
  views.scratch = new Uint8Array(memory.buffer, 0, scratchBytes);
  views.words = new Int32Array(memory.buffer);
  return address;
}

/** What lies in the scratch area: bytes [loadedStart, loadedEnd) of the piece that is being scanned. */
export const loaded = { start: 0, end: 0, isIndexed: false };

/** A new piece is about to be scanned: what the scratch area holds is of another one. */
export function forgetPiece(): void {
  loaded.start = 0;
  loaded.end = 0;
}

/** Brings byte `at` of a piece that ends at `end`, and as many behind it as there is room for, into the scratch area. */
export function load(bytes: Uint8Array, at: number, end: number): void {
  if (at >= loaded.start && at < loaded.end) return;
  loaded.start = at;
  loaded.end = Math.min(end, at + scratchBytes);
  loaded.isIndexed = false;
  views.scratch.set(bytes.subarray(loaded.start, loaded.end));
}

/** Finds what `skip` goes by in the scratch area, once. */
export function index(): void {
  if (loaded.isIndexed) return;
  scanModule.index(loaded.end - loaded.start);
  loaded.isIndexed = true;
}
