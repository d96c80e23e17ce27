import type { Logger } from 'pino';
import type { Config, PoolConfig } from '../config/index.ts';
import { picksByPrompt } from '../pick/index.ts';
import type { PoolPrefixes } from '../shard/index.ts';
import {
  createPrefixMemory,
  prefixEndpointCountMax,
  PrefixIndex,
  type PrefixMemory,
  PrefixSweeper,
} from '../shm/index.ts';
import type { EngineLoad } from './engine-metrics.ts';

/**
 * The prefix index of each pool that routes by it: made once, kept over reloads, swept, and told what engines say of their
 * caches. In it an endpoint is an ordinal of 8 bits, which it keeps for as long as it is configured.
 */
const slotCount = 1 << 20;
/** Of a cache whose engine does not say. About what a 70B model leaves room for on eight 80 GB cards. */
const cacheTokensDefault = 300_000;
/** What a token takes in a body, before shards have learned of it. */
const bytesPerToken = 3.7;
const sweepPeriodMs = 100;
/** A round of all slots every three minutes; one sweep takes a tenth of a millisecond. */
const slotsPerSweep = Math.ceil((slotCount * sweepPeriodMs) / 180_000);
/** Between a restart told by events and the same told by metrics. What was told later than by metrics is no word of the next one. */
const restartKnownMs = 60_000;

interface Entry {
  readonly number: number;
  readonly memory: PrefixMemory;
  readonly index: PrefixIndex;
  readonly sweeper: PrefixSweeper;
  readonly ordinals: Map<string, number>;
  readonly startedAt: Map<string, number>;
  /** Restarts that are known before their process's start is: when that became known, in ms. */
  readonly knownRestarts: Map<string, number>;
  /** What its metrics say that the cache holds, by endpoint. */
  readonly toldTokens: Map<string, number>;
  /** What the cache was seen to hold when it was full. */
  readonly seenTokens: Map<string, number>;
}

/** Where an endpoint stands. */
export interface PrefixPlace {
  readonly index: PrefixIndex;
  /** The pool's. */
  readonly number: number;
  /** The endpoint's, in the index. */
  readonly ordinal: number;
}

export class PrefixMemories {
  readonly #entries = new Map<string, Entry>();
  readonly #log: Logger;
  readonly #nowMs: () => number;
  readonly #timer: NodeJS.Timeout;
  /** A scrape has shown that the endpoint was restarted. */
  onRestart: (pool: string, url: string) => void = () => {};
  /** An endpoint was emptied because its process is another one, whoever found out. */
  onForgotten: (pool: string, url: string) => void = () => {};

