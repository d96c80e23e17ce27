/** Well-behaved clients at a steady rate, whose every answer is checked: those who should not notice what others do. */
import { HttpConnection } from '../../../loadtest/client/http-connection.mjs';
import { ChaosExchange } from './chaos-exchange.mjs';
import { planOf } from './single-client.mjs';

const pollMs = 5;

/**
 * @typedef {object} SteadyAnswer
 * @property {number} dueMs
 * @property {number} ms from then to its end
 * @property {boolean} isStream
 * @property {import('./chaos-exchange.mjs').Ending} ending
 * @property {string} detail
 */

export class SteadyLoad {
  #port;
  #planFor;
  #ratePerSecond;
  /** @type {HttpConnection[]} */
  #idle = [];
  /** @type {Set<HttpConnection>} */
  #open = new Set();
  #activeCount = 0;
  #startedMs = performance.now();
  #sentCount = 0;
  #timer;
  authority = 'gateway';
  /** @type {SteadyAnswer[]} */
  answers = [];

  /**
   * Starts at once.
   * @param {{ port: number, ratePerSecond: number, planFor: (number: number) => Partial<import('./content.mjs').Plan> }} options
   */
  constructor({ port, ratePerSecond, planFor }) {
    this.#port = port;
    this.#ratePerSecond = ratePerSecond;
    this.#planFor = planFor;
    this.#timer = setInterval(() => this.#keepPace(), pollMs);
  }

  /** No more are sent; resolves when the last answer is here. */
  async stop() {
    clearInterval(this.#timer);
    while (this.#activeCount > 0) await new Promise((resolve) => setTimeout(resolve, pollMs));
    for (const connection of this.#open) connection.destroy();
    return this.answers;
  }

  /** An idle connection, or a new one. */
  take() {
    // The acceptor closes kept-alive connections after 8 s or more without notice: the most recent one is the safest.
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    const connection = new HttpConnection('127.0.0.1', this.#port, (closed) => {
      this.#open.delete(closed);
      const at = this.#idle.indexOf(closed);
      if (at !== -1) this.#idle.splice(at, 1);
    });
    this.#open.add(connection);
    return connection;
  }

  /** @param {HttpConnection} connection */
  give(connection) {
    if (connection.isReusable) this.#idle.push(connection);
    else connection.destroy();
  }

  #keepPace() {
    const nowMs = performance.now();
    for (;;) {
      const dueMs = this.#startedMs + (this.#sentCount * 1000) / this.#ratePerSecond;
      if (dueMs > nowMs) return;
      this.#send(dueMs);
    }
  }

  /** @param {number} dueMs */
  #send(dueMs) {
    const plan = planOf(this.#planFor(this.#sentCount++));
    const draw = {
      plan,
      leave: /** @type {const} */ ('none'),
      how: /** @type {const} */ ('fin'),
      delayMs: 0,
      share: 1,
      isChunked: false,
      uploadGapMs: 0,
      readGapMs: 0,
    };
    this.#activeCount++;
    void new ChaosExchange(this, draw, (_, ending, detail) => {
      this.#activeCount--;
      this.answers.push({ dueMs, ms: performance.now() - dueMs, isStream: plan.kind === 'stream', ending, detail });
    });
  }
}

/** 3 KB chats, half of them streams that come at once. @param {number} number @returns {Partial<import('./content.mjs').Plan>} */
export function smallChat(number) {
  return {
    fillBytes: 3000,
    kind: number % 2 === 0 ? 'plain' : 'stream',
    framing: number % 2 === 0 ? 'length' : 'chunked',
    eventCount: 20,
    answerBytes: number % 2 === 0 ? 1000 : 20,
  };
}
