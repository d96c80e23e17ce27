import { assert } from '../core/assert.ts';

/**
 * What one shard learned of its endpoints' caches and other gateways do not know yet: a ring that the shard writes on the way
 * of a request, and control reads when it sends. One writer, one reader, no lock; nobody waits. When it is full what comes is
 * lost and counted: it is hints.
 *
 * | Word | Holds                                        | Writer  |
 * | ---- | -------------------------------------------- | ------- |
 * | 0    | words written since the start, modulo 2^32   | shard   |
 * | 1    | blocks lost since the start, modulo 2^32     | shard   |
 * | 16   | words read since the start, modulo 2^32      | control |
 * | 32   | the ring                                     | shard   |
 *
 * An entry is written whole before word 0 covers it, and its room is used again only when word 16 covers it:
 *
 * | Word of an entry | Holds                                                                             |
 * | ---------------- | --------------------------------------------------------------------------------- |
 * | 0                | kind << 24 \| number of blocks; for `unnamed` of bytes in word 3                    |
 * | 1                | number of the pool << 8 \| endpoint's number in its index                          |
 * | 2                | secret that the keys were made with                                               |
 * | 3 ...            | low half, high half, bytes of each block, the last of the prompt first             |
 */
export const JournalKind = { blocks: 1, unnamed: 2, forget: 3 } as const;
export type JournalKind = (typeof JournalKind)[keyof typeof JournalKind];

const writtenWord = 0;
const lostWord = 1;
const readWord = 16;
const ringOffset = 32;
/** A power of two. 256 KiB: 21,000 blocks, of which one gateway with 100 new requests a second makes 750 in 50 ms. */
const ringWords = 1 << 16;
const ringMask = ringWords - 1;
const headWords = 3;
const blockWords = 3;
/** Of one entry; a longer prompt has several. */
export const journalBlocksMax = 1024;

export function createPrefixJournal(): SharedArrayBuffer {
  return new SharedArrayBuffer((ringOffset + ringWords) * 4);
}

/** Takes what an insert found to be new. */
export interface PrefixNews {
  /** @hot per block. `bytes`: of the block alone. */
  add(low: number, high: number, bytes: number): void;
}

export class PrefixJournalWriter implements PrefixNews {
  readonly #words: Int32Array;
  /** Of the entry that is being written: where it starts, how many blocks it has. */
  #start = 0;
  #count = 0;
  #target = 0;
  #secret = 0;
  /** How far control had read when it was last asked. */
  #read = 0;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.#start = Atomics.load(this.#words, writtenWord); // Of the thread before this one.
    this.#read = Atomics.load(this.#words, readWord);
  }

  /** @hot per attempt. Blocks of one prompt follow, then `end`. `pool` < 2^23, `endpoint` < 256. */
  begin(pool: number, endpoint: number, secret: number): void {
    this.#target = (pool << 8) | endpoint;
    this.#secret = secret;
    this.#count = 0;
  }

  add(low: number, high: number, bytes: number): void {
    if (this.#count === journalBlocksMax) this.end();
    const at = this.#start + headWords + this.#count * blockWords;
    if (!this.#hasRoom(at + blockWords)) {
      Atomics.add(this.#words, lostWord, 1);
      return;
    }
    this.#put(at, low);
    this.#put(at + 1, high);
    this.#put(at + 2, bytes);
    this.#count++;
  }

  /** @hot per attempt. */
  end(): void {
    if (this.#count === 0) return;
    this.#publish(JournalKind.blocks, this.#count, this.#start + headWords + this.#count * blockWords);
    this.#count = 0;
  }

  /** So many bytes that nobody will look for came into the endpoint's cache. */
  unnamed(pool: number, endpoint: number, bytes: number): void {
    this.begin(pool, endpoint, 0);
    const end = this.#start + headWords + 1;
    if (bytes <= 0 || !this.#hasRoom(end)) return;
    this.#put(this.#start + headWords, bytes);
    this.#publish(JournalKind.unnamed, 0, end);
  }

  /** The endpoint's cache is empty. */
  forget(pool: number, endpoint: number): void {
    this.begin(pool, endpoint, 0);
    const end = this.#start + headWords;
    if (this.#hasRoom(end)) this.#publish(JournalKind.forget, 0, end);
  }

  #hasRoom(end: number): boolean {
    if (((end - this.#read) | 0) <= ringWords) return true;
    this.#read = Atomics.load(this.#words, readWord);
    return ((end - this.#read) | 0) <= ringWords;
  }

  #put(at: number, value: number): void {
    this.#words[ringOffset + (at & ringMask)] = value;
  }

  #publish(kind: JournalKind, count: number, end: number): void {
    this.#put(this.#start, (kind << 24) | count);
    this.#put(this.#start + 1, this.#target);
    this.#put(this.#start + 2, this.#secret);
    this.#start = end | 0;
    Atomics.store(this.#words, writtenWord, this.#start);
  }
}

/** A cursor: `next` moves to an entry, whose words are valid until the next call. */
export class PrefixJournalReader {
  readonly #words: Int32Array;
  #at: number;
  #end = 0;
  kind: JournalKind = JournalKind.blocks;
  pool = 0;
  endpoint = 0;
  secret = 0;
  /** Blocks. */
  count = 0;
  /** Of `unnamed`. */
  bytes = 0;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.#at = Atomics.load(this.#words, readWord);
    this.#end = this.#at;
  }

  /** Of blocks, since the start of the process. */
  get lostCount(): number {
    return Atomics.load(this.#words, lostWord) >>> 0;
  }

  /** Gives the last entry's room back. False: everything is read. */
  next(): boolean {
    Atomics.store(this.#words, readWord, this.#end);
    this.#at = this.#end;
    if (this.#at === Atomics.load(this.#words, writtenWord)) return false;
    const head = this.#word(0);
    const target = this.#word(1);
    this.kind = (head >>> 24) as JournalKind;
    this.count = head & 0xff_ffff;
    this.pool = target >>> 8;
    this.endpoint = target & 0xff;
    this.secret = this.#word(2);
    this.bytes = this.kind === JournalKind.unnamed ? this.#word(headWords) : 0;
    const restWords = this.kind === JournalKind.unnamed ? 1 : this.count * blockWords;
    assert(restWords <= ringWords - headWords, 'an entry fits the ring');
    this.#end = (this.#at + headWords + restWords) | 0;
    return true;
  }

  low(block: number): number {
    return this.#word(headWords + block * blockWords);
  }

  high(block: number): number {
    return this.#word(headWords + block * blockWords + 1);
  }

  blockBytes(block: number): number {
    return this.#word(headWords + block * blockWords + 2);
  }

  #word(offset: number): number {
    return this.#words[ringOffset + ((this.#at + offset) & ringMask)]!;
  }
}
