import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { EndedEarly } from '../rig/byte-socket.ts';
import { fieldOf, readResponse, requestText, type Response } from '../rig/message.ts';
import { RawClient } from '../rig/raw-client.ts';
import { answerOf } from './engine.ts';

/** One request of a client and what came of it: the first of the three logs. */
export interface Asked {
  readonly id: string;
  readonly key: string;
  readonly isStream: boolean;
  readonly tokens: number;
  readonly startMs: number;
  endMs: number;
  /** 0: no response head. */
  status: number;
  /** `error.code` of an error answer or of the last event; empty for none. */
  code: string;
  retryAfter: number;
  /** The body is complete by its framing, and a stream by its own end. */
  isWhole: boolean;
  /** What is wrong with the bytes; null: they are this request's, as far as they go. */
  wrong: string | null;
  /** Why there is no response: `ECONNREFUSED`, `ended`. */
  failure: string;
  /** The client itself went away; nothing is expected of its answer. */
  isAbandoned: boolean;
  /** No record is expected of it: the process that served it was killed. */
  mayBeLost: boolean;
  text: string;
}

export interface AskOptions {
  readonly model?: string;
  readonly isStream?: boolean;
  readonly tokens?: number;
  /** Bytes of prompt beside the key. */
  readonly promptBytes?: number;
  readonly path?: string;
  readonly fields?: readonly string[];
  readonly localAddress?: string;
}

let askedCount = 0;

export function clientTo(port: number, localAddress?: string): Promise<RawClient> {
  const socket = connect({
    host: '127.0.0.1',
    port,
    allowHalfOpen: true,
    ...(localAddress === undefined ? {} : { localAddress }),
  });
  // Without `end` handling of its own a socket that nobody reads any more must not end the suite.
  socket.on('error', () => {});
  return once(socket, 'connect').then(() => new RawClient(socket));
}

/** Clients of one row. Every request has an id and a key of its own, which the engine repeats in all it says. */
export class Clients {
  readonly asked: Asked[] = [];
  readonly #port: () => number;
  readonly #open = new Set<RawClient>();

  constructor(port: () => number) {
    this.#port = port;
  }

  /** A request as it goes out, noted as asked. */
  request(options: AskOptions = {}): { readonly asked: Asked; readonly wire: string } {
    const { isStream = false, tokens = 4, promptBytes = 0, fields = [] } = options;
    const number = ++askedCount;
    const asked: Asked = {
      id: `fault-${process.pid}-${number}`,
      key: `k${number}x`,
      isStream,
      tokens,
      startMs: performance.now(),
      endMs: 0,
      status: 0,
      code: '',
      retryAfter: 0,
      isWhole: false,
      wrong: null,
      failure: '',
      isAbandoned: false,
      mayBeLost: false,
      text: '',
    };
    this.asked.push(asked);
    const prompt =
      promptBytes === 0 ? '' : `,{"role":"user","content":"${'water '.repeat(Math.ceil(promptBytes / 6))}"}`;
    const body = `{"model":"${options.model ?? 'm'}","max_tokens":${tokens}${isStream ? ',"stream":true' : ''},"messages":[{"role":"user","content":"${asked.key}"}${prompt}]}`;
    const wire = requestText(
      'POST',
      options.path ?? '/v1/chat/completions',
      ['content-type: application/json', `x-request-id: ${asked.id}`, `x-sim-tokens: ${tokens}`, ...fields],
      body,
    );
    return { asked, wire };
  }

