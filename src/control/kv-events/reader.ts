import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import { Backoff } from '../backoff.ts';
import { silentReport } from './protocol.ts';
import type { ControlToReader, PublisherReport, PublisherSpec, ReaderToControl, Remark } from './protocol.ts';
import type { EmptiedCause } from './publisher-track.ts';

/**
 * Control's side of the thread that reads KV events: started with the first publisher, ended with the last, and started again
 * when it dies. What it has reported of each publisher is kept here.
 */
export interface ReaderOptions {
  readonly log: Logger;
  readonly onEmptied: (id: number, cause: EmptiedCause) => void;
  readonly onRemark: (id: number, remark: Remark) => void;
  /** The thread was lost, and with it all that was known: reports begin anew. */
  readonly onLost: () => void;
  /** In place of the compiled thread.js. */
  readonly threadFile?: URL;
}

const restartRule = { firstMs: 100, maxMs: 10_000, healthyMs: 30_000 };
/** Messages of publishers lie outside of it: one of 16 MiB for each connection at the most. */
const heapMegabytesMax = 128;

/** The compiled entry point: beside this file, or in the build, when this file runs from its source in a test. */
const threadFile = import.meta.url.endsWith('.ts')
  ? new URL('../../../dist/control/kv-events/thread.js', import.meta.url)
  : new URL('./thread.js', import.meta.url);

export class KvEventReader {
  readonly #options: ReaderOptions;
  readonly #backoff = new Backoff(restartRule);
  readonly #reports = new Map<number, PublisherReport>();
  #publishers: readonly PublisherSpec[] = [];
  #worker: Worker | null = null;
  #startedAtMs = 0;
  #retryTimer: NodeJS.Timeout | null = null;

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  report(id: number): PublisherReport {
    return this.#reports.get(id) ?? silentReport(id);
  }

  watch(publishers: readonly PublisherSpec[]): void {
    this.#publishers = publishers;
    const ids = new Set(publishers.map(({ id }) => id));
    for (const id of this.#reports.keys()) if (!ids.has(id)) this.#reports.delete(id);
    if (publishers.length === 0) this.#end();
    else if (this.#worker !== null) this.#tell({ kind: 'watch', publishers });
    else if (this.#retryTimer === null) this.#start();
  }

  forget(ids: readonly number[]): void {
    this.#tell({ kind: 'forget', ids });
  }

  stop(): void {
    this.watch([]);
  }

  #end(): void {
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    const worker = this.#worker;
    this.#worker = null;
    void worker?.terminate();
  }

  #tell(message: ControlToReader): void {
    this.#worker?.postMessage(message);
  }

  #start(): void {
    this.#retryTimer = null;
    this.#startedAtMs = performance.now();
    const worker = new Worker(this.#options.threadFile ?? threadFile, {
      name: 'kv-events',
      resourceLimits: { maxOldGenerationSizeMb: heapMegabytesMax },
    });
    this.#worker = worker;
    worker.unref();
    let failure = '';
    worker.on('message', (message: ReaderToControl) => {
      if (worker === this.#worker) this.#onMessage(message);
    });
    worker.on('error', (error) => (failure = error instanceof Error ? error.message : String(error)));
    worker.on('exit', (code) => {
      if (worker === this.#worker) this.#onLost(failure === '' ? `it ended with code ${code}` : failure);
    });
    this.#tell({ kind: 'watch', publishers: this.#publishers });
  }

  #onMessage(message: ReaderToControl): void {
    if (message.kind === 'said') this.#options.onRemark(message.id, message.remark);
    else if (message.kind === 'emptied') {
      this.#reports.set(message.report.id, message.report);
      this.#options.onEmptied(message.report.id, message.cause);
    } else for (const report of message.reports) this.#reports.set(report.id, report);
  }

  #onLost(reason: string): void {
    this.#worker = null;
    this.#reports.clear();
    this.#options.onLost();
    this.#options.log.error({ reason }, 'the thread that reads KV events was lost');
    const livedMs = performance.now() - this.#startedAtMs;
    this.#retryTimer = setTimeout(() => this.#start(), this.#backoff.nextMs(livedMs)).unref();
  }
}
