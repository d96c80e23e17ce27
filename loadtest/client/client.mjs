/** Connections to one target, kept for the next request; a request finds an idle one or opens another. */
import { setTimeout as sleep } from 'node:timers/promises';
import { HttpConnection } from './http-connection.mjs';

/** Open at once; beyond it the client, or a target that answers nothing, is the problem. */
const openCountMax = 4000;
const pollMs = 20;

export class Client {
  #host;
  #port;
  #authority;
  /** @type {HttpConnection[]} */
  #idle = [];
  /** @type {Set<HttpConnection>} */
  #all = new Set();
  #sentCount = 0;

  /** @param {string} origin */
  constructor(origin) {
    const { host, hostname, port } = new URL(origin);
    this.#authority = host;
    this.#host = hostname.replace(/^\[|\]$/g, '');
    this.#port = Number(port === '' ? 80 : port);
  }

  /** Connections with a response under way. */
  get busyCount() {
    return this.#all.size - this.#idle.length;
  }

  get isFull() {
    return this.#all.size >= openCountMax && this.#idle.length === 0;
  }

  /** An idle connection; give it back with `give`, or destroy it. */
  take() {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    const connection = new HttpConnection(this.#host, this.#port, (closed) => {
      this.#all.delete(closed);
      const at = this.#idle.indexOf(closed);
      if (at !== -1) this.#idle.splice(at, 1);
    });
    this.#all.add(connection);
    return connection;
  }

  /** @param {HttpConnection} connection */
  give(connection) {
    if (connection.isReusable) this.#idle.push(connection);
    else connection.destroy();
  }

  /**
   * A request as it goes out, with an id of its own, which its answer has to carry.
   * @param {import('../types.d.ts').LoadRequest} request
   */
  encode({ path, headers, body }) {
    const id = `load-${process.pid}-${++this.#sentCount}`;
    const fields = { host: this.#authority, ...headers, 'x-request-id': id, 'content-length': String(body.length) };
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
    return { id, head: Buffer.from(`POST ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1'), body };
  }

  /**
   * Waits for the responses under way, then closes everything; what is still open then fails.
   * @param {number} timeoutMs
   */
  async close(timeoutMs) {
    const deadlineMs = performance.now() + timeoutMs;
    while (this.busyCount > 0 && performance.now() < deadlineMs) await sleep(pollMs);
    for (const connection of this.#all) connection.destroy();
    // `close` events come a turn later, and fail what was still open.
    await sleep(pollMs);
  }
}