  async connect(localAddress?: string): Promise<RawClient> {
    const client = await clientTo(this.#port(), localAddress);
    this.#open.add(client);
    client.socket.once('close', () => this.#open.delete(client));
    return client;
  }

  /** One request on a connection of its own, to its end. Never rejects. */
  async ask(options: AskOptions = {}): Promise<Asked> {
    const { asked, wire } = this.request(options);
    try {
      const client = await this.connect(options.localAddress);
      client.send(wire);
      await this.finish(client, asked);
      client.destroy();
    } catch (error) {
      asked.failure = (error as NodeJS.ErrnoException).code ?? String(error);
      asked.endMs = performance.now();
    }
    return asked;
  }

  /** Reads the answer of what was sent, and judges it. */
  async finish(client: RawClient, asked: Asked): Promise<Asked> {
    try {
      judge(asked, await readResponse(client));
    } catch (error) {
      asked.failure = error instanceof EndedEarly ? 'ended' : String(error);
      if (!(error instanceof EndedEarly)) asked.wrong = String(error);
    }
    asked.endMs = performance.now();
    return asked;
  }

  /** The client of a request goes away; its half of the log says so. */
  leave(client: RawClient, asked: Asked, how: 'FIN' | 'RST'): void {
    asked.isAbandoned = true;
    asked.endMs = performance.now();
    if (how === 'RST') client.reset();
    else client.destroy();
  }

  /** Open loop: `rate` requests a second for `forMs`; resolves when all have their answer. */
  async load(rate: number, forMs: number, options: AskOptions = {}): Promise<Asked[]> {
    const gapMs = 1000 / rate;
    const startMs = performance.now();
    const all: Promise<Asked>[] = [];
    for (let number = 0; number * gapMs < forMs; number++) {
      const dueMs = startMs + number * gapMs;
      if (dueMs > performance.now()) await sleep(dueMs - performance.now());
      all.push(this.ask(options));
    }
    return Promise.all(all);
  }

  close(): void {
    for (const client of this.#open) client.destroy();
  }
}

const dataLines = /^data: (.*)$/gm;

function judge(asked: Asked, response: Response): void {
  asked.status = response.status;
  asked.text = response.text;
  asked.retryAfter = Number(fieldOf(response.head, 'retry-after') ?? 0);
  const echoed = fieldOf(response.head, 'x-request-id');
  if (echoed !== undefined && echoed !== asked.id) asked.wrong = `the answer to ${echoed}`;
  if (response.status !== 200) {
    asked.isWhole = response.isComplete;
    asked.code = /"code":"(\w+)"/.exec(response.text)?.[1] ?? '';
    return;
  }
  const isOfSim = fieldOf(response.head, 'x-sim-endpoint') !== undefined;
  if (asked.isStream) judgeStream(asked, response, isOfSim);
  else {
    asked.isWhole = response.isComplete;
    const wanted = answerOf(asked.key, asked.tokens);
    if (asked.isWhole && !isOfSim && contentOf(response.text) !== wanted) {
      asked.wrong = `another answer: ${response.text.slice(0, 120)}`;
    }
  }
}

function judgeStream(asked: Asked, response: Response, isOfSim: boolean): void {
  let content = '';
  let isDone = false;
  for (const [, data] of response.text.matchAll(dataLines)) {
    if (data === '[DONE]') isDone = true;
    else if (data!.includes('"error"')) asked.code = /"code":"(\w+)"/.exec(data!)?.[1] ?? 'error';
    else content += /"content":"([^"]*)"/.exec(data!)?.[1] ?? '';
  }
  asked.isWhole = response.isComplete && isDone && asked.code === '';
  if (isDone && asked.code !== '') asked.wrong = 'an error event and [DONE]';
  if (response.isComplete && asked.code !== '') asked.wrong = 'an error event and a clean end';
  if (isOfSim) return;
  const wanted = answerOf(asked.key, asked.tokens);
  if (!wanted.startsWith(content)) asked.wrong = `another answer: ${content.slice(0, 120)}`;
  else if (asked.isWhole && content !== wanted)
    asked.wrong = `an answer cut short ended cleanly: ${content.slice(-60)}`;
}

function contentOf(text: string): string {
  try {
    const page = JSON.parse(text) as { choices?: { message?: { content?: string } }[] };
    return page.choices?.[0]?.message?.content ?? '';
  } catch {
    return '';
  }
}
