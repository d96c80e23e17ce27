import type { TemplatedApp, HttpRequest, HttpResponse, us_listen_socket } from 'uWebSockets.js';
import type { Exchange } from '../exchange/index.ts';
import { type GuardLimits, HeadGuard } from './head-guard.ts';
import type { Refusal } from './refusal.ts';
import type { LoadedUws } from './uws.ts';

/**
 * One bound address of one shard. SO_REUSEPORT is the library's default, so every shard (and a second process, during an
 * upgrade) listens on the same address and the kernel spreads the connections.
 *
 * Rules of the library that live here: the abort handler is registered first; the data handler before the handler
 * returns; a chunk's memory is detached when the data handler returns.
 */
export interface ListenerEvents<X extends ListenedExchange> {
  /** A fresh record, its head recycled. */
  onConnectionCount(delta: number): void;
  takeExchange(listenerIndex: number): X;
  /** The head is in `exchange.head`; `refusal` says that it must not go further. Called inside the library's handler: any answer is written on a later turn. */
  onHead(exchange: X, refusal: Refusal | null): void;
  /** `bytes` is borrowed for the call. */
  onBody(exchange: X, bytes: Buffer, isLast: boolean): void;
  onAborted(exchange: X): void;
  /** The client's socket takes bytes again. */
  onWritable(exchange: X): void;
}

/** Closures the library calls back, made once in the life of a record. */
export class DownstreamHooks<X extends ListenedExchange> {
  readonly onAborted: () => void;
  readonly onData: (chunk: ArrayBuffer, isLast: boolean) => void;
  readonly onWritable: () => boolean;

  constructor(exchange: X, events: ListenerEvents<X>) {
    this.onAborted = () => events.onAborted(exchange);
    this.onData = (chunk, isLast) => events.onBody(exchange, Buffer.from(chunk), isLast);
    this.onWritable = () => {
      events.onWritable(exchange);
      return true;
    };
  }
}

export interface ListenedExchange extends Exchange {
  readonly hooks: DownstreamHooks<ListenedExchange>;
}

export interface ListenerOptions {
  readonly host: string;
  readonly listenerIndex: number;
  readonly guard: GuardLimits;
  readonly tls: { readonly certPath: string; readonly keyPath: string; readonly passphrase: string | null } | null;
}

export class Listener<X extends ListenedExchange> {
  readonly #uws: LoadedUws['uws'];
  readonly #app: TemplatedApp;
  readonly #host: string;
  readonly #listenerIndex: number;
  readonly #events: ListenerEvents<X>;
  #guard: HeadGuard;
  #socket: us_listen_socket | null = null;
  #isClosed = false;

  constructor(loaded: LoadedUws, options: ListenerOptions, events: ListenerEvents<X>) {
    this.#uws = loaded.uws;
    this.#host = options.host;
    this.#listenerIndex = options.listenerIndex;
    this.#events = events;
    this.#guard = new HeadGuard(options.guard);
    const tls = options.tls;
    this.#app =
      tls === null
        ? loaded.uws.App()
        : loaded.uws.SSLApp({
            cert_file_name: tls.certPath,
            key_file_name: tls.keyPath,
            ...(tls.passphrase === null ? {} : { passphrase: tls.passphrase }),
          });
    this.#app.filter((_response, delta) => events.onConnectionCount(delta));
    this.#app.any('/*', this.#onRequest);
  }

  /** New limits for the requests to come, after a reload. */
  setLimits(limits: GuardLimits): void {
    this.#guard = new HeadGuard(limits);
  }

  /** Binds; resolves with the port (`port` 0 lets the kernel choose), rejects when the address cannot be had. */
  listen(port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#app.listen(this.#host, port, (socket) => {
        if (socket === false) {
          reject(new Error(`cannot listen on ${this.#host}:${port}`));
          return;
        }
        this.#socket = socket;
        resolve(this.#uws.us_socket_local_port(socket));
      });
    });
  }

  /** New connections are refused from here on; open ones go on. Safe to call twice. */
  stopAccepting(): void {
    if (this.#socket === null) return;
    this.#uws.us_listen_socket_close(this.#socket);
    this.#socket = null;
  }

  /** Closes every connection; `onAborted` fires for exchanges that are still open. Must run before the thread ends. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket = null;
    this.#app.close();
  }

  readonly #onRequest = (response: HttpResponse, request: HttpRequest): void => {
    const exchange = this.#events.takeExchange(this.#listenerIndex);
    response.onAborted(exchange.hooks.onAborted);
    exchange.downstream = response;
    exchange.isDownstreamOver = false;
    const refusal = this.#guard.read(request, exchange.head);
    // With a refusal the handler is attached too: it makes the library read (and us drop) what follows, until the answer.
    if (refusal !== null || exchange.head.hasBody) response.onData(exchange.hooks.onData);
    response.onWritable(exchange.hooks.onWritable);
    this.#events.onHead(exchange, refusal);
  };
}
