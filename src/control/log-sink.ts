import pino from 'pino';
import { suspendRejection } from './code-generation.ts';
import { deferred } from './deferred.ts';

/**
 * Where every log line of the process ends: one transport thread that writes to stdout. Shards send complete lines in
 * messages, control's own logger writes here too.
 *
 * A blocked stdout must cost lines, never requests (a stopped reader, a full disk). Memory is bounded by the transport:
 * 4 MiB in the area it shares with its thread, and as much again waiting for that area; while it reports `needDrain`
 * lines are dropped and counted. A write that fails (ENOSPC, EPIPE) ends the transport thread; a new one is tried after
 * a wait, lines in between are dropped and counted.
 */
export interface LogSinkOptions {
  /** Human-readable (pino-pretty) in place of one JSON object a line. */
  readonly pretty: boolean;
  /** File descriptor or path; 1 is stdout. */
  readonly destination?: number | string;
  /** Called with the number of lines just dropped. */
  readonly onDropped?: (lineCount: number) => void;
}

const reopenFirstMs = 1000;
const reopenMaxMs = 30_000;

/** `writableNeedDrain` is documented by thread-stream, but missing from its types. */
type Transport = ReturnType<typeof pino.transport> & { readonly writableNeedDrain: boolean };

export class LogSink {
  readonly #options: LogSinkOptions;
  readonly #opened = deferred<null>();
  #transport: Transport | null = null;
  #reopenTimer: NodeJS.Timeout | null = null;
  #reopenMs = reopenFirstMs;
  #isClosing = false;
  #droppedCount = 0;
  #droppedReportedCount = 0;

  constructor(options: LogSinkOptions) {
    this.#options = options;
    this.#open();
  }

  /** Resolves when the writing thread has started, or has failed to for the first time. */
  get opened(): Promise<null> {
    return this.#opened.promise;
  }

  /** Lines lost since the start. */
  get droppedCount(): number {
    return this.#droppedCount;
  }

  /** Takes complete lines, each ending in \n; at once and without an error, whatever happens to them. */
  write(lines: string): void {
    const transport = this.#transport;
    if (transport === null || transport.writableNeedDrain) {
      this.#drop(lines);
      return;
    }
    if (this.#droppedReportedCount !== this.#droppedCount) this.#reportDropped(transport);
    transport.write(lines);
  }

  /** Writes out what was taken, for at most `timeoutMs`. False when stdout did not take it all. */
  close(timeoutMs: number): Promise<boolean> {
    this.#isClosing = true;
    if (this.#reopenTimer !== null) clearTimeout(this.#reopenTimer);
    const transport = this.#transport;
    if (transport === null) return Promise.resolve(false);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs, false);
      transport.once('close', () => {
        clearTimeout(timer);
        resolve(true);
      });
      transport.end();
    });
  }

  #open(): void {
    this.#reopenTimer = null;
    const destination = this.#options.destination ?? 1;
    const endSuspension = suspendRejection();
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see Transport.
    const transport = pino.transport({
      target: this.#options.pretty ? 'pino-pretty' : 'pino/file',
      options: this.#options.pretty ? { destination, ignore: 'pid,hostname' } : { destination },
      // Without this an exit would wait in flushSync for a stdout nobody reads; `close` has a time limit instead.
      worker: { autoEnd: false },
    }) as Transport;
    const onStarted = (): void => {
      endSuspension();
      this.#opened.resolve(null);
    };
    transport.on('ready', () => {
      onStarted();
      this.#reopenMs = reopenFirstMs;
    });
    transport.on('error', () => {
      onStarted();
      this.#onError(transport);
    });
    this.#transport = transport;
  }

  /** What the failed transport still held is lost uncounted: it cannot say how much that was. */
  #onError(transport: Transport): void {
    if (this.#transport !== transport) return;
    this.#transport = null;
    if (this.#isClosing) return;
    this.#reopenTimer = setTimeout(() => this.#open(), this.#reopenMs).unref();
    this.#reopenMs = Math.min(reopenMaxMs, this.#reopenMs * 2);
  }

  #drop(lines: string): void {
    let count = 0;
    for (let at = lines.indexOf('\n'); at !== -1; at = lines.indexOf('\n', at + 1)) count++;
    this.#droppedCount += count;
    this.#options.onDropped?.(count);
  }

  /** The gap is visible in the log itself, at the place where it is. */
  #reportDropped(transport: Transport): void {
    const count = this.#droppedCount - this.#droppedReportedCount;
    this.#droppedReportedCount = this.#droppedCount;
    const line = { level: 40, time: Date.now(), pid: process.pid, lines: count, msg: 'log lines dropped' };
    transport.write(JSON.stringify(line) + '\n');
  }
}
