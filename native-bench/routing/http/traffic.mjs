/**
 * The client: requests go out when their Spec says, whatever came of those before; a later turn a pause after the answer it
 * goes on from. TTFT counts from the instant a request was due, so a client that is late makes it longer, not shorter.
 */
import { EventSplitter } from '../../../loadtest/client/event-splitter.mjs';
import { HttpConnection } from '../../../loadtest/client/http-connection.mjs';
import { ArrivalQueue } from '../arrival-queue.mjs';
import { Draw } from '../draw.mjs';
import { modelName } from './fleet.mjs';
import { nextMessages, openingMessages } from './prompt-text.mjs';

/** Kept alive and drawn at random, so that gateways, and the shards of each, get equal parts. */
const connectionCount = 64;

/**
 * What the client saw of one request.
 * @typedef {object} Exchange
 * @property {string} id
 * @property {import('../request.mjs').Spec} spec
 * @property {number} dueMs since the start
 * @property {number} sentMs
 * @property {number} endMs
 * @property {number} ttftMs since it was due; -1 without a token
 * @property {number} promptTokens as the engine counted them
 * @property {number} cachedTokens
 * @property {number} completionTokens
 * @property {string} answer
 * @property {string} endpoint the engine's name
 * @property {string} failure empty when the answer was whole
 */

/** @typedef {{ messages: import('./prompt-text.mjs').Message[], before: import('../request.mjs').Spec, answer: string }} Past */

/**
 * Sends all of a workload, to one gateway or in equal parts to several. Resolves when every answer has ended.
 * @param {{ port: number | readonly number[], workload: import('./workloads.mjs').HttpWorkload, seed: number }} options
 * @returns {Promise<Exchange[]>} in the order in which they were due
 */
export function drive({ port, workload, seed }) {
  return new Traffic(typeof port === 'number' ? [port] : port, workload, seed).run();
}

class Traffic {
  #ports;
  #connectionCount = 0;
  #workload;
  #queue;
  #draw;
  /** @type {HttpConnection[]} */
  #idle = [];
  /** @type {Set<HttpConnection>} */
  #all = new Set();
  /** What a later turn goes on from. @type {Map<import('../request.mjs').Spec, Past>} */
  #pasts = new Map();
  /** @type {Exchange[]} */
  #exchanges = [];
  #openCount = 0;
  #startMs = 0;
  /** @type {ReturnType<typeof setTimeout> | null} */
  #timer = null;
  #isOver = false;
  #done = () => {};

  /** @param {readonly number[]} ports @param {import('./workloads.mjs').HttpWorkload} workload @param {number} seed */
  constructor(ports, workload, seed) {
    this.#ports = ports;
    this.#workload = workload;
    this.#queue = new ArrivalQueue(workload.specs);
    this.#draw = new Draw(seed);
  }

  /** @returns {Promise<Exchange[]>} */
  async run() {
    for (let index = 0; index < connectionCount; index++) this.#idle.push(this.#connect());
    const whole = new Promise((resolve) => {
      this.#done = () => resolve(null);
    });
    this.#startMs = performance.now();
    this.#goOn();
    await whole;
    this.#isOver = true;
    for (const connection of this.#all) connection.destroy();
    return this.#exchanges;
  }

  get #nowMs() {
    return performance.now() - this.#startMs;
  }

