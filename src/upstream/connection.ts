import { isIP, Socket, type SocketConstructorOpts, type TcpSocketConnectOpts } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { type ResponseSink, ResponseParser } from '../http/index.ts';
import type { UpstreamEndpoint } from './endpoint.ts';
import type { BatchedConnection, TurnBatch } from './turn-batch.ts';

/**
 * One connection to an endpoint, HTTP/1.1, one exchange at a time.
 *
 *   connecting ──▶ busy ◀──▶ idle
 *        └───────────┴────────┴──▶ closed
 *
 * Every connection of a shard reads into the same buffer: the bytes are relayed or copied before the read callback
 * returns, so a stream that waits for its next token holds no read memory. A paused connection is not read at all, and one
 * that rests not until a later turn (TurnBatch).
 */
export const ConnectionState = { connecting: 0, busy: 1, idle: 2, closed: 3 } as const;
export type ConnectionState = (typeof ConnectionState)[keyof typeof ConnectionState];

/** How an attempt ended without a complete response. Decided here, where it happens. */
export type UpstreamFailure =
  /** No connection came about: no byte of the request was sent. */
  | 'connect'
  /** As connect, but for want of something on our side: file descriptors, ports, memory. No fault of the endpoint. */
  | 'local'
  /** A kept-alive connection turned out to be closed before a byte was written on it. */
  | 'stale'
  /** The connection ended before the response head was complete. */
  | 'reset'
  /** What came is not a response we may pass on. */
  | 'invalid'
  /** The connection ended inside the response body. */
  | 'truncated';

/** Whoever sends a request over the connection. After `onUpstreamEnd` or `onUpstreamFailed` nothing more is called. */
export interface UpstreamUser {
  /** Bytes may be written now. Called once for an acquired connection that was not ready at once, unless it fails before. */
  onUpstreamReady(): void;
  onUpstreamHead(response: ResponseParser): void;
  /** @hot per chunk. `bytes` is borrowed for the call. */
  onUpstreamBody(bytes: Buffer, start: number, end: number): void;
  /** The response is complete. The connection must be released now. */
  onUpstreamEnd(): void;
  /** The connection is gone. It must not be released any more. */
  onUpstreamFailed(failure: UpstreamFailure, detail: string): void;
  /** A body write was taken by the kernel: its slab may be reused as far as the socket is concerned. */
  onUpstreamFlushed(): void;
}

/** What `connect` fails with when it is this machine that has run out. ENETUNREACH and the like are not among them. */
const ownShortages: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'EADDRNOTAVAIL', 'ENOBUFS', 'ENOMEM']);

/** More than a large answer has. The longer ones go on after those that came meanwhile. */
const bulkBytesInARow = 4 * 1024 * 1024;

/** The most that is read at once from a connection with TLS. */
const tlsRecordBytes = 16_384;

const parserLimits = {
  /** Below the acceptor's 16 KiB cork buffer, so that a head and its first chunk never meet the chunk-loss bug there. */
  headBytesMax: 12 * 1024,
  headerCountMax: 128,
  trailerBytesMax: 8 * 1024,
  chunkExtensionBytesMax: 1024,
  interimCountMax: 8,
} as const;

export class UpstreamConnection implements ResponseSink, BatchedConnection {
  readonly endpoint: UpstreamEndpoint;
  readonly #parser: ResponseParser;
  readonly #socket: Socket;
  readonly #turn: TurnBatch;
  readonly #options: TcpSocketConnectOpts;
  #state: ConnectionState = ConnectionState.connecting;
  #user: UpstreamUser | null = null;
  /** Body writes the kernel has not taken yet. */
  #unflushedCount = 0;
  #isResponseOver = false;
  #isPaused = false;
  /** Not read until others had their turn (TurnBatch). */
  #isResting = false;
  /** A read of less has emptied the socket. */
  readonly #wholeReadBytes: number;
  /** What may be read of a large response before it is another's turn. 0 = it waits for its first. */
  #bulkLeftBytes = 0;
  #idleSinceMs = 0;
  #isFresh = true;
  #isReady = false;
  #isRequestBegun = false;
  #hasExcess = false;
  #isHeadSeen = false;
  #errorCode = '';