  constructor(log: Logger, nowMs: () => number) {
    this.#log = log;
    this.#nowMs = nowMs;
    this.#timer = setInterval(() => {
      for (const { sweeper } of this.#entries.values()) sweeper.sweep(slotsPerSweep, nowMs());
    }, sweepPeriodMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** By pool: where its shards look and write. Null where nothing is to be chosen by it. */
  plan(config: Config): readonly (PoolPrefixes | null)[] {
    return config.pools.map((pool) => {
      if (!choosesByPrefix(pool)) return null;
      const entry = this.#entryOf(pool.name);
      this.#assign(entry, pool);
      const ordinals = pool.endpoints.map(({ url }) => entry.ordinals.get(url)!);
      return { memory: entry.memory, ordinals, number: entry.number };
    });
  }

  /**
   * A later plan was refused, and shards go on with the one of `config`: endpoints have the ordinals again that they have in it.
   * Where another had one meanwhile, nothing is known of what was held.
   */
  restore(config: Config, planned: readonly (PoolPrefixes | null)[]): void {
    for (const [poolIndex, { name, endpoints }] of config.pools.entries()) {
      const prefixes = planned[poolIndex];
      if (prefixes === null || prefixes === undefined) continue;
      const entry = this.#entryOf(name);
      const wanted = new Map(endpoints.map(({ url }, index) => [url, prefixes.ordinals[index]!]));
      const taken = new Set<number>();
      for (const [url, ordinal] of entry.ordinals) {
        if (wanted.get(url) === ordinal) continue;
        taken.add(ordinal);
        drop(entry, url);
      }
      for (const [url, ordinal] of wanted) {
        if (taken.has(ordinal)) begin(entry, url, ordinal);
        else entry.ordinals.set(url, ordinal);
      }
    }
  }

  /** What a scrape said: how much the cache holds, and since when the process has run. */
  note(pool: string, url: string, { cacheTokens, startedAtSeconds }: EngineLoad): void {
    const entry = this.#entries.get(pool);
    const ordinal = entry?.ordinals.get(url);
    if (entry === undefined || ordinal === undefined) return;
    if (cacheTokens > 0) {
      entry.toldTokens.set(url, cacheTokens);
      this.#setTokens(entry, url, ordinal);
    }
    if (startedAtSeconds !== 0 && this.noteStart(pool, url, startedAtSeconds)) this.onRestart(pool, url);
  }

  /** Since when the endpoint's process has run, whoever found out. True: not the process known before, so its cache is empty. */
  noteStart(pool: string, url: string, startedAtSeconds: number): boolean {
    const entry = this.#entries.get(pool);
    const ordinal = entry?.ordinals.get(url);
    if (entry === undefined || ordinal === undefined) return false;
    const before = entry.startedAt.get(url);
    entry.startedAt.set(url, startedAtSeconds);
    if (before === undefined || before === startedAtSeconds) return false;
    entry.seenTokens.delete(url);
    this.#setTokens(entry, url, ordinal);
    const knownMs = entry.knownRestarts.get(url) ?? Number.NEGATIVE_INFINITY;
    entry.knownRestarts.delete(url);
    if (this.#nowMs() - knownMs <= restartKnownMs) return true;
    entry.index.horizon.forget(ordinal);
    this.onForgotten(pool, url);
    this.#log.info({ pool, endpoint: url }, 'endpoint was restarted: its KV cache is empty');
    return true;
  }

  /** Seconds since 1970; 0 where nobody has said. */
  startedAt(pool: string, url: string): number {
    return this.#entries.get(pool)?.startedAt.get(url) ?? 0;
  }

  /** The endpoint's place in its pool's index; null where it has none. */
  find(pool: string, url: string): PrefixPlace | null {
    const entry = this.#entries.get(pool);
    const ordinal = entry?.ordinals.get(url);
    return entry === undefined || ordinal === undefined ? null : { index: entry.index, number: entry.number, ordinal };
  }

  /** The endpoint's cache is empty. `isRestarted`: its process is another one, so when its metrics say that too it is no news. */
  empty(pool: string, url: string, isRestarted: boolean): void {
    const entry = this.#entries.get(pool);
    const ordinal = entry?.ordinals.get(url);
    if (entry === undefined || ordinal === undefined) return;
    if (isRestarted && entry.startedAt.has(url)) entry.knownRestarts.set(url, this.#nowMs());
    entry.index.horizon.forget(ordinal);
  }

  /** What the endpoint's cache was seen to hold when it was full. It is never more than its metrics say. */
  setSeenTokens(pool: string, url: string, tokens: number): void {
    const entry = this.#entries.get(pool);
    const ordinal = entry?.ordinals.get(url);
    if (entry === undefined || ordinal === undefined) return;
    entry.seenTokens.set(url, tokens);
    this.#setTokens(entry, url, ordinal);
  }

  #setTokens({ index: { horizon }, toldTokens, seenTokens }: Entry, url: string, ordinal: number): void {
    const told = toldTokens.get(url);
    const seen = seenTokens.get(url);
    if (seen === undefined) {
      if (told !== undefined) horizon.setTokens(ordinal, told, bytesPerToken);
      return;
    }
    // It is the same cache, measured better: tokens are as long as they were learned to be.
    const tokenBytes = horizon.capacity(ordinal) / Math.max(1, horizon.tokens(ordinal));
    horizon.setTokens(ordinal, Math.min(told ?? seen, seen), tokenBytes);
  }

  /** Nobody holds anything: keys are made with another secret from now on. */
  forgetAll(): void {
    for (const { index, ordinals } of this.#entries.values())
      for (const ordinal of ordinals.values()) index.horizon.forget(ordinal);
  }

  #entryOf(pool: string): Entry {
    let entry = this.#entries.get(pool);
    if (entry === undefined) {
      const memory = createPrefixMemory(
        slotCount,
        prefixEndpointCountMax,
        Math.round(cacheTokensDefault * bytesPerToken),
      );
      const index = new PrefixIndex(memory);
      entry = {
        number: this.#entries.size,
        memory,
        index,
        sweeper: new PrefixSweeper(index),
        ordinals: new Map(),
        startedAt: new Map(),
        knownRestarts: new Map(),
        toldTokens: new Map(),
        seenTokens: new Map(),
      };
      this.#entries.set(pool, entry);
    }
    return entry;
  }

  /** Those that stay keep their ordinals; one that comes begins with nothing, whoever had its ordinal before. */
  #assign(entry: Entry, { endpoints }: PoolConfig): void {
    const { ordinals } = entry;
    const urls = new Set(endpoints.map(({ url }) => url));
    for (const url of ordinals.keys()) if (!urls.has(url)) drop(entry, url);
    const taken = new Set(ordinals.values());
    let next = 0;
    for (const url of urls) {
      if (ordinals.has(url)) continue;
      while (taken.has(next)) next++;
      taken.add(next);
      begin(entry, url, next);
    }
  }
}

function drop({ ordinals, startedAt, knownRestarts, toldTokens, seenTokens }: Entry, url: string): void {
  for (const each of [ordinals, startedAt, knownRestarts, toldTokens, seenTokens]) each.delete(url);
}

/** With nothing, whoever had the ordinal before. */
function begin({ index, ordinals }: Entry, url: string, ordinal: number): void {
  ordinals.set(url, ordinal);
  index.horizon.forget(ordinal);
  index.horizon.setTokens(ordinal, cacheTokensDefault, bytesPerToken);
}

function choosesByPrefix({ picker, endpoints }: PoolConfig): boolean {
  return picksByPrompt(picker) && endpoints.length > 1 && endpoints.length <= prefixEndpointCountMax;
}
