import { assert, fail } from '../core/assert.ts';
import type { SharedMemory } from './memory.ts';

/**
 * Which models each endpoint has, by its own word, and how long a prompt of each may be: read in every pick, written by
 * control when a list has changed. A name is there as its hash: two that share one only mean an endpoint that is not left out.
 *
 * | Words of the head    | Byte | Unit                       | Writer                      |
 * | -------------------- | ---- | -------------------------- | --------------------------- |
 * | generation           | 0    | changes of any list, wraps | control                     |
 * | pageSequence         | 64   | odd while being written    | control                     |
 * | pageBytes            | 68   | 0 = no page                | control, under its sequence |
 * | page                 | 128  | UTF-8                      | control, under its sequence |
 *
 * | Words of a slot      | Byte | Unit                       | Writer                      |
 * | -------------------- | ---- | -------------------------- | --------------------------- |
 * | version              | 0    | lists published, wraps     | control                     |
 * | lists (2)            | 64   | see below                  | control                     |
 *
 * | Words of a list      | Byte | Unit                       |
 * | -------------------- | ---- | -------------------------- |
 * | knowledge            | 0    | 0 none, 1 part, 2 whole    |
 * | contextTokens        | 4    | the longest of its models  |
 * | digest               | 8    | equal for equal lists      |
 * | entries (512)        | 64   | hash (0 = none), facts     |
 *
 * The list in force is the one of the version's lowest bit. Control writes the other one, then the version: a reader that finds the
 * version it began with has read one list, and never waits. Entries are found by open addressing. A list of more than 384 names
 * is none: what is not known leaves nobody out. Of a part what is there is true, and of the rest nothing is known.
 */
const headBytes = 128;
const pageBytesMax = 256 * 1024;
const generationWord = 0;
const pageSequenceWord = 16;
const pageBytesWord = 17;

const entryCount = 512;
const listWords = 16 + 2 * entryCount;
const knownWord = 0;
const part = 1;
const whole = 2;
const contextWord = 1;
const digestWord = 2;
const entriesWord = 16;
const slotWords = 16 + 2 * listWords;
const versionWord = 0;
const listsWord = 16;
export const listedModelsMax = 384;
/** A reader tries again when control has published meanwhile, which it does in seconds. */
const triesMax = 64;

/** Bits of an entry's facts; below them the tokens that a prompt and its answer may have, 0 = not known. */
const loadsBit = 1 << 30;
const adapterBit = 1 << 29;
const contextMask = adapterBit - 1;

/** A name in an endpoint's list. */
export interface ListedModel {
  /** Of the name: unsigned, above 0. */
  readonly key: number;
  /** 0 = not said. */
  readonly contextTokens: number;
  /** A LoRA adapter. */
  readonly isAdapter: boolean;
  /** The engine has it in memory only while it is used: an adapter, or a model of a server that swaps them. */
  readonly loads: boolean;
}

/** Results of `find` below 0. */
export const notListed = -1;
export const listUnknown = -2;

export function modelMemoryBytes(endpointCountMax: number): number {
  return headBytes + pageBytesMax + endpointCountMax * slotWords * 4;
}

export function contextTokensOf(facts: number): number {
  return facts & contextMask;
}

export function isAdapter(facts: number): boolean {
  return (facts & adapterBit) !== 0;
}

export function loadsOnUse(facts: number): boolean {
  return (facts & loadsBit) !== 0;
}

export class ModelTable {
  readonly #isControl: boolean;
  readonly #words: Int32Array;
  readonly #page: Uint8Array;
  /** Of the copy; -1: none was made. */
  #pageSequence = -1;
  #pageCopy: Buffer | null = null;

  /** `shardIndex` is -1 for control. */
  constructor(memory: SharedMemory, shardIndex: number) {
    assert(shardIndex >= -1 && shardIndex < memory.shardCount, 'shardIndex < shardCount');
    this.#isControl = shardIndex === -1;
    this.#words = new Int32Array(memory.models);
    this.#page = new Uint8Array(memory.models, headBytes, pageBytesMax);
  }

  // Control.

