import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { ByteSocket } from './byte-socket.ts';
import { type Body, type Head, readBody, readHead } from './message.ts';
import { until } from './until.ts';

/** One connection of the gateway to the upstream. */
export class UpstreamPeer extends ByteSocket {
  /** The next request, whole. */
  async request(): Promise<{ readonly head: Head; readonly body: Body; readonly text: string }> {
    const head = await readHead(this);
    const body = await readBody(this, head);
    return { head, body, text: body.bytes.toString('latin1') };
  }

  head(): Promise<Head> {
    return readHead(this);
  }
}

/** A model server that does nothing by itself: a test takes each connection and answers it byte by byte. */
export class ScriptedUpstream {
  readonly port: number;
  readonly url: string;
  /** All connections ever, in order. */
  readonly peers: UpstreamPeer[] = [];
  readonly #server: Server;
  #takenCount = 0;
  /** Runs for each connection instead of a script in the test. */
  onPeer: ((peer: UpstreamPeer) => Promise<void>) | null = null;

  static async listen(): Promise<ScriptedUpstream> {
    const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new ScriptedUpstream(server);
  }

  private constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    this.url = `http://127.0.0.1:${this.port}`;
    server.on('connection', (socket) => {
      const peer = new UpstreamPeer(socket);
      this.peers.push(peer);
      // A peer whose script was cut short by the end of the connection has done what it could.
      if (this.onPeer !== null) this.onPeer(peer).catch(() => peer.destroy());
    });
  }

  /** The next connection that was not taken yet. */
  async accept(): Promise<UpstreamPeer> {
    await until(() => this.peers.length > this.#takenCount, 'a connection to the upstream');
    return this.peers[this.#takenCount++]!;
  }

  /** Bytes of all connections together: 0 means that nothing was ever forwarded. */
  get receivedBytes(): number {
    return this.peers.reduce((sum, peer) => sum + peer.receivedBytes, 0);
  }

  /** Answers every request on every connection with `answer`. */
  answerAll(answer: string | ((request: { readonly head: Head; readonly text: string }) => string)): void {
    this.onPeer = async (peer) => {
      for (;;) {
        const request = await peer.request();
        peer.send(typeof answer === 'string' ? answer : answer(request));
      }
    };
  }

  /** Takes no more connections: they are refused. */
  stopListening(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const peer of this.peers) peer.destroy();
    });
  }

  close(): void {
    this.#server.close();
    for (const peer of this.peers) peer.destroy();
  }
}