  constructor(endpoint: UpstreamEndpoint, readBuffer: Buffer, turn: TurnBatch, user: UpstreamUser) {
    this.endpoint = endpoint;
    this.#turn = turn;
    this.#parser = new ResponseParser(this, parserLimits);
    this.#user = user;
    const { host, port, tls } = endpoint.address;
    this.#wholeReadBytes = tls === null ? readBuffer.length : tlsRecordBytes;
    const options: TcpSocketConnectOpts & SocketConstructorOpts = {
      host,
      port,
      noDelay: true,
      autoSelectFamily: false,
      lookup: endpoint.resolver.lookup,
      onread: { buffer: readBuffer, callback: this.#onRead },
    };
    this.#options = options;
    this.#socket =
      tls === null
        ? new Socket(options)
        : tlsConnect({
            ...options,
            // An address is no name to ask for (RFC 6066 section 3); its certificate is checked for it all the same.
            servername: isIP(tls.serverName) !== 0 && tls.serverName === options.host ? '' : tls.serverName,
            rejectUnauthorized: tls.verifies,
            ALPNProtocols: ['http/1.1'],
            ...(tls.ca === null ? {} : { ca: tls.ca }),
          });
    this.#socket.once(tls === null ? 'connect' : 'secureConnect', this.#onConnected);
    this.#socket.on('error', this.#onError);
    this.#socket.once('end', this.#onEnd);
    this.#socket.once('close', this.#onClose);
    if (tls === null) turn.addConnect(this);
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get idleSinceMs(): number {
    return this.#idleSinceMs;
  }

  /** Bytes the kernel has not taken yet. */
  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  /** True when all body bytes written so far were taken by the kernel. */
  get isFlushed(): boolean {
    return this.#unflushedCount === 0;
  }

  /** Takes the connection out of idleness for `user`; `onUpstreamReady` follows at the end of this turn. */
  reuse(user: UpstreamUser): void {
    this.#state = ConnectionState.busy;
    this.#user = user;
    this.#isFresh = false;
    this.#isRequestBegun = false;
    this.#isHeadSeen = false;
    this.#isReady = false;
    this.#bulkLeftBytes = 0;
    this.#turn.addReady(this);
  }

  /** True when an earlier exchange used the connection. */
  get isReused(): boolean {
    return !this.#isFresh;
  }

  /** Prepares the parser for the answer to the request about to be written. */
  expectResponse(isHead: boolean): void {
    this.#parser.reset(isHead);
    this.#isRequestBegun = true;
    this.#isResponseOver = false;
    this.#isHeadSeen = false;
  }

  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  /** Field values may hold any character that was valid UTF-8 on the way in. */
  writeText(text: string): void {
    this.#socket.write(text, 'utf8');
  }

  /** @hot per chunk. The bytes are borrowed until `onUpstreamFlushed` was called for them, or the connection is destroyed. */
  writeBytes(bytes: Uint8Array): void {
    this.#unflushedCount++;
    this.#socket.write(bytes, this.#onFlushed);
  }

  /** Stops reading. Neither data nor the end of the connection is seen until `resume`, so the caller bounds it in time. */
  pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#bulkLeftBytes = 0;
    if (!this.#isResting) this.#socket.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (this.#isResting) return;
    // An idle connection must see its end at once.
    if (this.#isResponseOver || this.#turn.hasBulkLeft) this.#socket.resume();
    else this.#rest();
  }

  /** Ends the use of the connection: kept when the exchange on it was complete, else destroyed. */
  release(isRequestComplete: boolean, nowMs: number): void {
    this.#user = null;
    const isReusable =
      isRequestComplete &&
      this.#state === ConnectionState.busy &&
      this.#isResponseOver &&
      this.#parser.keepAlive &&
      !this.#hasExcess &&
      this.isFlushed;
    if (!isReusable || !this.endpoint.keepsConnections) {
      this.destroy();
      return;
    }
    this.resume();
    this.#state = ConnectionState.idle;
    this.#idleSinceMs = nowMs;
    this.endpoint.onConnectionIdle(this);
  }

  /** Closes at once: the file descriptor is gone when this returns, so borrowed bytes are free. */
  destroy(): void {
    this.#user = null;
    if (this.#state === ConnectionState.closed) return;
    const wasIdle = this.#state === ConnectionState.idle;
    this.#state = ConnectionState.closed;
    this.#socket.destroy();
    this.endpoint.onConnectionClosed(this, wasIdle);
  }

  // ResponseSink: called by the parser inside `push`.

  onHead(parser: ResponseParser): void {
    this.#isHeadSeen = true;
    this.#user?.onUpstreamHead(parser);
  }

  onBody(bytes: Buffer, start: number, end: number): void {
    this.#user?.onUpstreamBody(bytes, start, end);
  }

  onEnd(): void {
    this.#isResponseOver = true;
  }

  onInterim(_status: number): void {
    // 100 and 103 are dropped: the acceptor has sent its own 100, and the library cannot relay others.
  }

  // BatchedConnection.

  onTurnConnect(): void {
    if (this.#state === ConnectionState.connecting) this.#socket.connect(this.#options);
  }

  onTurnReady(): void {
    if (this.#state !== ConnectionState.busy || this.#isReady) return;
    this.#isReady = true;
    this.#user?.onUpstreamReady();
  }

  onTurnRead(buffer: Buffer, count: number): void {
    if (this.#state !== ConnectionState.closed) this.#take(buffer, count);
  }

  onTurnRested(): void {
    this.#isResting = false;
    if (this.#bulkLeftBytes <= 0) this.#bulkLeftBytes = bulkBytesInARow;
    if (!this.#isPaused && this.#state !== ConnectionState.closed) this.#socket.resume();
  }

  readonly #onConnected = (): void => {
    if (this.#state !== ConnectionState.connecting) return;
    this.#state = ConnectionState.busy;
    this.onTurnReady();
  };

  readonly #onFlushed = (error?: Error | null): void => {
    this.#unflushedCount--;
    if (error === undefined || error === null) this.#user?.onUpstreamFlushed();
  };

  /** @hot per chunk. Returning false would stop reading; `pause` does that instead. */
  readonly #onRead = (count: number, buffer: Uint8Array): boolean => {
    if (this.#turn.addRead(this, buffer as Buffer, count)) return true;
    this.#take(buffer as Buffer, count);
    this.#turn.addBulk(count);
    this.#bulkLeftBytes -= count;
    const hasMore = count >= this.#wholeReadBytes && this.#state === ConnectionState.busy;
    if (hasMore && !this.#turn.hasBulkLeft && !this.#isPaused && !this.#isResting) {
      this.#socket.pause();
      this.#rest();
    }
    return true;
  };

  #rest(): void {
    this.#isResting = true;
    this.#turn.addResting(this, this.#bulkLeftBytes > 0);
  }

  #take(buffer: Buffer, count: number): void {
    if (this.#state !== ConnectionState.busy || this.#user === null || this.#isResponseOver) {
      // Bytes nobody asked for: on an idle connection they would answer the next client's request.
      this.#noteStrayBytes();
      this.#endIdle('bytes on an idle connection');
      return;
    }
    const consumed = this.#parser.push(buffer, count);
    if (consumed < 0) {
      this.#fail(this.#isHeadSeen ? 'truncated' : 'invalid', `response is not valid HTTP/1.1 (${this.#parser.error})`);
    } else if (this.#isResponseOver) {
      if (consumed < count) this.#noteStrayBytes();
      this.#user?.onUpstreamEnd();
    }
  }

  #noteStrayBytes(): void {
    if (!this.#hasExcess) this.endpoint.settings.onStrayBytes();
    this.#hasExcess = true;
  }

  readonly #onError = (error: NodeJS.ErrnoException): void => {
    this.#errorCode = error.code ?? error.message;
  };

  /** FIN from the endpoint. */
  readonly #onEnd = (): void => {
    this.#turn.drainReads();
    if (this.#state !== ConnectionState.busy || this.#user === null || this.#isResponseOver) {
      this.#endIdle('connection ended');
      return;
    }
    if (this.#parser.onConnectionEnd()) {
      this.#isResponseOver = true;
      this.#user.onUpstreamEnd();
    } else {
      this.#fail(this.#isHeadSeen ? 'truncated' : this.#early(), 'connection ended');
    }
  };

  readonly #onClose = (): void => {
    this.#turn.drainReads();
    if (this.#state === ConnectionState.closed) return;
    let failure: UpstreamFailure = this.#isHeadSeen ? 'truncated' : this.#early();
    if (this.#state === ConnectionState.connecting) failure = ownShortages.has(this.#errorCode) ? 'local' : 'connect';
    this.#fail(failure, this.#errorCode === '' ? 'connection closed' : this.#errorCode);
  };

  /** No response is due. Whoever has just taken the connection, and not written yet, learns that it was of no use. */
  #endIdle(detail: string): void {
    if (this.#state === ConnectionState.busy && !this.#isRequestBegun) this.#fail('stale', detail);
    else this.destroy();
  }

  /** A reused connection on which nothing was written yet did not fail the request: it was closed while idle. */
  #early(): UpstreamFailure {
    return this.#isFresh || this.#isRequestBegun ? 'reset' : 'stale';
  }

  #fail(failure: UpstreamFailure, detail: string): void {
    const user = this.#user;
    this.destroy();
    user?.onUpstreamFailed(failure, detail);
  }
}
