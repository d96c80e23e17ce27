/** One client with one request, for measures in which each step is waited for. */
import { HttpConnection } from '../../../loadtest/client/http-connection.mjs';
import { encodePlan, planField, requestBodyOf, tokenField } from './content.mjs';

let lastNumber = 0;

/** @param {Partial<import('./content.mjs').Plan>} plan @returns {import('./content.mjs').Plan} */
export function planOf(plan) {
  const number = ++lastNumber;
  return {
    token: `s-${number}`,
    number,
    model: 'main',
    fillBytes: 1000,
    isModelLast: false,
    kind: 'stream',
    framing: 'chunked',
    eventCount: 10,
    answerBytes: 20,
    firstDelayMs: 0,
    gapMs: 0,
    isClean: true,
    leave: 'none',
    ...plan,
  };
}

/** @param {import('./content.mjs').Plan} plan @param {number} bodyShare how much of the body is sent @returns {Buffer[]} */
export function wireOf(plan, bodyShare = 1) {
  const body = Buffer.concat(requestBodyOf(plan));
  const head =
    `POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\nx-request-id: ${plan.token}\r\n` +
    `${tokenField}: ${plan.token}\r\n${planField}: ${encodePlan(plan)}\r\ncontent-length: ${body.length}\r\n\r\n`;
  return [Buffer.from(head), body.subarray(0, Math.ceil(body.length * bodyShare))];
}

export class SingleClient {
  connection;
  status = 0;
  receivedBytes = 0;
  /** Null while nothing ended it; '' when the answer was whole. @type {string | null} */
  ended = null;
  endedMs = 0;
  /** @type {(() => void)[]} */
  #waiting = [];

  /**
   * @param {number} port
   * @param {readonly Buffer[]} wire
   * @param {(bytes: Buffer) => void} onBody
   */
  constructor(port, wire, onBody = () => {}) {
    this.connection = new HttpConnection('127.0.0.1', port, () => {});
    this.connection.send(wire, {
      onHead: (status) => (this.status = status),
      onBody: (bytes) => {
        this.receivedBytes += bytes.length;
        onBody(bytes);
        this.#wake();
      },
      onEnd: () => this.#onEnded(''),
      onFail: (why) => this.#onEnded(why),
    });
  }

  /** The first bytes of an answer's body are here, or none will come. */
  async firstBytes() {
    while (this.receivedBytes === 0 && this.ended === null) await this.#next();
  }

  async over() {
    while (this.ended === null) await this.#next();
  }

  /** @param {string} why */
  #onEnded(why) {
    this.ended = why;
    this.endedMs = performance.now();
    this.#wake();
  }

  #next() {
    return new Promise((resolve) => this.#waiting.push(() => resolve(undefined)));
  }

  #wake() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
