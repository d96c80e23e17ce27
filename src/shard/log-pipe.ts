/**
 * The shard's log lines on their way to control, which owns stdout. Lines are sent in batches; what control has not taken
 * yet is bounded, and lines beyond the bound are dropped and counted: a log that cannot keep up must not hold up traffic.
 */
const batchCharsMax = 32 * 1024;
const batchMs = 20;
const unackedCharsMax = 4 * 1024 * 1024;

export class LogPipe {
  readonly #send: (lines: string) => void;
  readonly #onDrop: () => void;
  #batch = '';
  #unackedChars = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(send: (lines: string) => void, onDrop: () => void) {
    this.#send = send;
    this.#onDrop = onDrop;
  }

  /** pino's destination. `line` ends in \n. */
  write(line: string): void {
    if (this.#unackedChars + this.#batch.length + line.length > unackedCharsMax) {
      this.#onDrop();
      return;
    }
    this.#batch += line;
    if (this.#batch.length >= batchCharsMax) this.flush();
    else this.#timer ??= setTimeout(this.flush, batchMs);
  }

  readonly flush = (): void => {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#batch === '') return;
    const lines = this.#batch;
    this.#batch = '';
    this.#unackedChars += lines.length;
    this.#send(lines);
  };

  /** Control has taken so much. */
  acknowledge(chars: number): void {
    this.#unackedChars -= chars;
  }
}
