import type { Logger } from 'pino';
import { kvEventSources } from '../../config/index.ts';
import type { FleetTable } from '../../shm/index.ts';
import type { PrefixMemories } from '../prefix-memories.ts';
import type { ProbeTarget } from '../probe-client.ts';
import { Calibration } from './calibration.ts';
import type { EngineReport } from './calibration.ts';
import type { KvEventCounts, PublisherReport, PublisherSpec } from './protocol.ts';
import type { EmptiedCause } from './publisher-track.ts';
import { KvEventReader } from './reader.ts';

/**
 * Follows the KV events of every endpoint that publishes them, and keeps the prefix index true by them: empties an endpoint's part
 * of it at once when its cache was cleared or its engine began anew, and holds the rest to what the engine says. An endpoint
 * without events, or whose publisher is down, goes on as any other.
 */
export interface KvEventsOptions {
  readonly log: Logger;
  readonly prefixes: PrefixMemories;
  readonly fleet: Pick<FleetTable, 'inflight' | 'pendingTokens' | 'peers'>;
}

/** Of one endpoint, as `/status` shows it. */
export interface KvEventsStatus {
  readonly publishers: number;
  readonly connected: number;
  /** Why the first that is not connected is not; null when all are. */
  readonly problem: string | null;
  /** What the engine's cache holds by its events; null when that is not known. */
  readonly fill_tokens: number | null;
  /** What the tiers behind it hold. */
  readonly lower_tiers_tokens: number;
  /** What the index believes that it holds of prompts sent there; null without an index. */
  readonly believed_tokens: number | null;
  /** What it can hold, as the index takes it. */
  readonly capacity_tokens: number | null;
  /** Stored there without anything sent there that explains it. */
  readonly foreign_tokens: number;
  readonly events: KvEventCounts;
  readonly emptied: Readonly<Record<EmptiedCause, number>>;
  readonly gaps: number;
  readonly missed_batches: number;
  readonly replays: { readonly complete: number; readonly failed: number };
}

/** Of comparing belief with truth; reports come as often. */
const periodMs = 250;
const logPeriodMs = 1000;

export class KvEvents {
  readonly #options: KvEventsOptions;
  /** By slot. */
  readonly #entries = new Map<number, FollowedEndpoint>();
  readonly #reader: KvEventReader;
  #timer: NodeJS.Timeout | null = null;
  #nextId = 0;

  constructor(options: KvEventsOptions) {
    this.#options = options;
    options.prefixes.onForgotten = (pool, url) => this.#entryAt(pool, url)?.noteRestart();
    this.#reader = new KvEventReader({
      log: options.log,
      onEmptied: (id, cause) => this.#entryOf(id)?.onEmptied(cause),
      onRemark: (id, { level, message, reason }) =>
        this.#entryOf(id)?.log[level]({ publisher: this.#entryOf(id)?.addressOf(id), reason }, message),
      onLost: () => {
        for (const entry of this.#entries.values()) entry.beginAnew();
      },
    });
  }

  /** Follows exactly these from now on; those that stay go on undisturbed. */
  watch(targets: readonly ProbeTarget[]): void {
    const wanted = new Map(
      targets
        .filter(({ pool, endpoint }) => kvEventSources(pool.kvEvents, endpoint).length > 0)
        .map((target) => [target.slot, target]),
    );
    for (const [slot, entry] of this.#entries) {
      const target = wanted.get(slot);
      if (target === undefined || !entry.isFor(target)) this.#entries.delete(slot);
    }
    for (const [slot, target] of wanted) {
      if (this.#entries.has(slot)) continue;
      this.#entries.set(slot, new FollowedEndpoint(target, this.#options, this.#reader, () => this.#nextId++));
    }
    this.#reader.watch([...this.#entries.values()].flatMap(({ publishers }) => publishers));
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = this.#entries.size === 0 ? null : setInterval(() => this.#look(), periodMs).unref();
  }

  stop(): void {
    this.watch([]);
  }

  /** Null for an endpoint whose events are not followed. */
  status(slot: number): KvEventsStatus | null {
    return this.#entries.get(slot)?.status() ?? null;
  }

  #look(): void {
    for (const entry of this.#entries.values()) entry.look();
  }

  #entryAt(pool: string, url: string): FollowedEndpoint | null {
    for (const entry of this.#entries.values()) if (entry.isAt(pool, url)) return entry;
    return null;
  }

  #entryOf(id: number): FollowedEndpoint | null {
    for (const entry of this.#entries.values()) if (entry.addressOf(id) !== null) return entry;
    return null;
  }
}

class FollowedEndpoint {
  readonly log: Logger;
  readonly publishers: readonly PublisherSpec[];
  readonly #target: ProbeTarget;
  readonly #options: KvEventsOptions;
  readonly #reader: KvEventReader;
  readonly #settings: string;
  /** Null where there is no index to keep true. */
  readonly #calibration: Calibration | null;
  readonly #emptied: Record<EmptiedCause, number> = { cleared: 0, restarted: 0 };
  #emptiedLoggedMs = Number.NEGATIVE_INFINITY;

