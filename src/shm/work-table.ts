import { assert, fail } from '../core/assert.ts';
import type { SharedMemory } from './memory.ts';

/**
 * What endpoints get done, as it is seen to be done: a row a shard, in it 8 bytes a slot of the fleet table; behind them 4 bytes a
 * slot that all shards write, and 4 that control does.
 *
 * | Word             | Byte | Unit                | Writer          |
 * | ---------------- | ---- | ------------------- | --------------- |
 * | promptTokens     | 0    | tokens, wraps       | that shard      |
 * | completionTokens | 4    | tokens, wraps       | that shard      |
 * | promptMicros     | -    | microseconds, wraps | shards, Atomics |
 * | usedPpm          | -    | millionths          | control         |
 *
 * The first three are totals for ever: who wants a rate subtracts, as integers of 32 bits. A slot's words are not cleared when
 * another endpoint gets it, nor a shard's when it is started again; `usedPpm` is what control found last.
 */
const wordsEach = 2;
/** Rates are taken over so long. */
export const workWindowMs = 10_000;
/** Completion tokens a second that an endpoint is taken to be able to write until it, or one like it, was seen to write more. */
export const writeRateAssumed = 1000;

const promptWord = 0;
const completionWord = 1;

/** Rows of two shards never meet on one 128-byte line. */
function rowWordsOf(endpointCountMax: number): number {
  return Math.ceil((endpointCountMax * wordsEach) / 32) * 32;
}

export function workMemoryBytes(shardCount: number, endpointCountMax: number): number {
  return (shardCount * rowWordsOf(endpointCountMax) + 2 * endpointCountMax) * 4;
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

  /** Of the completion tokens a second that the endpoint can write, the part that it does, 0..1. */
  setUsedRatio(slot: number, ratio: number): void {
    assert(this.#shardIndex < 0, 'control has all the rates');
    Atomics.store(this.#words, this.#microsAt(slot) + this.#endpointCountMax, Math.round(ratio * 1e6));
  }

  /** @hot per pick and endpoint. As control found it, some seconds ago. A word of its own: whole without Atomics. */
  usedRatio(slot: number): number {
    return this.#words[this.#microsAt(slot) + this.#endpointCountMax]! / 1e6;
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
