import type { HttpRequest, HttpResponse, us_listen_socket } from 'uWebSockets.js';
import type { ListenerTls } from '../config/index.ts';
import type { Exchange } from '../exchange/index.ts';
import type { Admission } from '../shm/index.ts';
import { AddressCap, AddressHold } from './address-cap.ts';
import { makeGeneration } from './generation.ts';
import type { Generation } from './generation.ts';
import { type GuardLimits, HeadGuard } from './head-guard.ts';
import { refusals } from './refusal.ts';
import type { Refusal } from './refusal.ts';
import type { LoadedUws } from './uws.ts';

/**
 * One bound address of one shard. SO_REUSEPORT is the library's default, so every shard (and a second process, during an
 * upgrade) listens on the same address and the kernel spreads the connections.
 *
 * The app that listens is the first generation. When certificates change, a new app without a socket of its own takes
 * over what that one accepts, so the bound socket and its queue are never closed and no connection is lost:
 *
 *   prepareTls ──▶ commitTls ──▶ new connections have the new certificates; old ones go on, and close with their next
 *        │                       answer; the app that has none left is closed
 *        └──▶ discardTls, when another listener or shard refused
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
  /** One of the others threw. Throws what it cannot contain. */
  onThrow(exchange: X, error: unknown): void;
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
      try {
        events.onAborted(exchange);
      } catch (error) {
        events.onThrow(exchange, error);
      }
    };
    this.onData = (chunk, isLast) => {
      try {
        events.onBody(exchange, Buffer.from(chunk), isLast);
      } catch (error) {
        events.onThrow(exchange, error);
      }
    };
    this.onWritable = () => {
      try {
        events.onWritable(exchange);
      } catch (error) {
        events.onThrow(exchange, error);
      }
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
  readonly tls: ListenerTls | null;
}

/** An app is closed so many sweeps after its last connection: one accepted for it may still be on its way to it. */
const sweepsBeforeClose = 20;

/** Newer builds of the library than its types know. */
type CertifiedResponse = HttpResponse & { getX509Certificate?(): string };

export class Listener<X extends ListenedExchange> {
  readonly #loaded: LoadedUws;
  readonly #host: string;
  readonly #listenerIndex: number;
  readonly #events: ListenerEvents<X>;
  readonly #admission: Admission;
  readonly #connectionsMax: number;
  readonly #addressCap: AddressCap | null;
  /** The first is the one that listens, the last the one that gets new connections. */
  readonly #generations: Generation[];
  #guard: HeadGuard;
  #socket: us_listen_socket | null = null;
  #isClosed = false;

  constructor(loaded: LoadedUws, options: ListenerOptions, events: ListenerEvents<X>) {
    this.#loaded = loaded;
    this.#host = options.host;
    this.#listenerIndex = options.listenerIndex;
    this.#events = events;
    this.#guard = new HeadGuard(options.guard);
    this.#admission = options.admission;
    this.#connectionsMax = options.connectionsMax;
    const { connectionsPerAddressMax } = options;
    this.#addressCap =
      connectionsPerAddressMax === 0 ? null : new AddressCap(options.admission, connectionsPerAddressMax);
    this.#generations = [this.#make(options.tls)];
  }

  /** New limits for the requests to come, after a reload. */
  setLimits(limits: GuardLimits): void {
    this.#guard = new HeadGuard(limits);
  }

  /** The app for changed certificates, null when they are the same. Throws when the library does not take them. */
  prepareTls(tls: ListenerTls | null): Generation | null {
    const current = this.#generations.at(-1)!;
    if (tls === null || JSON.stringify(tls) === JSON.stringify(current.tls)) return null;
    if (typeof current.app.addChildAppDescriptor !== 'function') {
      throw new Error('this build of uWebSockets.js cannot change certificates without a restart');
    }
    return this.#make(tls);
  }

  /** Connections accepted from here on come to `next`. */
  commitTls(next: Generation): void {
    const [accepting] = this.#generations;
    const current = this.#generations.at(-1)!;
    accepting!.app.addChildAppDescriptor(next.app.getDescriptor());
    if (current !== accepting) accepting!.app.removeChildAppDescriptor(current.app.getDescriptor());
    current.isRetired = true;
    this.#generations.push(next);
  }

  discardTls(next: Generation): void {
    next.app.close();
  }

  /** Closes apps whose last connection is gone. Called by the shard's timer, a turn of the event loop each time. */
  sweep(): void {
    for (let index = this.#generations.length - 2; index >= 1; index--) {
      const generation = this.#generations[index]!;
      if (generation.connectionCount > 0 || ++generation.retiredSweeps < sweepsBeforeClose) continue;
      generation.app.close();
      this.#generations.splice(index, 1);
    }
  }

  /** Binds; resolves with the port (`port` 0 lets the kernel choose), rejects when the address cannot be had. */
  listen(port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#generations[0]!.app.listen(this.#host, port, (socket) => {
        if (socket === false) {
          reject(new Error(`cannot listen on ${this.#host}:${port}`));
          return;
        }
        this.#socket = socket;
        resolve(this.#loaded.uws.us_socket_local_port(socket));
      });
    });
  }

  /** New connections are refused from here on; open ones go on. Safe to call twice. */
  stopAccepting(): void {
    if (this.#socket === null) return;
    this.#loaded.uws.us_listen_socket_close(this.#socket);
    this.#socket = null;
  }

  /** Closes every connection; `onAborted` fires for exchanges that are still open. Must run before the thread ends. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket = null;
    for (const { app } of this.#generations) app.close();
  }

  #make(tls: ListenerTls | null): Generation {
    return makeGeneration(this.#loaded, tls, {
      onConnection: this.#onConnection,
      onRequestRead: this.#addressCap === null ? null : this.#onRequestRead,
      onRequest: this.#onRequest,
    });
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

  readonly #onRequest = (generation: Generation, response: HttpResponse, request: HttpRequest): void => {
    const exchange = this.#take(response);
    exchange.downstream = response;
    exchange.isDownstreamOver = false;
    try {
      if (this.#addressCap !== null) exchange.hooks.takeOver(this.#addressCap, response);
      this.#begin(generation, exchange, response, request);
    } catch (error) {
      this.#events.onThrow(exchange, error);
    }
  };

  /** The abort handler comes first: a handler that returns, or throws, without it aborts the process. */
  #take(response: HttpResponse): X {
    try {
      const exchange = this.#events.takeExchange(this.#listenerIndex);
      response.onAborted(exchange.hooks.onAborted);
      return exchange;
    } catch (error) {
      response.onAborted(() => {});
      response.close();
      throw error;
    }
  }

  #begin(generation: Generation, exchange: X, response: HttpResponse, request: HttpRequest): void {
    let refusal = this.#guard.read(request, exchange.head);
    if (generation.tls?.requiresClientCertificate === true && !hasCertificate(response)) {
      refusal ??= refusals.clientCertificate;
      exchange.head.closesConnection = true;
    }
    if (generation.isRetired) exchange.head.closesConnection = true;
    // With a refusal the handler is attached too: it makes the library read (and us drop) what follows, until the answer.
    if (refusal !== null || exchange.head.hasBody) response.onData(exchange.hooks.onData);
    response.onWritable(exchange.hooks.onWritable);
    this.#events.onHead(exchange, refusal);
  }
}

/** The library verified it in the handshake. One that cannot say what was presented counts as none. */
function hasCertificate(response: CertifiedResponse): boolean {
  return response.getX509Certificate !== undefined && response.getX509Certificate() !== '';
}
