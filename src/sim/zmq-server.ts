/**
 * The listening side of ZeroMQ, as far as an engine needs it: a PUB socket that sends each subscriber what it asked for, and a
 * ROUTER socket that answers questions. ZMTP 3.0, mechanism NULL.
 */
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { subscribeByte, zmtpCommand, zmtpGreeting, zmtpMessage, ZmtpReader, zmtpReady } from '../core/index.ts';

export interface ZmqServerOptions {
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  readonly socketType: 'PUB' | 'ROUTER';
  /** A message for a ROUTER, without the sender's identity; `reply` sends one back to it. */
  readonly onQuestion?: (frames: readonly Buffer[], reply: (frames: readonly Uint8Array[]) => void) => void;
}

const messageBytesMax = 64 * 1024;
/** Beyond it a subscriber that does not read loses messages, as with the high-water mark of a PUB socket. */
const unsentBytesMax = 8 * 1024 * 1024;
const unsubscribeByte = 0;

export class ZmqServer {
  readonly #options: ZmqServerOptions;
  readonly #server: Server;
  readonly #peers = new Set<Peer>();

  constructor(options: ZmqServerOptions) {
    this.#options = options;
    this.#server = createServer({ noDelay: true }, (socket) => this.#onSocket(socket));
  }

  /** Resolves with the port; rejects with the listen error. */
  listen(): Promise<number> {
    const { host, port } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port }, () => {
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  get subscriberCount(): number {
    let count = 0;
    for (const { topics } of this.#peers) if (topics.length > 0) count++;
    return count;
  }

  /** To every subscriber of a topic that the first frame begins with. */
  publish(frames: readonly Uint8Array[]): void {
    const message = zmtpMessage(frames);
    const topic = Buffer.from(frames[0]!);
    for (const { socket, topics } of this.#peers) {
      const isWanted = topics.some((wanted) => topic.subarray(0, wanted.length).equals(wanted));
      if (isWanted && socket.writableLength < unsentBytesMax) socket.write(message);
    }
  }

  close(): Promise<void> {
    for (const { socket } of this.#peers) socket.destroy();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #onSocket(socket: Socket): void {
    const peer: Peer = { socket, topics: [] };
    this.#peers.add(peer);
    const reader = new ZmtpReader(
      {
        onGreeting: () => void socket.write(zmtpReady(this.#options.socketType)),
        onCommand: (name, body) => {
          // ZMTP 3.1 has commands for what 3.0 says in messages.
          if (name === 'SUBSCRIBE') peer.topics.push(Buffer.from(body));
          else if (name === 'PING') socket.write(zmtpCommand('PONG', body.subarray(2)));
        },
        onMessage: (frames) => this.#onMessage(peer, frames),
      },
      messageBytesMax,
    );
    socket.write(zmtpGreeting());
    socket.on('data', (chunk) => {
      if (reader.push(chunk) !== null) socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      reader.stop();
      this.#peers.delete(peer);
    });
  }

  #onMessage(peer: Peer, frames: readonly Buffer[]): void {
    const { socketType, onQuestion } = this.#options;
    if (socketType === 'ROUTER') {
      onQuestion?.(frames, (answer) => {
        if (!peer.socket.destroyed) peer.socket.write(zmtpMessage(answer));
      });
      return;
    }
    const [first] = frames;
    const topic = Buffer.from(first!.subarray(1));
    if (first![0] === subscribeByte) peer.topics.push(topic);
    else if (first![0] === unsubscribeByte) peer.topics = peer.topics.filter((each) => !each.equals(topic));
  }
}

interface Peer {
  readonly socket: Socket;
  /** What the topics it wants begin with. */
  topics: Buffer[];
}
