import type { HttpResponse } from 'uWebSockets.js';
import type { Admission } from '../shm/index.ts';

/**
 * Counts the connections of each client address, and gives each back once, at the latest when it closes.
 *
 * The library says that *a* connection has closed, not which: by then its socket has no address any more. What it keeps
 * for each connection is one abort handler, which it forgets with the end of every response. So the claim is held by
 * whoever is that handler at the time:
 *
 *   opened ──▶ first handler ──request──▶ the exchange's ──response over──▶ idle handler ──request──▶ the exchange's ...
 *
 * To register the idle handler after a response there has to be a response object that the library has not invalidated with
 * that end: `onRequest` sees each request first, keeps its object, and yields to the handler that serves it.
 *
 * Between the end of a response and `release` (which follows in the same call stack) no handler is registered. If the
 * connection closed within that end, `onClosed` was called and no handler after it: `#hasUnclaimedClose`.
 */
export class AddressCap {
  readonly #admission: Admission;
  readonly #countMax: number;
  /** The response object of the request just read, for the handler it is yielded to. */
  #connection: HttpResponse | null = null;
  /** A connection has closed, and nobody has said that it was his. */
  #hasUnclaimedClose = false;

  constructor(admission: Admission, countMax: number) {
    this.#admission = admission;
    this.#countMax = countMax;
  }

  /** False when its address has as many as it may: nothing is held then. */
  tryOpen(connection: HttpResponse): boolean {
    this.#hasUnclaimedClose = false;
    const key = this.#keyOf(connection);
    if (this.#admission.addressConnections(key) >= this.#countMax) return false;
    this.#admission.addAddress(key, 1);
    this.#watch(connection, key);
    return true;
  }

  /** The library's word that a connection has closed. The abort handler of it, if there is one, is called next. */
  onClosed(): void {
    this.#hasUnclaimedClose = true;
  }

  /** It was refused as it came, so nobody holds anything of it. */
  onRefused(): void {
    this.#hasUnclaimedClose = false;
  }

  /** A request is read. Called before the handler that serves it. */
  onRequest(connection: HttpResponse): void {
    this.#connection = connection;
  }

  /** For the exchange of that request: takes over the connection's claim. */
  takeOver(hold: AddressHold, response: HttpResponse): void {
    this.#hasUnclaimedClose = false;
    hold.key = this.#keyOf(response);
    hold.connection = this.#connection;
    hold.isGone = false;
    this.#connection = null;
    // A method the library has no route for: it is answered with 501, which closes. The claim ends here.
    if (hold.connection === null) this.#give(hold);
  }

  /** The exchange's own abort handler was called. */
  onAborted(hold: AddressHold): void {
    this.#hasUnclaimedClose = false;
    hold.isGone = true;
  }

  /** The exchange is over: its connection is, or waits for the next request. */
  release(hold: AddressHold): void {
    const { connection, key } = hold;
    hold.connection = null;
    if (key < 0) {
      this.#hasUnclaimedClose = false;
      return;
    }
    if (hold.isGone || this.#hasUnclaimedClose) {
      this.#hasUnclaimedClose = false;
      this.#give(hold);
      return;
    }
    hold.key = -1;
    this.#watch(connection!, key);
  }

  #watch(connection: HttpResponse, key: number): void {
    connection.onAborted(() => {
      this.#hasUnclaimedClose = false;
      this.#admission.addAddress(key, -1);
    });
  }

  #give(hold: AddressHold): void {
    this.#admission.addAddress(hold.key, -1);
    hold.key = -1;
  }

  #keyOf(connection: HttpResponse): number {
    return this.#admission.addressKey(new Uint8Array(connection.getRemoteAddress()));
  }
}

/** What an exchange holds of its connection's claim. One a record. */
export class AddressHold {
  /** -1: nothing is held. */
  key = -1;
  connection: HttpResponse | null = null;
  isGone = false;
}
