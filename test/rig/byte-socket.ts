import type { Socket } from 'node:net';
import { turns } from './until.ts';

/** The peer ended the connection (FIN or RST) before what was asked for had come. */
export class EndedEarly extends Error {
  override readonly name = 'EndedEarly';
}

const readBoundMs = 15_000;

/**
 * One TCP connection, read and written byte by byte: what either scripted peer is made of. Reads take bytes in order and
 * wait for those that have not come yet, at most 8 s.
 */
export class ByteSocket {
  readonly socket: Socket;
  /** Every byte that came, and was not taken yet. */
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #isEnded = false;
  #wake: (() => void) | null = null;
  receivedBytes = 0;
  errorCode = '';
  /** When the other side's end was seen, in `performance.now()`; 0 while it was not. */
  endedMs = 0;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      this.#pending.push(chunk);
      this.#pendingBytes += chunk.length;
      this.receivedBytes += chunk.length;
      this.#wake?.();
    });
    const onEnd = (): void => {
      if (!this.#isEnded) this.endedMs = performance.now();
      this.#isEnded = true;
      this.#wake?.();
    };
    socket.on('end', onEnd);
    socket.on('close', onEnd);
    socket.on('error', (error: NodeJS.ErrnoException) => (this.errorCode = error.code ?? error.message));
  }

  /** True once the other side's FIN or RST was seen. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  send(bytes: string | Uint8Array): void {
    if (!this.socket.destroyed) this.socket.write(bytes, 'latin1');
  }

  /** Each piece is read by the gateway on its own: it is polled between two of them. */
  async sendPieces(pieces: readonly (string | Uint8Array)[]): Promise<void> {
    for (const piece of pieces) {
      this.send(piece);
      await turns(2);
    }
  }

  /** Takes no bytes from the kernel until `resume`. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** FIN; the other direction stays open. */
  finish(): void {
    this.socket.end();
  }

  /** RST. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** The next `count` bytes. Rejects with EndedEarly when fewer will come. */
  async read(count: number): Promise<Buffer> {
    while (this.#pendingBytes < count) await this.#more(`${count} bytes`);
    return this.#take(count);
  }

  /** Everything up to and including `mark`. */
  async readUntil(mark: string): Promise<Buffer> {
    for (let checked = -1; ;) {
      if (this.#pendingBytes !== checked) {
        checked = this.#pendingBytes;
        const at = this.#joined().indexOf(mark, 0, 'latin1');
        if (at >= 0) return this.#take(at + mark.length);
      }
      await this.#more(JSON.stringify(mark));
    }
  }

  /** Everything until the other side ends. */
  async readToEnd(): Promise<Buffer> {
    while (!this.#isEnded) await this.#more('the end').catch(rethrowUnlessEnded);
    return this.#take(this.#pendingBytes);
  }

  /** What has come and was not taken. */
  takePending(): Buffer {
    return this.#take(this.#pendingBytes);
  }

  /** Resolves when the other side has ended the connection. */
  async ended(): Promise<void> {
    while (!this.#isEnded) await this.#more('the end', false).catch(rethrowUnlessEnded);
  }

  #joined(): Buffer {
    const [first, ...others] = this.#pending;
    if (first !== undefined && others.length === 0) return first;
    const all = Buffer.concat(this.#pending);
    this.#pending = [all];
    return all;
  }

  #take(count: number): Buffer {
    const all = this.#joined();
    const rest = all.subarray(count);
    this.#pending = rest.length === 0 ? [] : [rest];
    this.#pendingBytes = rest.length;
    return all.subarray(0, count);
  }

  async #more(wanted: string, mayShow = true): Promise<void> {
    if (this.#isEnded) throw new EndedEarly(`ended ${this.errorCode} before ${wanted}`);
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      this.#wake = resolve;
      timer = setTimeout(() => {
        const seen = mayShow ? Buffer.concat(this.#pending).subarray(0, 300).toString('latin1') : '';
        reject(
          new Error(`no ${wanted} in ${readBoundMs} ms; ${this.#pendingBytes} bytes are here: ${JSON.stringify(seen)}`),
        );
      }, readBoundMs);
    });
    clearTimeout(timer);
    this.#wake = null;
  }
}

function rethrowUnlessEnded(error: unknown): void {
  if (!(error instanceof EndedEarly)) throw error;
}
