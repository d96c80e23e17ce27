import { assert, fail } from '../core/assert.ts';
import type { SharedMemory } from './memory.ts';

/**
 * What endpoints get done, as it is seen to be done: a row a shard, in it 8 bytes a slot of the fleet table; behind them 4 bytes a
 * slot that all shards write, and 12 that control does.
 *
 * | Word             | Byte | Unit                           | Writer          |
 * | ---------------- | ---- | ------------------------------ | --------------- |
 * | promptTokens     | 0    | tokens, wraps                  | that shard      |
 * | completionTokens | 4    | tokens, wraps                  | that shard      |
 * | promptMicros     | -    | microseconds, wraps            | shards, Atomics |
 * | usedPpm          | -    | millionths                     | control         |
 * | headroom         | -    | tokens a second + 1, 0 = none  | control         |
 * | pace             | -    | thousandths of a token a second | control        |
 *
 * The first three are totals for ever: who wants a rate subtracts, as integers of 32 bits. A slot's words are not cleared when
 * another endpoint gets it, nor a shard's when it is started again; the last three are what control found last.
 */
const wordsEach = 2;
/** Of a slot, that no shard has a row for. */
const commonWords = 4;
/** Rates are taken over so long. */
export const workWindowMs = 10_000;
/** How an endpoint writes answers, as control found it. */
export interface WriteRates {
  /** Of the completion tokens a second that it can write, the part that it does, 0..1. */
  readonly usedRatio: number;
  /** Completion tokens a second that it could write besides; -1: nobody knows. */
  readonly headroom: number;
  /** Completion tokens a second for each request it has; 0: not known. */
  readonly pace: number;
}

/** Completion tokens a second that an endpoint is taken to be able to write until it, or one like it, was seen to write more. */
export const writeRateAssumed = 1000;

const promptWord = 0;
const completionWord = 1;

/** Rows of two shards never meet on one 128-byte line. */
function rowWordsOf(endpointCountMax: number): number {
  return Math.ceil((endpointCountMax * wordsEach) / 32) * 32;
}

export function workMemoryBytes(shardCount: number, endpointCountMax: number): number {
  return (shardCount * rowWordsOf(endpointCountMax) + commonWords * endpointCountMax) * 4;
}

export class WorkTable {
  readonly #words: Int32Array;
  readonly #rowWords: number;
  readonly #shardIndex: number;
  readonly #shardCount: number;
  readonly #endpointCountMax: number;

  /** `shardIndex` is -1 for control, which reads. */
  constructor(memory: SharedMemory, shardIndex: number) {
    assert(shardIndex >= -1 && shardIndex < memory.shardCount, 'shardIndex < shardCount');
    this.#words = new Int32Array(memory.work);
    this.#rowWords = rowWordsOf(memory.endpointCountMax);
    this.#shardIndex = shardIndex;
    this.#shardCount = memory.shardCount;
    this.#endpointCountMax = memory.endpointCountMax;
  }

  /** Tokens that had to be computed of a prompt. */
  addPrompt(slot: number, tokens: number): void {
    this.#add(slot, promptWord, tokens);
  }

  /** @hot per chunk. `tokens` < 0 takes back what was counted too much. */
  addCompletion(slot: number, tokens: number): void {
    this.#add(slot, completionWord, tokens);
  }

  /** So long the endpoint worked for a prompt of this shard. */
  addPromptMs(slot: number, ms: number): void {
    if (this.#shardIndex < 0) fail('control does no work', slot);
    Atomics.add(this.#words, this.#microsAt(slot), Math.round(ms * 1000));
  }

  /** @hot per chunk. So long the endpoint worked for prompts, of all shards, in microseconds; wraps. */
  promptMicros(slot: number): number {
    return Atomics.load(this.#words, this.#microsAt(slot));
  }

  setWriteRates(slot: number, { usedRatio, headroom, pace }: WriteRates): void {
    assert(this.#shardIndex < 0, 'control has all the rates');
    const at = this.#microsAt(slot);
    Atomics.store(this.#words, at + this.#endpointCountMax, Math.round(usedRatio * 1e6));
    Atomics.store(this.#words, at + 2 * this.#endpointCountMax, toInt32(headroom) + 1);
    Atomics.store(this.#words, at + 3 * this.#endpointCountMax, toInt32(pace * 1000));
  }

  // What control found some seconds ago. A word each: whole without Atomics.

  /** @hot per pick and endpoint. */
  usedRatio(slot: number): number {
    return this.#words[this.#microsAt(slot) + this.#endpointCountMax]! / 1e6;
  }

  /** @hot per attempt. Completion tokens a second; -1: nobody knows. */
  headroom(slot: number): number {
    return this.#words[this.#microsAt(slot) + 2 * this.#endpointCountMax]! - 1;
  }

  /** @hot per pick and endpoint. Completion tokens a second for each request that the endpoint has; 0: not known. */
  pace(slot: number): number {
    return this.#words[this.#microsAt(slot) + 3 * this.#endpointCountMax]! / 1000;
  }

  /** Of all shards; wraps. */
  promptTokens(slot: number): number {
    return this.#sum(slot, promptWord);
  }

  /** Of all shards; wraps. */
  completionTokens(slot: number): number {
    return this.#sum(slot, completionWord);
  }

  /** The row has one writer, so a load and a store are enough; readers see whole words. */
  #add(slot: number, word: number, tokens: number): void {
    if (this.#shardIndex < 0) fail('control does no work', slot);
    const at = this.#at(this.#shardIndex, slot, word);
    Atomics.store(this.#words, at, (this.#words[at]! + tokens) | 0);
  }

  #sum(slot: number, word: number): number {
    let sum = 0;
    for (let shard = 0; shard < this.#shardCount; shard++)
      sum = (sum + Atomics.load(this.#words, this.#at(shard, slot, word))) | 0;
    return sum;
  }

  #microsAt(slot: number): number {
    assert(slot >= 0 && slot < this.#endpointCountMax, 'slot < endpointCountMax');
    return this.#shardCount * this.#rowWords + slot;
  }

  #at(shard: number, slot: number, word: number): number {
    assert(slot >= 0 && slot < this.#endpointCountMax, 'slot < endpointCountMax');
    return shard * this.#rowWords + slot * wordsEach + word;
  }
}

/** Beyond any rate there is; counts that endpoints claim may be anything. */
function toInt32(value: number): number {
  return Math.round(Math.min(value, 2_000_000_000));
}
