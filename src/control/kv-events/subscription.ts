import type { LookupFunction } from 'node:net';
import type { Address } from '../../config/index.ts';
import { subscribeByte } from '../../core/index.ts';
import { Backoff } from '../backoff.ts';
import { BatchDecoder } from './event-batch.ts';
import type { PublisherReport, Remark } from './protocol.ts';
import { PublisherTrack } from './publisher-track.ts';
import type { EmptiedCause } from './publisher-track.ts';
import type { ReadBudget } from './read-budget.ts';
import { ZmqConnection } from './zmq-connection.ts';

/**
 * One publisher of an engine, followed: subscribed to for as long as this lives, connected to again whenever the connection ends,
 * asked for what was missed where it has a replay socket.
 *
 *   live:    topic, sequence (8 bytes, big endian), payload
 *   replay:  '', first sequence ──▶     ◀── '', sequence, payload  …  '', 2^64 - 1, ''
 */
export interface SubscriptionOptions {
  readonly address: Address;
  /** Null: it has none. */
  readonly replayAddress: Address | null;
  /** What topics begin with. */
  readonly topic: string;
  readonly budget: ReadBudget;
  readonly lookup: LookupFunction;
  readonly onRemark: (remark: Remark) => void;
  readonly onEmptied: (cause: EmptiedCause) => void;
}

const reconnectBackoff = { firstMs: 100, maxMs: 10_000, healthyMs: 30_000 };
/** Without a message of it for so long, a replay is given up. vLLM looks for questions ten times a second. */
const replaySilenceMs = 5000;
/** A publisher that gives cause for replays all the time gets so many at once, then one in each period. */
const replaysAtOnceMax = 5;
const replayPeriodMs = 10_000;
/** Between two times that the index is emptied: a publisher that clears all the time is not told of a million times a second. */
const emptyPeriodMs = 100;
const endSequence = Buffer.alloc(8, 0xff);
const empty = Buffer.alloc(0);

export class Subscription {
  readonly #options: SubscriptionOptions;
  readonly #decoder = new BatchDecoder();
  readonly #backoff = new Backoff(reconnectBackoff);
  readonly track: PublisherTrack;
  #connection: ZmqConnection | null = null;
  #replay: ZmqConnection | null = null;
  #replayTimer: NodeJS.Timeout | null = null;
  #retryTimer: NodeJS.Timeout | null = null;
  #connectedAtMs = 0;
  #replayTokens = replaysAtOnceMax;
  #replayTokensAtMs = performance.now();
  #emptyTimer: NodeJS.Timeout | null = null;
  /** Happened since the last time it was said. */
  #emptiedCause: EmptiedCause | null = null;
  #isStopped = false;
  /** Why it is not connected, as last logged. */
  #lastReason = '';
  isConnected = false;
  readonly replays = { complete: 0, failed: 0 };
  malformedCount = 0;

  constructor(options: SubscriptionOptions) {
    this.#options = options;
    this.track = new PublisherTrack({
      onEmptied: (cause) => this.#onEmptied(cause),
      tryReplay: (first) => this.#tryReplay(first),
      endReplay: () => this.#onReplayLost('it does not end'),
    });
    this.#connect();
  }

  report(): Omit<PublisherReport, 'id'> {
    const { track } = this;
    return {
      isConnected: this.isConnected,
      problem: this.isConnected || this.#lastReason === '' ? null : this.#lastReason,
      storedTokens: track.storedTokens,
      removedTokens: track.removedTokens,
      // Whoever cannot be heard may hold anything.
      fillTokens: this.isConnected ? track.fillTokens : null,
      lowerTokens: track.lowerTokens,
      counts: { ...track.counts, malformed: this.malformedCount },
      gaps: track.gapCount,
      missedBatches: track.missedCount,
      replays: { ...this.replays },
    };
  }

  stop(): void {
    this.#isStopped = true;
    this.isConnected = false;
    this.#connection?.close();
    this.#endReplay();
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer);
    if (this.#emptyTimer !== null) clearTimeout(this.#emptyTimer);
  }

