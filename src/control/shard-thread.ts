import { Worker } from 'node:worker_threads';
import { fail } from '../core/assert.ts';
import type {
  ControlToShard,
  ExchangeView,
  ListenPorts,
  ShardInit,
  ShardToControl,
  Snapshot,
} from '../shard/protocol.ts';
import { deferred } from './deferred.ts';
import type { Deferred } from './deferred.ts';

/**
 * One life of one shard thread, seen from control: starts the worker, turns its messages into answers.
 *
 *   starting ──loaded──▶ loaded ──listening──▶ listening ──drain──▶ draining ──drained──▶ drained
 *       └───────────────────┴───────────┬────────────┴──────────────────┴────────────────────┤
 *                                       └──────── stop ──▶ stopping ──────────── exit ──▶ exited
 *
 * From every phase the thread may exit on its own (a crash). A worker with uWS handles must never be terminated from
 * outside, that aborts the process: it is asked to stop, and then it ends by itself.
 */
export const ShardPhase = {
  starting: 0,
  loaded: 1,
  listening: 2,
  draining: 3,
  drained: 4,
  stopping: 5,
  exited: 6,
} as const;
export type ShardPhase = (typeof ShardPhase)[keyof typeof ShardPhase];

const to = (...phases: ShardPhase[]): number => phases.reduce<number>((set, phase) => set | (1 << phase), 0);
const { loaded, listening, draining, drained, stopping, exited } = ShardPhase;
/** successors[from] is the bit set of legal next phases. */
const successors: readonly number[] = [
  /* starting  */ to(loaded, stopping, exited),
  /* loaded    */ to(listening, stopping, exited),
  /* listening */ to(draining, stopping, exited),
  /* draining  */ to(drained, stopping, exited),
  /* drained   */ to(stopping, exited),
  /* stopping  */ to(exited),
  /* exited    */ to(),
];

/** Why a shard could not do what was asked: its own words, or that it is gone. */
export class ShardError extends Error {
  override readonly name = 'ShardError';
  /** It loaded, but an address could not be bound. */
  readonly isBind: boolean;

  constructor(message: string, isBind = false) {
    super(message);
    this.isBind = isBind;
  }
}

export interface ShardEvents {
  onLog(lines: string): void;
  /** `error` is what the thread threw, or null when it ended without. */
  onExit(code: number, error: Error | null): void;
}

export class ShardThread {
  readonly index: number;
  readonly startedAtMs = performance.now();
  readonly #worker: Worker;
  readonly #events: ShardEvents;
  readonly #loaded = deferred<string>();
  readonly #listening = deferred<ListenPorts>();
  readonly #drained = deferred<null>();
  readonly #exited = deferred<null>();
  readonly #applies = new Map<number, Deferred<string | null>>();
  readonly #asks = new Map<number, Deferred<readonly ExchangeView[]>>();
  #phase: ShardPhase = ShardPhase.starting;
  #askCount = 0;
  #appliedVersion: number;
  #uws = '';
  #error: Error | null = null;