  /**
   * What the endpoint lists; null = not known; `isWhole` false: it has these, and perhaps others. Returns false when there are too
   * many names, which is as if it were not known.
   */
  publish(slot: number, list: readonly ListedModel[] | null, isWhole: boolean = true): boolean {
    if (!this.#isControl) fail('only control knows what endpoints list', slot);
    const words = this.#words;
    const fits = list === null || list.length <= listedModelsMax;
    const version = (Atomics.load(words, this.#slotAt(slot) + versionWord) + 1) | 0;
    const at = this.#listAt(slot, version);
    Atomics.store(words, at + contextWord, 0);
    if (list !== null && fits) this.#write(at, list);
    Atomics.store(words, at + knownWord, list === null || !fits ? 0 : isWhole ? whole : part);
    Atomics.store(words, this.#slotAt(slot) + versionWord, version);
    Atomics.add(words, generationWord, 1);
    return fits;
  }

  #write(at: number, list: readonly ListedModel[]): void {
    const words = this.#words;
    for (let word = 0; word < 2 * entryCount; word++) Atomics.store(words, at + entriesWord + word, 0);
    let longest = 0;
    let digest = 0;
    for (const { key, contextTokens, isAdapter: isLora, loads } of list) {
      const context = Math.min(contextMask, Math.max(0, Math.floor(contextTokens)));
      longest = Math.max(longest, context);
      const entry = this.#probe(at, key | 0);
      // Of a name that is there twice the last one counts, and the names are still the same.
      if (Atomics.load(words, entry) === 0) digest ^= key;
      Atomics.store(words, entry, key | 0);
      Atomics.store(words, entry + 1, context | (isLora ? adapterBit : 0) | (loads ? loadsBit : 0));
    }
    Atomics.store(words, at + contextWord, longest);
    Atomics.store(words, at + digestWord, digest);
  }

  /** A text for all shards, or null. One that does not fit is none. */
  publishPage(text: Uint8Array | null): void {
    if (!this.#isControl) fail('only control knows what endpoints list');
    const words = this.#words;
    const bytes = text === null || text.length > pageBytesMax ? 0 : text.length;
    const sequence = Atomics.load(words, pageSequenceWord);
    Atomics.store(words, pageSequenceWord, sequence + 1);
    // Who reads a page under way finds another sequence behind it, and throws away what it has read.
    for (let index = 0; index < bytes; index++) Atomics.store(this.#page, index, text![index]!);
    Atomics.store(words, pageBytesWord, bytes);
    Atomics.store(words, pageSequenceWord, sequence + 2);
  }

  // Any thread.

  /** Another one: some list has changed. */
  get generation(): number {
    return Atomics.load(this.#words, generationWord);
  }

  /** @hot per pick. The facts of a name at an endpoint, at least 0; `notListed`; `listUnknown`. */
  find(slot: number, key: number): number {
    const words = this.#words;
    const slotAt = this.#slotAt(slot);
    for (let tries = 0; tries < triesMax; tries++) {
      const version = Atomics.load(words, slotAt + versionWord);
      const at = this.#listAt(slot, version);
      const known = Atomics.load(words, at + knownWord);
      const entry = known === 0 ? -1 : this.#probe(at, key | 0);
      const isThere = entry >= 0 && Atomics.load(words, entry) === (key | 0);
      const facts = isThere ? Atomics.load(words, entry + 1) : 0;
      if (Atomics.load(words, slotAt + versionWord) !== version) continue;
      return isThere ? facts : known === whole ? notListed : listUnknown;
    }
    return listUnknown;
  }

  /** Tokens of the longest of its models, 0 = not known. For what names none of them. */
  longestContext(slot: number): number {
    return Math.max(0, this.#headOf(slot, contextWord, 0));
  }

  /** Of its list: another one where the names are others, -1 when it is not known. */
  digest(slot: number): number {
    const digest = this.#headOf(slot, digestWord, -1);
    return digest === -1 ? -1 : digest >>> 0;
  }

  /** A word of the list in force, or `unknown`. */
  #headOf(slot: number, word: number, unknown: number): number {
    const words = this.#words;
    const slotAt = this.#slotAt(slot);
    for (let tries = 0; tries < triesMax; tries++) {
      const version = Atomics.load(words, slotAt + versionWord);
      const at = this.#listAt(slot, version);
      const isKnown = Atomics.load(words, at + knownWord) === whole;
      const value = Atomics.load(words, at + word);
      if (Atomics.load(words, slotAt + versionWord) === version) return isKnown ? value : unknown;
    }
    return unknown;
  }

  /** The text for all shards, or null. A copy, which stays the same one until another text is published. */
  readPage(): Buffer | null {
    const words = this.#words;
    for (let tries = 0; tries < triesMax; tries++) {
      const sequence = Atomics.load(words, pageSequenceWord);
      if (sequence === this.#pageSequence) return this.#pageCopy;
      if ((sequence & 1) !== 0) continue;
      const bytes = Atomics.load(words, pageBytesWord);
      const copy = bytes === 0 ? null : Buffer.allocUnsafe(bytes);
      for (let index = 0; index < bytes; index++) copy![index] = Atomics.load(this.#page, index);
      if (Atomics.load(words, pageSequenceWord) !== sequence) continue;
      this.#pageSequence = sequence;
      this.#pageCopy = copy;
      return copy;
    }
    return null;
  }

  /** Where the key stands, or the empty place where it would. Without end only in a list that is being written over. */
  #probe(at: number, key: number): number {
    let index = key & (entryCount - 1);
    for (let count = 0; count < entryCount; count++) {
      const entry = at + entriesWord + 2 * index;
      const found = Atomics.load(this.#words, entry);
      if (found === key || found === 0) return entry;
      index = (index + 1) & (entryCount - 1);
    }
    return at + entriesWord;
  }

  #slotAt(slot: number): number {
    return (headBytes + pageBytesMax) / 4 + slot * slotWords;
  }

  #listAt(slot: number, version: number): number {
    return this.#slotAt(slot) + listsWord + (version & 1) * listWords;
  }
}
