import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fieldOf, type Head } from '../rig/message.ts';
import { UpstreamPeer } from '../rig/scripted-upstream.ts';

/** What an engine did with one request: the second of the three logs. */
export interface Execution {
  /** `x-request-id`. */
  readonly id: string;
  readonly peer: UpstreamPeer;
  readonly engine: string;
  readonly atMs: number;
  /** False when the connection ended within the request. */
  readonly isRequestWhole: boolean;
  outcome: 'running' | 'answered' | 'failed' | 'abandoned';
  /** When the gateway's end of the connection was seen while the answer ran; 0: it was not. */
  abandonedMs: number;
}

/** One request at an engine, and the connection it came on. */
export interface Turn {
  readonly peer: UpstreamPeer;
  readonly head: Head;
  readonly text: string;
  /** What the client's prompt says: every piece of the answer repeats it, so that a stray byte has a name. */
  readonly key: string;
  readonly tokens: number;
  readonly isStream: boolean;
  readonly execution: Execution;
  readonly engine: Engine;
}

export type Behaviour = (turn: Turn) => Promise<void>;

export const streamHead = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';

export function chunkOf(text: string): string {
  return `${Buffer.byteLength(text, 'latin1').toString(16)}\r\n${text}\r\n`;
}

export function tokenEvent(key: string, index: number): string {
  return `data: {"choices":[{"index":0,"delta":{"content":"${key}.${index} "}}]}\n\n`;
}

const lastEvent = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n';

/** The text of a whole answer: `k7.0 k7.1 ...`. */
export function answerOf(key: string, tokens: number): string {
  return Array.from({ length: tokens }, (_, index) => `${key}.${index} `).join('');
}

/** Answers as an engine does, one event every `gapMs`. */
export function speak(gapMs = 0): Behaviour {
  return async (turn) => {
    const { peer, key, tokens } = turn;
    if (!turn.isStream) {
      if (gapMs > 0) await sleep(gapMs);
      const message = { role: 'assistant', content: answerOf(key, tokens) };
      const body = JSON.stringify({ choices: [{ index: 0, message, finish_reason: 'stop' }] });
      peer.send(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
      return;
    }
    peer.send(streamHead);
    for (let index = 0; index < tokens && !peer.isEnded; index++) {
      peer.send(chunkOf(tokenEvent(key, index)));
      if (gapMs > 0) await sleep(gapMs);
    }
    if (!peer.isEnded) peer.send(`${chunkOf(lastEvent)}${chunkOf('data: [DONE]\n\n')}0\r\n\r\n`);
  };
}

/** Sends a stream's head and its first `tokens` events. */
export function begin({ peer, key }: Turn, tokens: number): void {
  peer.send(streamHead);
  for (let index = 0; index < tokens; index++) peer.send(chunkOf(tokenEvent(key, index)));
}

/** A status with a JSON error, as engines refuse. */
export function refuse(status: number, fields: readonly string[] = []): Behaviour {
  return ({ peer }) => {
    const body = '{"error":{"message":"refused","type":"server_error","code":null}}';
    const head = [
      `HTTP/1.1 ${status} No`,
      'content-type: application/json',
      ...fields,
      `content-length: ${body.length}`,
    ];
    peer.send(`${head.join('\r\n')}\r\n\r\n${body}`);
    return Promise.resolve();
  };
}

/** Never answers; over when the gateway leaves. */
export const silence: Behaviour = ({ peer }) => peer.ended();

/** An engine whose behaviour a fault sets, and which writes down what it was asked. */
export class Engine {
  readonly name: string;
  readonly executions: Execution[] = [];
  behave: Behaviour = speak();
  /** All connections ever, in order. */
  readonly peers: UpstreamPeer[] = [];
  #server: Server | null = null;
  #port = 0;

  static async start(name: string): Promise<Engine> {
    const engine = new Engine(name);
    await engine.listen();
    return engine;
  }

  private constructor(name: string) {
    this.name = name;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Requests that are being answered. */
  get activeCount(): number {
    return this.executions.filter(({ outcome }) => outcome === 'running').length;
  }

  get openPeers(): readonly UpstreamPeer[] {
    return this.peers.filter((peer) => !peer.isEnded && !peer.socket.destroyed);
  }

  /** On the port it had before, if it had one. */
  async listen(): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      const peer = new UpstreamPeer(socket);
      this.peers.push(peer);
      this.#serve(peer).catch(() => {
        const last = this.executions.findLast((each) => each.peer === peer);
        if (last?.outcome === 'running') last.outcome = 'abandoned';
        peer.destroy();
      });
    });
    server.listen(this.#port, '127.0.0.1', 4096);
    await once(server, 'listening');
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
  }

  /** New connections are refused, and those that were are reset: what is left of a killed process. */
  async die(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = once(server, 'close');
    server.close();
    for (const peer of this.openPeers) peer.reset();
    await closed;
  }

  async #serve(peer: UpstreamPeer): Promise<void> {
    for (;;) {
      const { head, body, text } = await peer.request();
      const execution: Execution = {
        id: fieldOf(head, 'x-request-id') ?? '',
        peer,
        engine: this.name,
        atMs: performance.now(),
        isRequestWhole: body.isComplete,
        outcome: 'running',
        abandonedMs: 0,
      };
      this.executions.push(execution);
      const turn: Turn = {
        peer,
        head,
        text,
        key: /"k\d+x"/.exec(text)?.[0].slice(1, -1) ?? '',
        tokens: Number(/"max_tokens":(\d+)/.exec(text)?.[1] ?? 4),
        isStream: text.includes('"stream":true'),
        execution,
        engine: this,
      };
      if (!body.isComplete) execution.outcome = 'abandoned';
      else await this.behave(turn);
      if (peer.isEnded) {
        if (execution.outcome === 'running') execution.outcome = 'abandoned';
        execution.abandonedMs = peer.endedMs;
        peer.destroy();
        return;
      }
      if (execution.outcome === 'running') execution.outcome = 'answered';
      if (peer.socket.destroyed || peer.socket.writableEnded) return;
    }
  }
}