  /** Sends what is due, and comes back for the next. */
  #goOn() {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    while (this.#queue.nextMs <= this.#nowMs) {
      const dueMs = this.#queue.nextMs;
      this.#send(this.#queue.take(), dueMs);
    }
    if (this.#queue.nextMs < Infinity) {
      this.#timer = setTimeout(() => this.#goOn(), Math.max(0, this.#queue.nextMs - this.#nowMs));
    } else if (this.#openCount === 0) {
      this.#done();
    }
  }

  /** @param {import('../request.mjs').Spec} spec @param {number} dueMs */
  #send(spec, dueMs) {
    const past = this.#pasts.get(spec);
    this.#pasts.delete(spec);
    const messages =
      past === undefined
        ? openingMessages(spec, this.#workload.systemTokens)
        : nextMessages(past.messages, past.answer, past.before, spec);
    const exchange = {
      id: `r${this.#exchanges.length}`,
      spec,
      dueMs,
      sentMs: this.#nowMs,
      endMs: -1,
      ttftMs: -1,
      promptTokens: 0,
      cachedTokens: 0,
      completionTokens: 0,
      answer: '',
      endpoint: '',
      failure: '',
    };
    this.#exchanges.push(exchange);
    this.#openCount++;
    const connection = this.#take();
    const splitter = new EventSplitter();
    let isDone = false;
    connection.send(requestOf(exchange.id, messages, spec.outputTokens), {
      onHead: (status, headers) => {
        exchange.endpoint = headers.get('x-sim-endpoint') ?? '';
        if (status !== 200) throw new Error(`status ${status}`);
      },
      onBody: (bytes, atMs) => {
        splitter.push(bytes, (event) => {
          if (exchange.ttftMs < 0) exchange.ttftMs = atMs - this.#startMs - dueMs;
          if (event === 'data: [DONE]') isDone = true;
          else readEvent(exchange, event);
        });
      },
      onEnd: () => {
        if (!isDone) exchange.failure = 'the stream ended without [DONE]';
        else if (exchange.completionTokens !== spec.outputTokens) exchange.failure = 'the answer is too short';
        if (connection.isReusable) this.#idle.push(connection);
        else connection.destroy();
        this.#ended(exchange, messages);
      },
      onFail: (why) => {
        exchange.failure = why;
        this.#ended(exchange, messages);
      },
    });
  }

  /** A conversation whose answer failed ends there. @param {Exchange} exchange @param {import('./prompt-text.mjs').Message[]} messages */
  #ended(exchange, messages) {
    const { spec, answer, failure } = exchange;
    exchange.endMs = this.#nowMs;
    this.#openCount--;
    const { following } = spec;
    if (following !== null && failure === '') {
      this.#pasts.set(following, { messages, before: spec, answer });
      this.#queue.add(this.#nowMs + following.atMs, following);
    }
    this.#goOn();
  }

  #take() {
    if (this.#idle.length === 0) return this.#connect();
    const at = this.#draw.below(this.#idle.length);
    const connection = this.#idle[at];
    this.#idle[at] = /** @type {HttpConnection} */ (this.#idle.at(-1));
    this.#idle.pop();
    return connection;
  }

  #connect() {
    const port = this.#ports[this.#connectionCount++ % this.#ports.length];
    const connection = new HttpConnection('127.0.0.1', port, (closed) => {
      this.#all.delete(closed);
      const at = this.#idle.indexOf(closed);
      if (at < 0 || this.#isOver) return;
      // The gateway went away while it was idle: another takes its place when one is wanted.
      this.#idle.splice(at, 1);
    });
    this.#all.add(connection);
    return connection;
  }
}

/**
 * @param {string} id
 * @param {readonly import('./prompt-text.mjs').Message[]} messages
 * @param {number} outputTokens
 */
function requestOf(id, messages, outputTokens) {
  const body = Buffer.from(
    JSON.stringify({
      model: modelName,
      messages,
      max_tokens: outputTokens,
      ignore_eos: true,
      stream: true,
      stream_options: { include_usage: true },
    }),
  );
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\nx-request-id: ${id}\r\ncontent-length: ${body.length}\r\n\r\n`;
  return [Buffer.from(head, 'latin1'), body];
}

/** @param {Exchange} exchange @param {string} event */
function readEvent(exchange, event) {
  if (!event.startsWith('data: ')) throw new Error(`not an event: ${event.slice(0, 100)}`);
  const value = JSON.parse(event.slice(6));
  if (value.error !== undefined) throw new Error(`error event: ${event.slice(0, 200)}`);
  exchange.answer += value.choices?.[0]?.delta?.content ?? '';
  if (value.usage === undefined || value.usage === null) return;
  exchange.promptTokens = value.usage.prompt_tokens;
  exchange.completionTokens = value.usage.completion_tokens;
  exchange.cachedTokens = value.usage.prompt_tokens_details?.cached_tokens ?? 0;
}