  constructor(target: ProbeTarget, options: KvEventsOptions, reader: KvEventReader, nextId: () => number) {
    const { pool, endpoint } = target;
    this.#target = target;
    this.#options = options;
    this.#reader = reader;
    this.#settings = settingsOf(target);
    this.log = options.log.child({ pool: pool.name, endpoint: endpoint.url });
    const topic = pool.kvEvents?.topic ?? '';
    this.publishers = kvEventSources(pool.kvEvents, endpoint).map((source) => ({ id: nextId(), ...source, topic }));
    const place = options.prefixes.find(pool.name, endpoint.url);
    this.#calibration =
      place === null
        ? null
        : new Calibration({ horizon: place.index.horizon, ordinal: place.ordinal }, this.#report(), (tokens) =>
            options.prefixes.setSeenTokens(pool.name, endpoint.url, tokens),
          );
  }

  isFor(target: ProbeTarget): boolean {
    const hasPlace = this.#options.prefixes.find(target.pool.name, target.endpoint.url) !== null;
    return settingsOf(target) === this.#settings && hasPlace === (this.#calibration !== null);
  }

  isAt(pool: string, url: string): boolean {
    return this.#target.pool.name === pool && this.#target.endpoint.url === url;
  }

  /** Null when it is not one of this endpoint's. */
  addressOf(id: number): string | null {
    const found = this.publishers.find((publisher) => publisher.id === id);
    return found === undefined ? null : `${found.address.host}:${found.address.port}`;
  }

  look(): void {
    this.#calibration?.look(this.#report());
  }

  /** What is counted from now on says nothing of what was before. */
  beginAnew(): void {
    this.#calibration?.restart(this.#report());
  }

  /** It is known from elsewhere that its process is another one, and the index was emptied for it. */
  noteRestart(): void {
    this.#reader.forget(this.publishers.map(({ id }) => id));
    this.beginAnew();
  }

  onEmptied(cause: EmptiedCause): void {
    const { pool, endpoint } = this.#target;
    this.#emptied[cause]++;
    this.#options.prefixes.empty(pool.name, endpoint.url, cause === 'restarted');
    this.beginAnew();
    const nowMs = performance.now();
    if (nowMs - this.#emptiedLoggedMs < logPeriodMs) return;
    this.#emptiedLoggedMs = nowMs;
    this.log.info({ cause }, 'KV cache was emptied');
  }

  status(): KvEventsStatus {
    const reports = this.#reports();
    const sum = (read: (report: PublisherReport) => number): number =>
      reports.reduce((total, report) => total + read(report), 0);
    return {
      publishers: reports.length,
      connected: reports.filter(({ isConnected }) => isConnected).length,
      problem: reports.find(({ problem }) => problem !== null)?.problem ?? null,
      fill_tokens: this.#report().fillTokens,
      lower_tiers_tokens: sum(({ lowerTokens }) => lowerTokens),
      believed_tokens: this.#calibration?.believedTokens ?? null,
      capacity_tokens: this.#calibration?.capacityTokens ?? null,
      foreign_tokens: this.#calibration?.foreignTokens ?? 0,
      events: {
        stored: sum(({ counts }) => counts.stored),
        removed: sum(({ counts }) => counts.removed),
        cleared: sum(({ counts }) => counts.cleared),
        other: sum(({ counts }) => counts.other),
        malformed: sum(({ counts }) => counts.malformed),
      },
      emptied: { ...this.#emptied },
      gaps: sum(({ gaps }) => gaps),
      missed_batches: sum(({ missedBatches }) => missedBatches),
      replays: { complete: sum(({ replays }) => replays.complete), failed: sum(({ replays }) => replays.failed) },
    };
  }

  #reports(): PublisherReport[] {
    return this.publishers.map(({ id }) => this.#reader.report(id));
  }

  /** Of all ranks together. */
  #report(): EngineReport {
    let storedTokens = 0;
    let removedTokens = 0;
    let fillTokens: number | null = 0;
    for (const report of this.#reports()) {
      storedTokens += report.storedTokens;
      removedTokens += report.removedTokens;
      fillTokens = fillTokens === null || report.fillTokens === null ? null : fillTokens + report.fillTokens;
    }
    const { fleet } = this.#options;
    const { slot } = this.#target;
    return {
      storedTokens,
      removedTokens,
      fillTokens,
      inflightCount: fleet.inflight(slot) + fleet.peers.inflight(slot),
      pendingTokens: fleet.pendingTokens(slot) + fleet.peers.pendingTokens(slot),
    };
  }
}

function settingsOf({ pool, endpoint }: ProbeTarget): string {
  return JSON.stringify([pool.name, endpoint.url, pool.kvEvents?.topic, kvEventSources(pool.kvEvents, endpoint)]);
}
