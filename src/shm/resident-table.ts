import { assert, fail } from '../core/assert.ts';
import type { SharedMemory } from './memory.ts';

/**
 * Which of the models that are loaded on use (LoRA adapters, models of servers that swap them) each endpoint should have in
 * memory. Engines tell it in part: vLLM names the adapters it has requests for, not those that lie idle in its memory. So this is a
 * model of the engine's own rule, least recently used leaves first: what shards send comes in at once, what the engine says it
 * runs comes in with the next scrape. Where it is wrong a request waits for a load that was not expected.
 *
 * | Words of a slot | Byte | Unit                                     | Writer                 |
 * | --------------- | ---- | ---------------------------------------- | ---------------------- |
 * | placeCount      | 0    | models at once, 0 = not known            | control                |
 * | seenAt          | 4    | ms of the Clock, its low 32 bits         | control                |
 * | places (64)     | 64   | hash of the name (0 = free), usedAt (ms) | shards, control; Atomics |
 *
 * Two that take a place in the same instant may leave a name in two places, or one in none: it is a hint, mended by the next use.
 * Times wrap after 24 days; a name that old is taken for a young one, once.
 */
const slotWords = 16 + 2 * 64;
const placeCountWord = 0;
const seenAtWord = 1;
const placesWord = 16;
export const residentsMax = 64;

export const Residency = {
  /** In memory. */
  here: 0,
  /** It would be loaded, into a free place or that of one that is idle. */
  room: 1,
  /** All places have requests that run: it would wait for one of them to end, and be loaded then. */
  full: 2,
} as const;
export type Residency = (typeof Residency)[keyof typeof Residency];

export function residentMemoryBytes(endpointCountMax: number): number {
  return endpointCountMax * slotWords * 4;
}

export class ResidentTable {
  readonly #words: Int32Array;
  readonly #isControl: boolean;

  /** `shardIndex` is -1 for control. */
  constructor(memory: SharedMemory, shardIndex: number) {
    assert(shardIndex >= -1 && shardIndex < memory.shardCount, 'shardIndex < shardCount');
    this.#words = new Int32Array(memory.residents);
    this.#isControl = shardIndex === -1;
  }

  // Control.

  /** The engine says so: how many it can have at once (0 = it does not say), and which have requests that run. */
  note(slot: number, placeCount: number, running: readonly number[], nowMs: number): void {
    this.#assertControl(slot);
    this.#setPlaceCount(slot, placeCount);
    for (const key of running) this.use(slot, key, nowMs);
    Atomics.store(this.#words, slot * slotWords + seenAtWord, low(nowMs));
  }

  /** The engine says so: exactly these are in memory. What was sent there since `sinceMs` may be on its way. */
  replace(slot: number, keys: readonly number[], sinceMs: number): void {
    this.#assertControl(slot);
    const words = this.#words;
    const here = new Set(keys.map((key) => key | 0));
    for (let place = 0; place < residentsMax; place++) {
      const at = this.#placeAt(slot, place);
      const key = Atomics.load(words, at);
      const isYoung = ((Atomics.load(words, at + 1) - low(sinceMs)) | 0) >= 0;
      if (key !== 0 && !here.has(key) && !isYoung) Atomics.compareExchange(words, at, key, 0);
      here.delete(key);
    }
    // Nobody sent it there: when the engine leaves it out the next time, it is gone.
    for (const key of here) this.use(slot, key, sinceMs - 1);
  }

  /** Nothing is in memory there, as far as is known. */
  clear(slot: number): void {
    this.#assertControl(slot);
    for (let word = 0; word < slotWords; word++) Atomics.store(this.#words, slot * slotWords + word, 0);
  }

  // Any thread.

  /** @hot per attempt. A request for the model goes there: it is the youngest now, and the oldest may have to leave. */
  use(slot: number, key: number, nowMs: number): void {
    const words = this.#words;
    const placeCount = this.#placeCount(slot);
    const now = low(nowMs);
    let chosen = -1;
    let expected = 0;
    let oldestMs = -1;
    for (let place = 0; place < placeCount; place++) {
      const at = this.#placeAt(slot, place);
      const found = Atomics.load(words, at);
      if (found === (key | 0)) {
        Atomics.store(words, at + 1, now);
        return;
      }
      // Age in ms; a free place is older than any.
      const ageMs = found === 0 ? 0x7fff_ffff : Math.max(0, (now - Atomics.load(words, at + 1)) | 0);
      if (ageMs <= oldestMs) continue;
      oldestMs = ageMs;
      chosen = at;
      expected = found;
    }
    if (Atomics.compareExchange(words, chosen, expected, key | 0) === expected) Atomics.store(words, chosen + 1, now);
  }

  /** @hot per pick and endpoint. Plain reads: words do not tear, and one that is a moment old is as good a hint. */
  find(slot: number, key: number): Residency {
    const words = this.#words;
    const placeCount = this.#placeCount(slot);
    const seenAt = words[slot * slotWords + seenAtWord]!;
    let hasRoom = false;
    for (let place = 0; place < placeCount; place++) {
      const at = this.#placeAt(slot, place);
      const found = words[at]!;
      if (found === (key | 0)) return Residency.here;
      // What was used since the engine was asked last has requests that run.
      if (found === 0 || ((words[at + 1]! - seenAt) | 0) < 0) hasRoom = true;
    }
    const isWhole = words[slot * slotWords + placeCountWord]! <= residentsMax;
    return hasRoom || !isWhole ? Residency.room : Residency.full;
  }

  #placeCount(slot: number): number {
    const said = this.#words[slot * slotWords + placeCountWord]!;
    return said === 0 ? residentsMax : Math.min(residentsMax, said);
  }

  #setPlaceCount(slot: number, placeCount: number): void {
    const at = slot * slotWords + placeCountWord;
    const before = this.#placeCount(slot);
    if (Atomics.load(this.#words, at) === placeCount) return;
    Atomics.store(this.#words, at, placeCount);
    // Which of them the engine had to leave out is not known; those behind the new end are forgotten, and come back when they are used.
    for (let place = this.#placeCount(slot); place < before; place++)
      Atomics.store(this.#words, this.#placeAt(slot, place), 0);
  }

  #placeAt(slot: number, place: number): number {
    return slot * slotWords + placesWord + 2 * place;
  }

  #assertControl(slot: number): void {
    if (!this.#isControl) fail('only control says what engines say', slot);
  }
}

/** 32 bits of a time, to be compared by their difference. */
function low(ms: number): number {
  return Math.floor(ms) | 0;
}
