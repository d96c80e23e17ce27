import { assert, fail } from '../core/assert.ts';
import type { EndpointScrape } from './endpoint-scrape.ts';
import { wholeRow } from './health-record.ts';
import { HealthTable } from './health-table.ts';
import type { SharedMemory } from './memory.ts';
import { PeerLoads } from './peer-loads.ts';
import type { SharedCounts } from './shared-counts.ts';

/**
 * What all threads know of every endpoint; what they think of it is in `health`. One record of 128 bytes a slot: the words
 * shards change are on its first cache line, those control publishes on its second, so that a scrape does not slow the pick.
 *
 * | Word                | Byte | Unit                      | Writer                                     |
 * | ------------------- | ---- | ------------------------- | ------------------------------------------ |
 * | inflight            | 0    | exchanges, < 0 when free  | shards, Atomics; control opens and closes  |
 * | inflightTokens      | 4    | tokens                    | shards, Atomics                            |
 * | connections         | 8    | sockets, < 0 when free    | shards, Atomics; control opens and closes  |
 * | pendingTokens       | 12   | tokens                    | shards, Atomics                            |
 * | state               | 64   | EndpointState             | control                                    |
 * | scrapeSequence      | 68   | odd while being written   | control                                    |
 * | queueDepth          | 72   | requests                  | control, under the sequence                |
 * | runningRequests     | 76   | requests                  | control, under the sequence                |
 * | kvCacheUsage        | 80   | millionths                | control, under the sequence                |
 * | scrapedAtSeconds    | 84   | seconds of the Clock      | control, under the sequence                |
 * | scrapedAtMicros     | 88   | microseconds              | control, under the sequence                |
 * | inflightAtScrape    | 92   | exchanges                 | control, under the sequence                |
 * | weight              | 96   | Float64, as configured    | control                                    |
 * | capacity            | 104  | requests, 0 = unknown     | control                                    |
 *
 * After the records, one shadow row a shard, 16 bytes a slot: inflight (0), inflightTokens (4), connections (8), pendingTokens
 * (12). Writer: that shard, plainly; it says what part of the totals is its own, so control can take it back when it died.
 */
export const EndpointState = { free: 0, healthy: 1, unhealthy: 2, draining: 3 } as const;
export type EndpointState = (typeof EndpointState)[keyof typeof EndpointState];
const endpointStates: readonly EndpointState[] = Object.values(EndpointState); // By number.

const recordBytes = 128;
const recordShift = 5; // Words of a record: 1 << 5.
const inflightWord = 0;
const tokensWord = 1;
const connectionsWord = 2;
const pendingWord = 3;
const stateWord = 16;
const sequenceWord = 17;
const queueWord = 18;
const runningWord = 19;
const kvCacheWord = 20;
const scrapedSecondsWord = 21;
const scrapedMicrosWord = 22;
const inflightAtScrapeWord = 23;
const weightDouble = 12;
const capacityWord = 26;

const rowShift = 2; // Words of a slot in a shadow row: 1 << 2.
/** The words shards change, in the order of the shadow rows. */
const countNames = ['inflight', 'inflight_tokens', 'connections', 'pending_tokens'];

/**
 * Added to the counts of a slot that is free. A shard that still has the slot of an endpoint removed meanwhile sees a
 * negative count and declines; adding instead of storing keeps its take-and-roll-back exact whenever it happens.
 */
const closed = -0x4000_0000;
const seqlockTriesMax = 64;

/** The zeroed table with every slot free. */
export function fleetMemory(shardCount: number, endpointCountMax: number): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(endpointCountMax * recordBytes + shardCount * rowBytesOf(endpointCountMax));
  const words = new Int32Array(memory);
  for (let slot = 0; slot < endpointCountMax; slot++) {
    words[(slot << recordShift) + inflightWord] = closed;
    words[(slot << recordShift) + connectionsWord] = closed;
  }
  return memory;
}

/** Rows of two shards never meet on one 128-byte line. */
function rowBytesOf(endpointCountMax: number): number {
  return Math.ceil((endpointCountMax << rowShift) / 32) * 128;
}

export class FleetTable implements SharedCounts {
  readonly endpointCountMax: number;
  readonly health: HealthTable;
  /** What other gateways have there. */
  readonly peers: PeerLoads;
  readonly #shardCount: number;
  readonly #isControl: boolean;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  /** This shard's shadow row; empty for control. */
  readonly #row: Int32Array;
  readonly #memory: SharedArrayBuffer;
  /** A shard's part of a word: clients announce bodies of gigabytes as often as they like, and no sum of them may wrap. */
  readonly #tokensMax: number;

