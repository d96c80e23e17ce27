/**
 * One kept-alive connection of the open-loop client. Reads a chunked SSE response as it comes, so that each event has the
 * instant of the read that completed it; a client that waits for the whole response, as autocannon does, cannot.
 */
import { connect } from 'node:net';

/** Where in a response the next byte belongs. */
const At = /** @type {const} */ ({ idle: 0, head: 1, size: 2, data: 3, dataEnd: 4, lastLine: 5 });
const blankLine = Buffer.from('\n\n');
const nothing = Buffer.alloc(0);
/** A response head, or a chunk-size line, never needs more. */
const lineBytesMax = 16_384;

/**
 * @typedef {object} StreamListener
 * @property {(status: number) => void} onHead
 * @property {(event: string, atMs: number) => void} onEvent one SSE event, without the blank line that ends it
 * @property {() => void} onEnd the last chunk came, and no half event before it
 * @property {(why: string) => void} onFail any other end; nothing is called after it
 */

export class SseConnection {
  #socket;
  #at = /** @type {number} */ (At.idle);
  /** Bytes of an unfinished head or chunk line. */
  #line = nothing;
  /** Bytes of an unfinished event. */
  #event = nothing;
  #chunkBytesLeft = 0;
  /** @type {StreamListener | null} */
  #listener = null;
  /** Bytes read so far. */
  receivedBytes = 0;

  /**
   * @param {string} host
   * @param {number} port
   * @param {(connection: SseConnection) => void} onClosed called once
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

  /**
   * Sends one request; the connection must be idle.
   * @param {Buffer} request head and body
   * @param {StreamListener} listener
   */
  send(request, listener) {
    if (this.#listener !== null) throw new Error('the connection is in use');
    this.#listener = listener;
    this.#at = At.head;
    this.#socket.write(request);
  }

  /** A stream under way fails. */
  destroy() {
    this.#socket.destroy();
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
        offset = this.#at === At.data ? this.#readData(bytes, offset, nowMs) : this.#readLine(bytes, offset);
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
  #readData(bytes, offset, nowMs) {
    const end = Math.min(bytes.length, offset + this.#chunkBytesLeft);
    this.#chunkBytesLeft -= end - offset;
    if (this.#chunkBytesLeft === 0) this.#at = At.dataEnd;
    let rest = bytes.subarray(offset, end);
    if (this.#event.length > 0) rest = Buffer.concat([this.#event, rest]);
    for (let at = rest.indexOf(blankLine); at !== -1; at = rest.indexOf(blankLine)) {
      this.#listener?.onEvent(rest.toString('utf8', 0, at), nowMs);
      rest = rest.subarray(at + blankLine.length);
    }
    // A copy: `rest` would keep the whole read alive.
    this.#event = rest.length === 0 ? nothing : Buffer.from(rest);
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
        this.#chunkBytesLeft = Number.parseInt(text, 16);
        this.#at = this.#chunkBytesLeft === 0 ? At.lastLine : At.data;
        break;
      case At.dataEnd:
        if (text !== '') throw new Error('a chunk is longer than its size');
        this.#at = At.size;
        break;
      default:
        // Trailer fields, up to an empty line.
        if (text === '') this.#onLastLine();
    }
  }

  /** @param {string} head */
  #onHead(head) {
    const status = Number(head.slice(9, 12));
    this.#listener?.onHead(status);
    if (!/\r\ntransfer-encoding: *chunked *(\r\n|$)/i.test(head))
      throw new Error(`status ${status}, not a chunked stream`);
    this.#at = At.size;
  }

  #onLastLine() {
    if (this.#event.length > 0) throw new Error('the stream ends in the middle of an event');
    const listener = this.#listener;
    this.#at = At.idle;
    this.#listener = null;
    listener?.onEnd();
  }
}