  /** At once, and what follows soon in one. */
  #onEmptied(cause: EmptiedCause): void {
    if (this.#emptyTimer !== null) {
      if (this.#emptiedCause !== 'restarted') this.#emptiedCause = cause;
      return;
    }
    this.#emptyTimer = setTimeout(() => {
      this.#emptyTimer = null;
      const missed = this.#emptiedCause;
      this.#emptiedCause = null;
      if (missed !== null) this.#onEmptied(missed);
    }, emptyPeriodMs).unref();
    this.#options.onEmptied(cause);
  }

  #connect(): void {
    const { address, budget, lookup, topic, onRemark } = this.#options;
    const connection = new ZmqConnection({
      ...address,
      socketType: 'SUB',
      budget,
      lookup,
      onReady: () => {
        connection.send([Buffer.concat([Buffer.of(subscribeByte), Buffer.from(topic, 'utf8')])]);
        this.isConnected = true;
        this.#connectedAtMs = performance.now();
        this.#lastReason = '';
        onRemark({ level: 'info', message: 'KV events are followed' });
        this.track.onConnected();
      },
      onMessage: (frames) => this.#onLive(frames),
      onClosed: (reason, isRefusal) => this.#onClosed(reason, isRefusal),
    });
    this.#connection = connection;
  }

  #onClosed(reason: string, isRefusal: boolean): void {
    const livedMs = this.isConnected ? performance.now() - this.#connectedAtMs : 0;
    this.isConnected = false;
    if (isRefusal) this.malformedCount++;
    // One that is down is tried for ever, and said to be down once.
    if (reason !== this.#lastReason)
      this.#options.onRemark({ level: 'warn', message: 'KV events are not followed', reason });
    this.#lastReason = reason;
    this.#retryTimer = setTimeout(() => this.#connect(), this.#backoff.nextMs(livedMs)).unref();
  }

  #onLive(frames: readonly Buffer[]): void {
    const [topic, sequence, payload] = frames;
    if (frames.length !== 3 || !this.#isOurs(topic!)) {
      this.malformedCount++;
      return;
    }
    const read = this.#read(sequence!, payload!);
    if (read !== null) this.track.live(read.number, read.tally);
  }

  /** Only what begins with the topic was asked for; who sends others does not filter. */
  #isOurs(topic: Buffer): boolean {
    const wanted = Buffer.from(this.#options.topic, 'utf8');
    return topic.subarray(0, wanted.length).equals(wanted);
  }

  /** Null for what is no batch: its number will be missed. */
  #read(
    sequence: Buffer,
    payload: Buffer,
  ): { readonly number: number; readonly tally: NonNullable<ReturnType<BatchDecoder['decode']>> } | null {
    const number = sequence.length === 8 ? Number(sequence.readBigUInt64BE()) : NaN;
    const tally = Number.isSafeInteger(number) ? this.#decoder.decode(payload) : null;
    if (tally !== null) return { number, tally };
    this.malformedCount++;
    return null;
  }

  #tryReplay(first: number): boolean {
    const { replayAddress, budget, lookup, onRemark } = this.#options;
    if (replayAddress === null || this.#isStopped || !this.#takeReplayToken()) return false;
    this.#endReplay();
    onRemark({ level: 'debug', message: 'KV events are asked for again' });
    const replay = new ZmqConnection({
      ...replayAddress,
      socketType: 'DEALER',
      budget,
      lookup,
      onReady: () => {
        const from = Buffer.alloc(8);
        from.writeBigUInt64BE(BigInt(first));
        replay.send([empty, from]);
      },
      onMessage: (frames) => this.#onReplayed(frames),
      onClosed: (reason) => this.#onReplayLost(reason),
    });
    this.#replay = replay;
    this.#replayTimer = setTimeout(() => this.#onReplayLost('no answer in time'), replaySilenceMs).unref();
    return true;
  }

  #takeReplayToken(): boolean {
    const nowMs = performance.now();
    const earned = Math.floor((nowMs - this.#replayTokensAtMs) / replayPeriodMs);
    if (earned > 0) {
      this.#replayTokens = Math.min(replaysAtOnceMax, this.#replayTokens + earned);
      this.#replayTokensAtMs = nowMs;
    }
    if (this.#replayTokens === 0) return false;
    this.#replayTokens--;
    return true;
  }

  #onReplayed(frames: readonly Buffer[]): void {
    this.#replayTimer?.refresh();
    const [delimiter, sequence, payload] = frames;
    if (frames.length !== 3 || delimiter!.length !== 0) {
      this.malformedCount++;
      return;
    }
    if (sequence!.equals(endSequence)) {
      this.#endReplay();
      this.replays.complete++;
      this.track.replayEnded();
      return;
    }
    const read = this.#read(sequence!, payload!);
    if (read !== null) this.track.replayed(read.number, read.tally);
  }

  #onReplayLost(reason: string): void {
    this.#endReplay();
    this.replays.failed++;
    this.#options.onRemark({ level: 'warn', message: 'KV events that were missed cannot be had', reason });
    this.track.replayFailed();
  }

  #endReplay(): void {
    this.#replay?.close();
    this.#replay = null;
    if (this.#replayTimer !== null) clearTimeout(this.#replayTimer);
    this.#replayTimer = null;
  }
}
