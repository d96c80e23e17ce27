import type { TemplatedApp, HttpRequest, HttpResponse, us_listen_socket } from 'uWebSockets.js';
import type { Exchange } from '../exchange/index.ts';
import type { Admission } from '../shm/index.ts';
import { AddressCap, AddressHold } from './address-cap.ts';
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
  onConnectionCount(delta: number): void;
  /** The connection just counted is closed at once. */
  onConnectionRefused(listenerIndex: number, reason: 'connections_max' | 'per_address'): void;
  /** A fresh record, its head recycled. */
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
  readonly #hold = new AddressHold();
  #cap: AddressCap | null = null;

  constructor(exchange: X, events: ListenerEvents<X>) {
    this.onAborted = () => {
      this.#cap?.onAborted(this.#hold);
      events.onAborted(exchange);
    };
    this.onData = (chunk, isLast) => events.onBody(exchange, Buffer.from(chunk), isLast);
    this.onWritable = () => {
      events.onWritable(exchange);
      return true;
    };
  }

  /** Of the listener: the exchange answers for its connection from here on. */
  takeOver(cap: AddressCap, response: HttpResponse): void {
    this.#cap = cap;
    cap.takeOver(this.#hold, response);
  }

  /** The last thing an exchange does with its connection, in the call stack in which its response ended. */
  release(): void {
    this.#cap?.release(this.#hold);
    this.#cap = null;
  }
}

export interface ListenedExchange extends Exchange {
  readonly hooks: DownstreamHooks<ListenedExchange>;
}

export interface ListenerOptions {
  readonly host: string;
  readonly listenerIndex: number;
  readonly guard: GuardLimits;
  readonly admission: Admission;
  /** Over all shards. */
  readonly connectionsMax: number;
  /** Over all shards; 0 = unlimited. */
  readonly connectionsPerAddressMax: number;
  readonly tls: { readonly certPath: string; readonly keyPath: string; readonly passphrase: string | null } | null;
}

/** Methods that can have a route of their own, which comes before that of any method. */
const routedMethods = ['get', 'post', 'put', 'patch', 'del', 'head', 'options', 'connect', 'trace'] as const;

export class Listener<X extends ListenedExchange> {
  readonly #uws: LoadedUws['uws'];
  readonly #app: TemplatedApp;
  readonly #host: string;
  readonly #listenerIndex: number;
  readonly #events: ListenerEvents<X>;
  readonly #admission: Admission;
  readonly #connectionsMax: number;
  readonly #addressCap: AddressCap | null;
  #guard: HeadGuard;
  #socket: us_listen_socket | null = null;
  #isClosed = false;

  constructor(loaded: LoadedUws, options: ListenerOptions, events: ListenerEvents<X>) {
    this.#uws = loaded.uws;
    this.#host = options.host;
    this.#listenerIndex = options.listenerIndex;
    this.#events = events;
    this.#guard = new HeadGuard(options.guard);
    this.#admission = options.admission;
    this.#connectionsMax = options.connectionsMax;
    const { connectionsPerAddressMax } = options;
    this.#addressCap =
      connectionsPerAddressMax === 0 ? null : new AddressCap(options.admission, connectionsPerAddressMax);
    const tls = options.tls;
    this.#app =
      tls === null
        ? loaded.uws.App()
        : loaded.uws.SSLApp({
            cert_file_name: tls.certPath,
            key_file_name: tls.keyPath,
            ...(tls.passphrase === null ? {} : { passphrase: tls.passphrase }),
          });
    this.#app.filter(this.#onConnection);
    if (this.#addressCap !== null) {
      for (const method of routedMethods) this.#app[method]('/*', this.#onRequestRead);
    }
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

  /** A connection was accepted (1) or has closed (-1). */
  readonly #onConnection = (connection: HttpResponse, delta: number): void => {
    this.#admission.addConnections(delta);
    this.#events.onConnectionCount(delta);
    if (delta < 0) {
      this.#addressCap?.onClosed();
    } else if (this.#admission.connections() > this.#connectionsMax) {
      this.#refuse(connection, 'connections_max');
    } else if (this.#addressCap?.tryOpen(connection) === false) {
      this.#refuse(connection, 'per_address');
    }
  };

  #refuse(connection: HttpResponse, reason: 'connections_max' | 'per_address'): void {
    this.#events.onConnectionRefused(this.#listenerIndex, reason);
    connection.close(); // Comes back to `onConnection`, with -1.
    this.#addressCap?.onRefused();
  }

  readonly #onRequestRead = (response: HttpResponse, request: HttpRequest): void => {
    this.#addressCap!.onRequest(response);
    request.setYield(true);
  };

  readonly #onRequest = (response: HttpResponse, request: HttpRequest): void => {
    const exchange = this.#events.takeExchange(this.#listenerIndex);
    response.onAborted(exchange.hooks.onAborted);
    exchange.downstream = response;
    exchange.isDownstreamOver = false;
    if (this.#addressCap !== null) exchange.hooks.takeOver(this.#addressCap, response);
    const refusal = this.#guard.read(request, exchange.head);
    // With a refusal the handler is attached too: it makes the library read (and us drop) what follows, until the answer.
    if (refusal !== null || exchange.head.hasBody) response.onData(exchange.hooks.onData);
    response.onWritable(exchange.hooks.onWritable);
    this.#events.onHead(exchange, refusal);
  };
}
