/** One request of an open-loop client, with every character of its answer checked. */
import { contentOfJson, contentWrongOf, headWrongOf, partsOfEvent } from '../answers.mjs';
import { EventSplitter } from './event-splitter.mjs';

/** An answer that is not a stream, or an error, is kept whole up to here. */
const keptBytesMax = 4_000_000;

/**
 * @typedef {object} Outcome
 * @property {number} status 0 when there was no response head
 * @property {boolean} isComplete the body is whole
 * @property {string | null} wrong what is wrong with the answer, or why there is none; null when it is right
 * @property {string | undefined} retryAfter
 * @property {number} endMs
 * @property {number} receivedBytes
 */
/**
 * @typedef {object} ExchangeEvents
 * @property {(atMs: number, number: number) => void} [onText] an event with text came; `number` counts from 0
 * @property {(outcome: Outcome) => void} onOutcome called once, also after `leave`
 */

export class CheckedExchange {
  #client;
  #request;
  #events;
  #connection;
  #receivedBefore;
  #id;
  #splitter = new EventSplitter();
  #status = 0;
  /** @type {import('./http-connection.mjs').Headers} */
  #headers = new Map();
  /** @type {Buffer[]} */
  #kept = [];
  #keptBytes = 0;
  #content = '';
  #textCount = 0;
  /** By the usage that the last event told. */
  #tokens = 0;
  #isDone = false;
  #isOver = false;
  /** @type {string | null} */
  #headWrong = null;
  sentBytes;

  /**
   * @param {import('./client.mjs').Client} client
   * @param {import('../types.d.ts').CheckedRequest} request
   * @param {ExchangeEvents} events
   * @param {number} bodyBytes how much of the body is sent; the rest never comes
   */
  constructor(client, request, events, bodyBytes = request.body.length) {
    this.#client = client;
    this.#request = request;
    this.#events = events;
    this.#connection = client.take();
    this.#receivedBefore = this.#connection.receivedBytes;
    const { id, head, body } = client.encode(request);
    this.#id = id;
    this.sentBytes = head.length + bodyBytes;
    this.#connection.send([head, body.subarray(0, bodyBytes)], {
      onHead: (status, headers) => this.#onHead(status, headers),
      onBody: (bytes, atMs) => this.#onBody(bytes, atMs),
      onEnd: () => this.#onEnd(),
      onFail: (why) => this.#finish(false, this.#isRefused ? `status ${this.#status}: ${why}` : why),
    });
  }

  /** The client goes away, wherever the exchange is. */
  leave() {
    if (!this.#isOver) this.#connection.destroy();
  }

  get #isRefused() {
    return this.#status !== 0 && this.#status !== 200;
  }

  /**
   * @param {number} status
   * @param {import('./http-connection.mjs').Headers} headers
   */
  #onHead(status, headers) {
    this.#status = status;
    this.#headers = headers;
    if (this.#isRefused) return;
    this.#headWrong = headWrongOf(this.#request, (name) => headers.get(name));
    const echoed = headers.get('x-request-id');
    if (echoed !== undefined && echoed !== this.#id) {
      this.#headWrong = `the answer to another request: x-request-id ${echoed}, not ${this.#id}`;
    }
  }

  /**
   * @param {Buffer} bytes
   * @param {number} atMs
   */
  #onBody(bytes, atMs) {
    if (this.#request.isStream && !this.#isRefused) {
      this.#splitter.push(bytes, (event) => this.#onEvent(event, atMs));
      return;
    }
    this.#keptBytes += bytes.length;
    if (this.#keptBytes > keptBytesMax) throw new Error(`an answer of more than ${keptBytesMax} bytes`);
    this.#kept.push(Buffer.from(bytes));
  }

  /**
   * @param {string} event
   * @param {number} atMs
   */
  #onEvent(event, atMs) {
    if (this.#isDone) throw new Error('an event after [DONE]');
    if (event === 'data: [DONE]') {
      this.#isDone = true;
      return;
    }
    const { text, tokens } = partsOfEvent(event);
    this.#tokens = tokens ?? this.#tokens;
    if (text === '') return;
    this.#content += text;
    this.#events.onText?.(atMs, this.#textCount++);
  }

  #onEnd() {
    const wrong = this.#wrong();
    this.#client.give(this.#connection);
    this.#finish(true, wrong);
  }

  #wrong() {
    const kept = () => Buffer.concat(this.#kept).toString();
    if (this.#isRefused) return `status ${this.#status}: ${kept().slice(0, 200)}`;
    if (this.#headWrong !== null) return this.#headWrong;
    try {
      if (!this.#request.isStream) return contentWrongOf(this.#request.reference, contentOfJson(kept()));
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
    if (!this.#isDone || !this.#splitter.isAtBoundary) return 'a stream without [DONE] ended cleanly';
    if (this.#textCount === 0) return 'a stream without text ended cleanly';
    const { reference } = this.#request;
    if (reference.tokens !== undefined && this.#tokens !== reference.tokens) {
      return `an answer of ${this.#tokens} tokens by its usage, not of ${reference.tokens}`;
    }
    if (reference.isLearned === true) reference.content ??= this.#content;
    return contentWrongOf(reference, this.#content);
  }

  /**
   * @param {boolean} isComplete
   * @param {string | null} wrong
   */
  #finish(isComplete, wrong) {
    this.#isOver = true;
    this.#events.onOutcome({
      status: this.#status,
      isComplete,
      wrong,
      retryAfter: this.#headers.get('retry-after'),
      endMs: performance.now(),
      receivedBytes: this.#connection.receivedBytes - this.#receivedBefore,
    });
  }
}
