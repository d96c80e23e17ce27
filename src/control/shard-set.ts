import type { Logger } from 'pino';
import type { ExchangeView, ListenPorts, ShardInit, Snapshot } from '../shard/protocol.ts';
import { Backoff } from './backoff.ts';
import type { BackoffRule } from './backoff.ts';
import { within } from './deferred.ts';
import { ShardError, ShardPhase, ShardThread } from './shard-thread.ts';

/**
 * All shard threads of the process. A thread that dies is replaced, on the ports the first one got, until a drain is
 * asked for; what it held in shared memory is taken back first (`onLost`).
 */
export interface ShardSetOptions {
  readonly shardCount: number;
  readonly scriptUrl: URL;
  /** What a thread started now gets; reads the snapshot in force. */
  readonly init: (shardIndex: number) => ShardInit;
  readonly log: Logger;
  readonly onLog: (lines: string) => void;
  /** The thread has ended: give back what it held. Called before its replacement starts. */
  readonly onLost: (shardIndex: number) => void;
  readonly backoff?: BackoffRule;
  readonly patience: Patience;
}

export interface ShardView {
  readonly index: number;
  readonly phase: string;
  readonly restartCount: number;
  readonly livedMs: number;
  readonly appliedVersion: number;
}

interface Place {
  thread: ShardThread | null;
  restartCount: number;
  readonly backoff: Backoff;
  timer: NodeJS.Timeout | null;
}

/** How long a shard may take to answer; one that takes longer is blocked or broken. */
export interface Patience {
  readonly exchangesMs: number;
  readonly applyMs: number;
  /** Beyond `drain_ms`, when the shard has closed what was left, to say so. */
  readonly drainGraceMs: number;
  readonly stopMs: number;
}

export const patienceDefault: Patience = { exchangesMs: 1000, applyMs: 10_000, drainGraceMs: 2000, stopMs: 5000 };

const bindAttemptsMax = 5;

export class ShardSet {
  readonly #options: ShardSetOptions;
  readonly #places: Place[];
  #ports: ListenPorts = [];
  /** False until `start` succeeded and from a drain on: threads that die are not replaced then. */
  #isKept = false;
  #isEnding = false;

