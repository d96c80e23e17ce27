/**
 * One kept-alive connection of the open-loop clients. Hands over a response as it comes, so that each piece has the instant
 * of the read that brought it; a client that waits for the whole response, as autocannon does, cannot. It can also be half
 * a client: send a part of a request, read slowly, leave in the middle.
 */
import { connect } from 'node:net';

/** Where in a response the next byte belongs. */
const At = /** @type {const} */ ({ idle: 0, head: 1, body: 2, size: 3, data: 4, dataEnd: 5, lastLine: 6 });
const nothing = Buffer.alloc(0);
/** A response head, or a chunk-size line, never needs more. */
const lineBytesMax = 16_384;

/** @typedef {ReadonlyMap<string, string>} Headers by name in lower case */
/**
 * @typedef {object} ResponseListener
 * @property {(status: number, headers: Headers) => void} onHead
 * @property {(bytes: Buffer, atMs: number) => void} onBody borrowed; throws when it is wrong, which fails the response
 * @property {() => void} onEnd the body is whole
 * @property {(why: string) => void} onFail any other end; nothing is called after it
 */

export class HttpConnection {
  #socket;
  #at = /** @type {number} */ (At.idle);
  /** Bytes of an unfinished head or chunk line. */
  #line = nothing;
  /** Of the chunk, or of a body with a known length. */
  #bytesLeft = 0;
  /** @type {ResponseListener | null} */
  #listener = null;
  #isLast = false;
  /** Bytes read so far. */
  receivedBytes = 0;

  /**
   * @param {string} host
   * @param {number} port
   * @param {(connection: HttpConnection) => void} onClosed called once
   */
  constructor(host, port, onClosed) {
    this.#socket = connect({ host, port, noDelay: true });
    this.#socket.on('data', (bytes) => this.#onData(bytes, performance.now()));
    this.#socket.on('error', (error) => this.#fail(error.message));
    this.#socket.on('close', () => {
      this.#fail('the connection closed before the response was over');
      onClosed(this);
    });
  }

  /** False when the other side said that it will close after this response. */
  get isReusable() {
    return !this.#isLast && !this.#socket.destroyed;
  }

  /**
   * Sends a request, or the first part of one; the connection must be idle.
   * @param {readonly Buffer[]} parts
   * @param {ResponseListener} listener
   */
  send(parts, listener) {
    if (this.#listener !== null) throw new Error('the connection is in use');
    this.#listener = listener;
    this.#at = At.head;
    this.#socket.cork();
    for (const part of parts) this.#socket.write(part);
    this.#socket.uncork();
  }

  pause() {
    this.#socket.pause();
  }

  resume() {
    this.#socket.resume();
  }

  /** More of a request whose first part was sent. @param {Buffer} bytes */
  write(bytes) {
    if (!this.#socket.destroyed) this.#socket.write(bytes);
  }

  /** Bytes of requests that the kernel has not taken. */
  get unsentBytes() {
    return this.#socket.writableLength;
  }

  /** A response under way fails. */
  destroy() {
    this.#socket.destroy();
  }

  /** RST instead of FIN. */
  reset() {
    this.#socket.resetAndDestroy();
  }

  /** FIN, and goes on reading. */
  finish() {
    this.#socket.end();
  }

  /** @param {string} why */
  #fail(why) {
    const listener = this.#listener;
    this.#listener = null;
    this.#socket.destroy();
    listener?.onFail(why);
  }

  /**
   * @param {Buffer} bytes
   * @param {number} nowMs
   */
  #onData(bytes, nowMs) {
    this.receivedBytes += bytes.length;
    let offset = 0;
    try {
      while (offset < bytes.length) {
        if (this.#at === At.idle) throw new Error('bytes after the end of the response');
        const isBody = this.#at === At.data || this.#at === At.body;
        offset = isBody ? this.#readBody(bytes, offset, nowMs) : this.#readLine(bytes, offset);
      }
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
    }
  }

  /**
   * @param {Buffer} bytes
   * @param {number} offset
   * @param {number} nowMs
   */
  #readBody(bytes, offset, nowMs) {
    const end = Math.min(bytes.length, offset + this.#bytesLeft);
    this.#bytesLeft -= end - offset;
    this.#listener?.onBody(bytes.subarray(offset, end), nowMs);
    if (this.#bytesLeft === 0) {
      if (this.#at === At.body) this.#end();
      else this.#at = At.dataEnd;
    }
    return end;
  }

  /**
   * Takes one line, or the head as a whole.
   * @param {Buffer} bytes
   * @param {number} offset
   */
  #readLine(bytes, offset) {
    const terminator = this.#at === At.head ? '\r\n\r\n' : '\r\n';
    const before = this.#line.length;
    const all = before === 0 ? bytes.subarray(offset) : Buffer.concat([this.#line, bytes.subarray(offset)]);
    const end = all.indexOf(terminator);
    if (end === -1) {
      if (all.length > lineBytesMax) throw new Error('a line of the response is too long');
      this.#line = Buffer.from(all);
      return bytes.length;
    }
    this.#line = nothing;
    this.#onLine(all.toString('latin1', 0, end));
    return offset + end + terminator.length - before;
  }

  /** @param {string} text */
  #onLine(text) {
    switch (this.#at) {
      case At.head:
        this.#onHead(text);
        break;
      case At.size:
        if (!/^[0-9a-f]{1,8}\s*(;|$)/i.test(text))
          throw new Error(`bad chunk size ${JSON.stringify(text.slice(0, 20))}`);
        this.#bytesLeft = Number.parseInt(text, 16);
        this.#at = this.#bytesLeft === 0 ? At.lastLine : At.data;
        break;
      case At.dataEnd:
        if (text !== '') throw new Error('a chunk is longer than its size');
        this.#at = At.size;
        break;
      default:
        // Trailer fields, up to an empty line.
        if (text === '') this.#end();
    }
  }

  /** @param {string} head */
  #onHead(head) {
    const [statusLine = '', ...fields] = head.split('\r\n');
    const status = Number(statusLine.slice(9, 12));
    const headers = new Map(
      fields.map((field) => {
        const colon = field.indexOf(':');
        return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
      }),
    );
    this.#isLast = headers.get('connection')?.toLowerCase() === 'close';
    this.#listener?.onHead(status, headers);
    const length = headers.get('content-length');
    if (headers.get('transfer-encoding')?.toLowerCase() === 'chunked') this.#at = At.size;
    else if (length !== undefined && /^\d{1,15}$/.test(length)) {
      this.#at = At.body;
      this.#bytesLeft = Number(length);
      if (this.#bytesLeft === 0) this.#end();
    } else throw new Error(`status ${status}, a response without a length`);
  }

  #end() {
    const listener = this.#listener;
    this.#at = At.idle;
    this.#listener = null;
    listener?.onEnd();
  }
}
