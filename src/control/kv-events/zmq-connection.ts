import { connect } from 'node:net';
import type { LookupFunction, Socket } from 'node:net';
import { zmtpCommand, zmtpGreeting, zmtpMessage, ZmtpReader, zmtpReady, zmtpSocketType } from '../../core/index.ts';
import type { ReadBudget } from './read-budget.ts';

/**
 * One connection to a ZeroMQ socket of an engine, from connecting to its end; whoever wants another makes one.
 *
 *   connecting ──▶ greeting ⇄ ──▶ READY ⇄ ──▶ messages ──▶ closed (from any state, once)
 *
 * Not the library: libzmq would be a native addon with an install script, for four kinds of frame. A publisher is believed
 * nothing: what it sends is bounded in size, and in what all of them may send a second.
 */
export interface ZmqConnectionOptions {
  readonly host: string;
  readonly port: number;
  readonly socketType: 'SUB' | 'DEALER';
  readonly budget: ReadBudget;
  /** Of names. */
  readonly lookup: LookupFunction;
  readonly onReady: () => void;
  /** `frames` may be kept for this turn only. */
  readonly onMessage: (frames: readonly Buffer[]) => void;
  /** Called once, unless `close` was. `isRefusal`: it answered, but not as such a socket does. */
  readonly onClosed: (reason: string, isRefusal: boolean) => void;
}

/** From connecting to READY. */
const handshakeMs = 5000;
/** When TCP begins to probe a silent connection. An idle engine publishes nothing, so nothing else tells that its peer is gone. */
const keepAliveMs = 10_000;
const messageBytesMax = 16 * 1024 * 1024;
/** Answers that wait for the peer to read them. All that is said to it otherwise is shorter. */
const unreadBytesMax = 64 * 1024;

/** What such a socket may be connected to. */
const peers = { SUB: ['PUB', 'XPUB'], DEALER: ['ROUTER'] } as const;

export class ZmqConnection {
  readonly #options: ZmqConnectionOptions;
  readonly #socket: Socket;
  readonly #reader: ZmtpReader;
  readonly #deadline: NodeJS.Timeout;
  #isReady = false;
  #isClosed = false;

  constructor(options: ZmqConnectionOptions) {
    const { host, port, budget, lookup } = options;
    this.#options = options;
    this.#reader = new ZmtpReader(
      {
        onGreeting: () => void this.#socket.write(zmtpReady(options.socketType)),
        onCommand: (name, body) => this.#onCommand(name, body),
        onMessage: (frames) => {
          if (this.#isReady) options.onMessage(frames);
          else this.#end('it sent a message before READY', true);
        },
      },
      messageBytesMax,
    );
    this.#socket = connect({
      host,
      port,
      lookup,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveMs,
    });
    this.#socket.unref();
    this.#deadline = setTimeout(() => this.#end('no handshake in time', false), handshakeMs).unref();
    this.#socket.on('connect', () => void this.#socket.write(zmtpGreeting()));
    this.#socket.on('data', (chunk) => {
      budget.spend(chunk.length, this.#socket); // First: what is read may end the connection.
      const complaint = this.#reader.push(chunk);
      if (complaint !== null) this.#end(complaint, true);
    });
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#end(error.code ?? error.message, false));
    this.#socket.on('close', () => this.#end('the connection was closed', false));
  }

  send(frames: readonly Uint8Array[]): void {
    if (!this.#isClosed) this.#socket.write(zmtpMessage(frames));
  }

  /** `onClosed` is not called. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#reader.stop();
    clearTimeout(this.#deadline);
    this.#options.budget.forget(this.#socket);
    this.#socket.destroy();
  }

  #end(reason: string, isRefusal: boolean): void {
    if (this.#isClosed) return;
    this.close();
    this.#options.onClosed(reason, isRefusal);
  }

  #onCommand(name: string, body: Buffer): void {
    if (name === 'READY' && !this.#isReady) {
      const { socketType } = this.#options;
      const peer = zmtpSocketType(body);
      if (!peers[socketType].some((type) => type === peer)) {
        this.#end(`it is a ${printable(peer)} socket, not a ${peers[socketType][0]}`, true);
        return;
      }
      this.#isReady = true;
      clearTimeout(this.#deadline);
      this.#options.onReady();
    } else if (name === 'PING') {
      // Two bytes of time to live, then up to 16 to be sent back.
      this.#socket.write(zmtpCommand('PONG', body.subarray(2, 18)));
      if (this.#socket.writableLength > unreadBytesMax) this.#end('it asks, and does not read the answers', true);
    } else if (name === 'ERROR') this.#end('it refuses the connection', true);
  }
}

function printable(text: string): string {
  return text.replace(/[^A-Z]/g, '?') || 'nameless';
}