  constructor(options: ShardSetOptions) {
    this.#options = options;
    this.#places = Array.from({ length: options.shardCount }, () => ({
      thread: null,
      restartCount: 0,
      backoff: new Backoff(options.backoff),
      timer: null,
    }));
  }

  get listeningCount(): number {
    return this.#threads().filter((thread) => thread.isListening).length;
  }

  isListening(index: number): boolean {
    return this.#places[index]!.thread?.isListening ?? false;
  }

  get count(): number {
    return this.#places.length;
  }

  get uws(): string {
    return this.#threads().find((thread) => thread.uws !== '')?.uws ?? '';
  }

  /**
   * All load side by side. Shard 0 binds first, so a port that is taken or a build that does not load is known before the
   * others bind. A port that was free when it was chosen (`isFree`) may be lent to an outgoing connection of somebody
   * before all have it; then `choosePorts` is asked again. Rejects with ShardError; threads that did start are then still
   * to be stopped.
   */
  async start(choosePorts: () => Promise<ListenPorts>, isFree: boolean): Promise<ListenPorts> {
    for (let attempt = 1; ; attempt++) {
      try {
        const ports = await choosePorts();
        if (this.#isEnding) throw new ShardError('ended before any shard was started');
        await this.#bind(ports);
        break;
      } catch (error) {
        const isUnlucky = error instanceof ShardError && error.isBind && isFree;
        if (!isUnlucky || attempt === bindAttemptsMax || this.#isEnding) throw error;
        this.#options.log.info({ reason: error.message, attempt }, 'a free port was taken meanwhile, choosing another');
        await this.#endThreads();
      }
    }
    this.#isKept = true;
    // One that died between its answer and now had nobody to replace it.
    for (const [index, place] of this.#places.entries()) if (place.thread === null) this.#restartLater(index, 0);
    return this.#ports;
  }

  async #bind(ports: ListenPorts): Promise<void> {
    const [first, ...others] = this.#places.map((_, index) => this.#launch(index));
    this.#ports = await first!.listen(ports);
    const answers = others.map((thread) => thread.listen(this.#ports));
    const failed = (await Promise.allSettled(answers)).find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** False when one did not end in time. */
  async #endThreads(): Promise<boolean> {
    const threads = this.#threads();
    for (const thread of threads) thread.stop();
    const all = Promise.all(threads.map((thread) => thread.exited));
    return (await within(all, this.#options.patience.stopMs, null)) !== null;
  }

  /** Reasons of the shards that did not take the snapshot over; none is success. */
  async apply(snapshot: Snapshot): Promise<string[]> {
    const answers = this.#threads().map(async (thread) => {
      const refusal = await within(thread.apply(snapshot), this.#options.patience.applyMs, 'no answer in time');
      return refusal === null ? null : `shard ${thread.index}: ${refusal}`;
    });
    return (await Promise.all(answers)).filter((refusal) => refusal !== null);
  }

  /** Open exchanges of all shards, and the shards that did not answer in time. */
  async exchanges(): Promise<{ exchanges: ExchangeView[]; silentShards: number[] }> {
    const exchanges: ExchangeView[] = [];
    const silentShards: number[] = [];
    const answers = this.#threads().map(async (thread) => {
      const answer = await within(thread.exchanges(), this.#options.patience.exchangesMs, null);
      if (answer === null) silentShards.push(thread.index);
      else for (const exchange of answer) exchanges.push(exchange);
    });
    await Promise.all(answers);
    return { exchanges, silentShards };
  }

  views(): ShardView[] {
    return this.#places.map(({ thread, restartCount }, index) => ({
      index,
      phase: thread?.phaseName ?? 'exited',
      restartCount,
      livedMs: thread === null ? 0 : performance.now() - thread.startedAtMs,
      appliedVersion: thread?.appliedVersion ?? 0,
    }));
  }

  /** Every shard stops accepting. False when exchanges were left after `drainMs` and the grace. */
  async drain(drainMs: number): Promise<boolean> {
    this.#letGo();
    const all = Promise.all(this.#threads().map((thread) => thread.drain(drainMs)));
    return (await within(all, drainMs + this.#options.patience.drainGraceMs, null)) !== null;
  }

  /** Every shard closes and ends. False when one did not in time; it must not be terminated then. */
  async stop(): Promise<boolean> {
    this.#letGo();
    return this.#endThreads();
  }

  #threads(): ShardThread[] {
    return this.#places.flatMap(({ thread }) => thread ?? []);
  }

  #letGo(): void {
    this.#isKept = false;
    this.#isEnding = true;
    for (const place of this.#places) if (place.timer !== null) clearTimeout(place.timer);
  }

  #launch(index: number): ShardThread {
    const { scriptUrl, init, onLog } = this.#options;
    const thread = new ShardThread(scriptUrl, init(index), {
      onLog,
      onExit: (code, error) => this.#onExit(thread, code, error),
    });
    this.#places[index]!.thread = thread;
    return thread;
  }

  #onExit(thread: ShardThread, code: number, error: Error | null): void {
    const { index } = thread;
    this.#places[index]!.thread = null;
    this.#options.onLost(index);
    if (error !== null) this.#options.log.error({ err: error, shard: index, exit_code: code }, 'shard died');
    else if (this.#isKept) this.#options.log.error({ shard: index, exit_code: code }, 'shard ended unasked');
    if (this.#isKept) this.#restartLater(index, performance.now() - thread.startedAtMs);
  }

  #restartLater(index: number, livedMs: number): void {
    const place = this.#places[index]!;
    const waitMs = place.backoff.nextMs(livedMs);
    place.timer = setTimeout(() => void this.#restart(index), waitMs);
  }

  async #restart(index: number): Promise<void> {
    const place = this.#places[index]!;
    place.restartCount++;
    const thread = this.#launch(index);
    try {
      await thread.listen(this.#ports);
    } catch (error) {
      if (!(error instanceof ShardError)) throw error;
      // A thread that died has been seen to in #onExit; one that only said no has to be told to end, then it comes there.
      if (thread.phase >= ShardPhase.stopping) return;
      this.#options.log.error({ shard: index, reason: error.message }, 'shard could not be restarted');
      thread.stop();
      return;
    }
    this.#options.log.warn({ shard: index, restarts: place.restartCount }, 'shard restarted');
    await this.#catchUp(thread);
  }

  /** A configuration applied while the thread was loading did not reach it. */
  async #catchUp(thread: ShardThread): Promise<void> {
    const { snapshot } = this.#options.init(thread.index);
    if (snapshot.version <= thread.appliedVersion) return;
    const refusal = await within(thread.apply(snapshot), this.#options.patience.applyMs, 'no answer in time');
    if (refusal !== null) this.#options.log.error({ shard: thread.index, reason: refusal }, 'shard refused the config');
  }
}