  constructor(scriptUrl: URL, init: ShardInit, events: ShardEvents) {
    this.index = init.shardIndex;
    this.#events = events;
    this.#appliedVersion = init.snapshot.version;
    this.#worker = new Worker(scriptUrl, { workerData: init, name: `shard-${init.shardIndex}` });
    this.#worker.on('message', (message: ShardToControl) => this.#onMessage(message));
    this.#worker.on('error', (error) => {
      this.#error = error instanceof Error ? error : new Error(String(error));
    });
    this.#worker.on('exit', (code) => this.#onExit(code));
  }

  get phase(): ShardPhase {
    return this.#phase;
  }

  get phaseName(): string {
    return Object.keys(ShardPhase)[this.#phase]!;
  }

  /** Which acceptor build the thread loaded; empty before it did. */
  get uws(): string {
    return this.#uws;
  }

  get appliedVersion(): number {
    return this.#appliedVersion;
  }

  get isListening(): boolean {
    return this.#phase === ShardPhase.listening;
  }

  get exited(): Promise<null> {
    return this.#exited.promise;
  }

  /** Waits for the thread to load, then asks it to listen. Rejects with ShardError when it cannot or dies. */
  async listen(ports: ListenPorts): Promise<ListenPorts> {
    await this.#loaded.promise;
    this.#post({ kind: 'listen', ports });
    return this.#listening.promise;
  }

  /**
   * Null when the snapshot is in force, else the reason. A thread that is gone does not refuse; one that still loads
   * is not asked, whoever started it compares `appliedVersion` once it listens.
   */
  apply(snapshot: Snapshot): Promise<string | null> {
    if (this.#phase === ShardPhase.starting || this.#phase >= ShardPhase.stopping) return Promise.resolve(null);
    const answer = deferred<string | null>();
    this.#applies.set(snapshot.version, answer);
    this.#post({ kind: 'snapshot', snapshot });
    return answer.promise;
  }

  /** Open exchanges; none when the thread is gone. */
  exchanges(): Promise<readonly ExchangeView[]> {
    if (this.#phase === ShardPhase.starting || this.#phase >= ShardPhase.stopping) return Promise.resolve([]);
    const askId = ++this.#askCount;
    const answer = deferred<readonly ExchangeView[]>();
    this.#asks.set(askId, answer);
    this.#post({ kind: 'exchanges', askId });
    return answer.promise;
  }

  /** Resolves when no exchange is left, or the thread is gone. A thread that does not listen yet has nothing to drain. */
  drain(drainMs: number): Promise<null> {
    if (this.#phase !== ShardPhase.listening) {
      if (this.#phase < ShardPhase.listening) this.stop();
      return this.#phase === ShardPhase.draining ? this.#drained.promise : Promise.resolve(null);
    }
    this.#become(ShardPhase.draining);
    this.#post({ kind: 'drain', drainMs });
    return this.#drained.promise;
  }

  /** Asks the thread to close everything and end; `exited` says when it has. */
  stop(): void {
    if (this.#phase >= ShardPhase.stopping) return;
    this.#become(ShardPhase.stopping);
    this.#post({ kind: 'stop' });
    this.#settle(new ShardError(`shard ${this.index} was stopped`));
  }

  #post(message: ControlToShard): void {
    this.#worker.postMessage(message);
  }

  /** The only writer of `phase`. */
  #become(next: ShardPhase): void {
    if ((successors[this.#phase]! & (1 << next)) === 0) fail('illegal shard transition', this.#phase, next);
    this.#phase = next;
  }

  /** Answers that come after a stop was asked for are late, not wrong: they are dropped. */
  #onMessage(message: ShardToControl): void {
    if (message.kind === 'log') {
      this.#events.onLog(message.lines);
      this.#post({ kind: 'logged', chars: message.lines.length });
      return;
    }
    if (message.kind === 'exchanges') {
      this.#asks.get(message.askId)?.resolve(message.exchanges);
      this.#asks.delete(message.askId);
      return;
    }
    if (message.kind === 'dying') this.#error = message.error;
    if (this.#phase >= ShardPhase.stopping) return;
    switch (message.kind) {
      case 'loaded':
        this.#become(ShardPhase.loaded);
        this.#uws = message.uws;
        this.#loaded.resolve(message.uws);
        return;
      case 'listening':
        this.#become(ShardPhase.listening);
        this.#listening.resolve(message.ports);
        return;
      case 'drained':
        if (this.#phase === ShardPhase.draining) this.#become(ShardPhase.drained);
        this.#drained.resolve(null);
        return;
      case 'applied':
        this.#appliedVersion = message.version;
        this.#answerApply(message.version, null);
        return;
      case 'failed':
        this.#onFailed(message.phase, message.message, message.version);
        return;
    }
  }

  #onFailed(phase: 'start' | 'listen' | 'snapshot', message: string, version: number | undefined): void {
    if (phase !== 'snapshot') {
      const error = new ShardError(message, phase === 'listen');
      this.#loaded.reject(error);
      this.#listening.reject(error);
      return;
    }
    if (version !== undefined) this.#answerApply(version, message);
    else for (const waiting of this.#applies.keys()) this.#answerApply(waiting, message);
  }

  #answerApply(version: number, refusal: string | null): void {
    this.#applies.get(version)?.resolve(refusal);
    this.#applies.delete(version);
  }

  #onExit(code: number): void {
    this.#become(ShardPhase.exited);
    this.#settle(new ShardError(this.#error?.message ?? `shard ${this.index} ended with code ${code}`));
    this.#exited.resolve(null);
    this.#events.onExit(code, this.#error);
  }

  /** Nobody waits for a thread that is going away. */
  #settle(error: ShardError): void {
    this.#loaded.reject(error);
    this.#listening.reject(error);
    this.#drained.resolve(null);
    for (const answer of this.#applies.values()) answer.resolve(null);
    for (const answer of this.#asks.values()) answer.resolve([]);
    this.#applies.clear();
    this.#asks.clear();
  }
}