  /** `shardIndex` is -1 for control. */
  constructor(memory: SharedMemory, shardIndex: number) {
    assert(shardIndex >= -1 && shardIndex < memory.shardCount, 'shardIndex < shardCount');
    this.#tokensMax = Math.floor(0x7fff_ffff / memory.shardCount);
    this.endpointCountMax = memory.endpointCountMax;
    this.#shardCount = memory.shardCount;
    this.#isControl = shardIndex === -1;
    this.#memory = memory.fleet;
    this.health = new HealthTable(memory, shardIndex);
    this.peers = new PeerLoads(memory.peerLoads);
    // Views end with the records: Atomics on a slot out of range throw instead of reaching into a shadow row.
    this.#words = new Int32Array(memory.fleet, 0, memory.endpointCountMax << recordShift);
    this.#doubles = new Float64Array(memory.fleet, 0, memory.endpointCountMax << (recordShift - 1));
    this.#row = this.#isControl ? new Int32Array(0) : this.#rowOf(shardIndex);
  }

  // Control.

  /** A free slot, now `unhealthy` with everything else reset (weight 1, never scraped), or -1 when all are taken. */
  claim(): number {
    this.#assertControl();
    for (let slot = 0; slot < this.endpointCountMax; slot++) {
      if (this.state(slot) !== EndpointState.free) continue;
      const at = slot << recordShift;
      this.health.clear(slot);
      this.#writeScrape(slot, { queueDepth: 0, runningRequests: 0, kvCacheUsageRatio: 0, scrapedAtMs: 0 }, 0);
      Atomics.store(this.#words, at + capacityWord, 0);
      this.setWeight(slot, 1);
      Atomics.store(this.#words, at + stateWord, EndpointState.unhealthy);
      Atomics.sub(this.#words, at + connectionsWord, closed);
      Atomics.sub(this.#words, at + inflightWord, closed);
      return slot;
    }
    return -1;
  }

  /**
   * Frees the slot when nothing holds it: no exchange, no token, no connection (idle ones count). Otherwise false, and
   * nothing has changed: set the state to `draining` and try again later.
   */
  release(slot: number): boolean {
    this.#assertControl();
    assert(this.state(slot) !== EndpointState.free, 'slot is claimed');
    const at = slot << recordShift;
    if (Atomics.compareExchange(this.#words, at + inflightWord, 0, closed) !== 0) return false;
    if (
      Atomics.load(this.#words, at + tokensWord) !== 0 ||
      Atomics.load(this.#words, at + pendingWord) !== 0 ||
      Atomics.compareExchange(this.#words, at + connectionsWord, 0, closed) !== 0
    ) {
      Atomics.sub(this.#words, at + inflightWord, closed);
      return false;
    }
    Atomics.store(this.#words, at + stateWord, EndpointState.free);
    return true;
  }

  setState(slot: number, state: Exclude<EndpointState, 0>): void {
    this.#assertControl();
    assert(this.state(slot) !== EndpointState.free, 'slot is claimed');
    Atomics.store(this.#words, (slot << recordShift) + stateWord, state);
  }

  setWeight(slot: number, weight: number): void {
    this.#assertControl();
    this.#doubles[(slot << (recordShift - 1)) + weightDouble] = weight;
  }

  /** `inflight`: of the endpoint when it was asked; so many of ours the engine may have counted. */
  publishScrape(slot: number, scrape: Readonly<EndpointScrape>, inflight: number = this.inflight(slot)): void {
    this.#assertControl();
    assert(this.state(slot) !== EndpointState.free, 'slot is claimed');
    this.#writeScrape(slot, scrape, inflight);
    const at = (slot << recordShift) + capacityWord;
    const { queueDepth, runningRequests } = scrape;
    const capacity = Atomics.load(this.#words, at);
    // With some waiting as many run as can. With nobody waiting one more might: prompts may have become shorter.
    if (queueDepth > 0) Atomics.store(this.#words, at, runningRequests);
    else if (capacity > 0 && runningRequests >= capacity) Atomics.store(this.#words, at, runningRequests + 1);
  }

  /**
   * Once the thread of a shard has ended: subtracts what it still held from the totals. Calling it twice is harmless,
   * calling it while the shard runs is not.
   */
  reclaimShard(shardIndex: number): void {
    this.#assertControl();
    assert(shardIndex >= 0 && shardIndex < this.#shardCount, 'shardIndex < shardCount');
    this.health.reclaimShard(shardIndex);
    const row = this.#rowOf(shardIndex);
    for (let slot = 0; slot < this.endpointCountMax; slot++) {
      for (let word = 0; word < countNames.length; word++) {
        const held = Atomics.exchange(row, (slot << rowShift) + word, 0);
        if (held !== 0) Atomics.sub(this.#words, (slot << recordShift) + word, held);
      }
    }
  }

  get countCount(): number {
    return this.endpointCountMax * countNames.length;
  }

  readSurplus(out: Int32Array): void {
    this.#assertControl();
    out.fill(0);
    const rows = Array.from({ length: this.#shardCount }, (_, shard) => this.#rowOf(shard));
    for (let slot = 0; slot < this.endpointCountMax; slot++) {
      if (this.state(slot) === EndpointState.free) continue;
      for (let word = 0; word < countNames.length; word++) {
        let surplus = Atomics.load(this.#words, (slot << recordShift) + word);
        for (const row of rows) surplus -= Atomics.load(row, (slot << rowShift) + word);
        out[slot * countNames.length + word] = surplus;
      }
    }
  }

  takeOff(index: number, surplus: number): void {
    this.#assertControl();
    const slot = Math.floor(index / countNames.length);
    Atomics.sub(this.#words, (slot << recordShift) + (index % countNames.length), surplus);
  }

  describeCount(index: number): Record<string, string | number> {
    return { count: countNames[index % countNames.length]!, endpoint_slot: Math.floor(index / countNames.length) };
  }

  // Any thread. What every pick asks of every endpoint is one word, read without Atomics (prefix-index says why).

  state(slot: number): EndpointState {
    return endpointStates[this.#words[(slot << recordShift) + stateWord]!]!;
  }

  /** Out of the pick by the answers it gave, whatever the model. */
  isEjected(slot: number, nowMs: number): boolean {
    return this.health.isOut(slot, wholeRow, nowMs);
  }

  /** Of use to control alone: 64 bits that another thread writes may be torn. */
  weight(slot: number): number {
    return this.#doubles[(slot << (recordShift - 1)) + weightDouble]!;
  }

  inflight(slot: number): number {
    return Math.max(0, this.#words[(slot << recordShift) + inflightWord]!);
  }

  inflightTokens(slot: number): number {
    return this.#words[(slot << recordShift) + tokensWord]!;
  }

  /** Prompt tokens sent there that it has to compute, of exchanges without a byte of their answer. */
  pendingTokens(slot: number): number {
    return this.#words[(slot << recordShift) + pendingWord]!;
  }

  connections(slot: number): number {
    return Math.max(0, Atomics.load(this.#words, (slot << recordShift) + connectionsWord));
  }

  /**
   * What has come to the endpoint, less what has gone, since its last scrape: exchanges of all shards. Read apart from the scrape: when
   * another one is published in between, one pick reckons with both.
   */
  inflightSinceScrape(slot: number): number {
    return this.inflight(slot) - Atomics.load(this.#words, (slot << recordShift) + inflightAtScrapeWord);
  }

  /** How many requests the engine runs at once, as far as was seen: 0 before any had to wait there. */
  capacity(slot: number): number {
    return Atomics.load(this.#words, (slot << recordShift) + capacityWord);
  }

  /**
   * Fills `out` with one consistent scrape. False, with `out` untouched or stale as a whole, when the endpoint was never
   * scraped or control kept writing through every try. All words go through Atomics: with plain reads the protocol holds
   * on x86-64 only, the memory model of the language does not promise it.
   */
  readScrape(slot: number, out: EndpointScrape): boolean {
    const words = this.#words;
    const at = slot << recordShift;
    for (let tries = 0; tries < seqlockTriesMax; tries++) {
      const sequence = Atomics.load(words, at + sequenceWord);
      if ((sequence & 1) !== 0) continue;
      const queueDepth = Atomics.load(words, at + queueWord);
      const runningRequests = Atomics.load(words, at + runningWord);
      const kvCacheUsage = Atomics.load(words, at + kvCacheWord);
      const seconds = Atomics.load(words, at + scrapedSecondsWord);
      const micros = Atomics.load(words, at + scrapedMicrosWord);
      if (Atomics.load(words, at + sequenceWord) !== sequence) continue;
      if (seconds === 0 && micros === 0) return false;
      out.queueDepth = queueDepth;
      out.runningRequests = runningRequests;
      out.kvCacheUsageRatio = kvCacheUsage / 1e6;
      out.scrapedAtMs = seconds * 1000 + micros / 1000;
      return true;
    }
    return false;
  }

  // Shards. A shard gives back only what it took itself: its shadow row is checked.

  /** Counts one exchange on the endpoint, unless it has `inflightMax` already (0 = unlimited) or the slot was freed. */
  tryTakeInflight(slot: number, inflightMax: number): boolean {
    return this.#tryTake(slot, inflightWord, inflightMax);
  }

  giveInflight(slot: number): void {
    this.#give(slot, inflightWord);
  }

  /** Counts one socket to the endpoint, unless it has `connectionsMax` already (0 = unlimited) or the slot was freed. */
  tryTakeConnection(slot: number, connectionsMax: number): boolean {
    return this.#tryTake(slot, connectionsWord, connectionsMax);
  }

  giveConnection(slot: number): void {
    this.#give(slot, connectionsWord);
  }

  /**
   * `delta` < 0 gives back: before the inflight count of the same exchange, so that a freed slot has no tokens. Returns what was
   * added: less than `delta` where a shard has as many there as it can count.
   */
  addTokens(slot: number, delta: number): number {
    return this.#addTo(slot, tokensWord, delta);
  }

  /** As `addTokens`. */
  addPending(slot: number, delta: number): number {
    return this.#addTo(slot, pendingWord, delta);
  }

  #addTo(slot: number, word: number, delta: number): number {
    const at = (slot << rowShift) + word;
    const before = this.#row[at]!;
    const held = Math.min(this.#tokensMax, before + delta);
    if (!(held >= 0)) fail('tokens given back more than taken', slot, delta);
    this.#row[at] = held;
    Atomics.add(this.#words, (slot << recordShift) + word, held - before);
    return held - before;
  }

  #tryTake(slot: number, word: number, countMax: number): boolean {
    if (this.#isControl) fail('control takes nothing', slot);
    const at = (slot << recordShift) + word;
    if (countMax === 0) {
      if (Atomics.add(this.#words, at, 1) < 0) {
        Atomics.sub(this.#words, at, 1);
        return false;
      }
    } else {
      // Compare-and-swap: an add with roll-back would show readers more than the maximum, and refuse a neighbour wrongly.
      let count = Atomics.load(this.#words, at);
      for (;;) {
        if (count >= countMax || count < 0) return false;
        const seen = Atomics.compareExchange(this.#words, at, count, count + 1);
        if (seen === count) break;
        count = seen;
      }
    }
    this.#row[(slot << rowShift) + word]! += 1;
    return true;
  }

  #give(slot: number, word: number): void {
    const held = this.#row[(slot << rowShift) + word]!;
    if (!(held >= 1)) fail('endpoint count given back more often than taken', slot, word);
    this.#row[(slot << rowShift) + word] = held - 1;
    Atomics.sub(this.#words, (slot << recordShift) + word, 1);
  }

  #writeScrape(slot: number, scrape: Readonly<EndpointScrape>, inflight: number): void {
    const words = this.#words;
    const at = slot << recordShift;
    const sequence = Atomics.load(words, at + sequenceWord);
    const seconds = Math.floor(scrape.scrapedAtMs / 1000);
    Atomics.store(words, at + sequenceWord, sequence + 1);
    Atomics.store(words, at + queueWord, scrape.queueDepth);
    Atomics.store(words, at + runningWord, scrape.runningRequests);
    Atomics.store(words, at + kvCacheWord, Math.round(scrape.kvCacheUsageRatio * 1e6));
    Atomics.store(words, at + inflightAtScrapeWord, inflight);
    Atomics.store(words, at + scrapedSecondsWord, seconds);
    Atomics.store(words, at + scrapedMicrosWord, Math.round((scrape.scrapedAtMs - seconds * 1000) * 1000));
    Atomics.store(words, at + sequenceWord, sequence + 2);
  }

  #rowOf(shardIndex: number): Int32Array {
    const offset = this.endpointCountMax * recordBytes + shardIndex * rowBytesOf(this.endpointCountMax);
    return new Int32Array(this.#memory, offset, this.endpointCountMax << rowShift);
  }

  #assertControl(): void {
    if (!this.#isControl) fail('only control changes what the fleet is');
  }
}
