import { Piscina } from 'piscina';
import { assert } from '../core/assert.ts';
import type { SlabShare } from '../shm/index.ts';
import type { ByteRange, Job, JsonCheck, TokenCount } from './job.ts';

/** Bodies above this are not taken unless the owner says so: about 4 million tokens, more than any model reads. */
export const jobBytesDefault = 16 * 1024 * 1024;

/** A thread without work for this long ends; its tokenizer and its heap are about 60 MB. */
const idleMsMax = 60_000;
/**
 * Heap of one thread: 15 MiB of `{},` or of brackets alone, the worst there is, are parsed in it (2.3 s). A larger body that
 * explodes ends that thread alone, though only after V8 has tried for long to collect it, and fails its job; the next job gets
 * a new thread.
 */
const heapMegabytesMax = 512;

/**
 * Longest a job may take: this much, and as much again for each 4 MiB of it; while it waits, what those before it may take.
 * Slower is stuck (the slowest there is, 3 MB of prompt to be counted, takes most of a second): its thread is ended.
 */
const jobMsMax = 1500;
const bytesPerJobMs = (4 * 1024 * 1024) / jobMsMax;

const noWork: Job = { pieces: [], range: { start: 0, end: 0 } };

/** The compiled entry point: beside this file, or in the build, when this file runs from its source in a test. */
const threadFile = import.meta.url.endsWith('.ts')
  ? new URL('../../dist/worker/thread.js', import.meta.url)
  : new URL('./thread.js', import.meta.url);

export interface WorkerPoolOptions {
  /** Threads at the most; they are started by jobs, and end when idle. */
  readonly threads: number;
  /** Jobs that may wait while all threads are busy; 0 = none. */
  readonly queueMax: number;
  /** Largest range of a job. */
  readonly jobBytesMax?: number;
  /** In place of 1.5 s, and 1.5 s for each 4 MiB. */
  readonly jobMsMax?: number;
  /** In place of the compiled thread.js. */
  readonly threadFile?: URL;
}

/**
 * The caller's side: one pool a shard, started by its first job. A job is taken or refused at once: null means that the
 * caller goes on without an answer (an estimate in place of the count), never that it waits. Null is also the answer when
 * the thread was lost, or took so long that it was ended.
 *
 * The slabs of `pieces` must stay held until the promise settles: the thread reads them in place. `range` are bytes of the
 * pieces as if they were one; without it all of them.
 */
export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #jobBytesMax: number;
  #piscina: Piscina<Job, unknown> | null = null;
  #openCount = 0;
  /** What the open jobs may take. */
  #openMs = 0;
  #refusedCount = 0;
  #failedCount = 0;
  #lostIdleCount = 0;
  #isClosed = false;

  constructor(options: WorkerPoolOptions) {
    assert(options.threads >= 1 && options.queueMax >= 0, 'a worker pool has a thread and a bounded queue');
    this.#options = options;
    this.#jobBytesMax = options.jobBytesMax ?? jobBytesDefault;
  }

  /** Jobs under way or waiting. */
  get openCount(): number {
    return this.#openCount;
  }

  /** Jobs not taken, for want of room, or because they were too large. */
  get refusedCount(): number {
    return this.#refusedCount;
  }

  /** Jobs whose thread was lost, or was ended because it did not come to an end. */
  get failedCount(): number {
    return this.#failedCount;
  }

  /** Threads lost while they had no job. */
  get lostIdleCount(): number {
    return this.#lostIdleCount;
  }

  /** Threads alive. */
  get threadCount(): number {
    return this.#piscina?.threads.length ?? 0;
  }

  /** Tokens (o200k_base) of the text in a JSON request body; see prompt-text.ts for what is text. */
  countPromptTokens(pieces: readonly SlabShare[], range?: ByteRange): Promise<TokenCount | null> {
    return this.#run<TokenCount>('countPromptTokens', pieces, range);
  }

  /** Whether the bytes are one JSON document in UTF-8. */
  checkJson(pieces: readonly SlabShare[], range?: ByteRange): Promise<JsonCheck | null> {
    return this.#run<JsonCheck>('checkJson', pieces, range);
  }

  /** Ends the threads at once; jobs under way answer null. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#piscina?.destroy();
  }

  async #run<Result>(name: string, pieces: readonly SlabShare[], asked?: ByteRange): Promise<Result | null> {
    const range = asked ?? { start: 0, end: pieces.reduce((sum, { length }) => sum + length, 0) };
    const { threads, queueMax } = this.#options;
    // Counted here and not by piscina's maxQueue, which says so with an error made for the purpose.
    if (this.#isClosed || this.#openCount >= threads + queueMax || range.end - range.start > this.#jobBytesMax) {
      this.#refusedCount++;
      return null;
    }
    const ownMs = this.#options.jobMsMax ?? jobMsMax + (range.end - range.start) / bytesPerJobMs;
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), ownMs + this.#openMs / threads).unref();
    this.#openMs += ownMs;
    this.#openCount++;
    this.#piscina ??= this.#start();
    const job: Job = { pieces, range };
    try {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `name` says which function of thread.ts answers.
      return (await this.#piscina.run(job, { name, signal: abort.signal })) as Result;
    } catch {
      this.#failedCount++;
      this.#startThreadForWaiting();
      return null;
    } finally {
      clearTimeout(timer);
      this.#openMs -= ownMs;
      this.#openCount--;
    }
  }

  /** A thread that was lost or ended is replaced when a job is added, not for those that wait already. */
  #startThreadForWaiting(): void {
    if (this.#isClosed || this.#piscina === null || this.#piscina.queueSize === 0) return;
    void this.#piscina.run(noWork, { name: 'checkJson' }).catch(() => {});
  }

  #start(): Piscina<Job, unknown> {
    const piscina = new Piscina<Job, unknown>({
      filename: (this.#options.threadFile ?? threadFile).href,
      // Looked up when a thread starts. A name that is there, because for one that is not piscina makes an import function out
      // of a string, which `runtime.code_from_strings` forbids.
      name: 'checkJson',
      minThreads: 0,
      maxThreads: this.#options.threads,
      idleTimeout: idleMsMax,
      resourceLimits: { maxOldGenerationSizeMb: heapMegabytesMax },
      // A thread that blocks while it waits for work does not help here, and could not end when idle.
      atomics: 'disabled',
      recordTiming: false,
    });
    // A thread that dies between two jobs, or cannot even load (no memory, no descriptor left), has no job to fail; unheard,
    // the event would end the shard. Without any thread left what waits for one answers null, and the next job starts anew.
    piscina.on('error', () => {
      this.#lostIdleCount++;
      if (piscina.threads.length > 0) return;
      if (this.#piscina === piscina) this.#piscina = null;
      void piscina.destroy();
    });
    return piscina;
  }
}
