/**
 * All clients of a run, as one process or in the process of the caller: so many exchanges at once, each with a plan of its
 * own, drawn from the seed. As a child it is told what to do by one message, and reports by messages.
 */
import { HttpConnection } from '../../../loadtest/client/http-connection.mjs';
import { ChaosExchange } from './chaos-exchange.mjs';
import { drawPlan } from './plans.mjs';
import { randomOf } from './random.mjs';

/**
 * @typedef {object} ChaosOrder
 * @property {number} port of the gateway
 * @property {number} seed
 * @property {string} run first part of every token
 * @property {number} exchangeCount
 * @property {number} concurrency
 * @property {number} durationMs 0: until all exchanges are over
 * @property {number} ratePerSecond 0: as fast as they end
 * @property {'chaos' | 'mixed'} mix
 */
/**
 * @typedef {object} ChaosReport
 * @property {number} overCount
 * @property {Record<string, number>} endings
 * @property {Record<string, number>} left by phase: clients that did leave
 * @property {Record<string, number>} refusals by status and code
 * @property {Record<string, number>} losses by what ended the connection
 * @property {number} cleanCount exchanges that neither side meant to disturb
 * @property {number} cleanRightCount
 * @property {Record<string, number>} cleanOther how the others of them ended
 * @property {number} wrongCount
 * @property {string[]} wrong the first few in words
 * @property {number} maxFillBytes
 * @property {number} connectionCount opened
 */

const keptWrongMax = 20;
/** Nothing in a plan takes so long: an exchange that does was forgotten. */
const hungMs = 20_000;
const reportEveryMs = 250;

export class ChaosClient {
  #order;
  #random;
  /** @type {HttpConnection[]} */
  #idle = [];
  /** @type {Set<HttpConnection>} */
  #open = new Set();
  /** @type {Set<ChaosExchange>} */
  #active = new Set();
  #startedCount = 0;
  #startedMs = performance.now();
  /** @type {(() => void) | null} */
  #onAllOver = null;
  authority;
  /** @type {ChaosReport} */
  report = {
    overCount: 0,
    endings: {},
    left: {},
    refusals: {},
    losses: {},
    cleanCount: 0,
    cleanRightCount: 0,
    cleanOther: {},
    wrongCount: 0,
    wrong: [],
    maxFillBytes: 0,
    connectionCount: 0,
  };

  /** @param {ChaosOrder} order */
  constructor(order) {
    this.#order = order;
    this.#random = randomOf(order.seed);
    this.authority = `127.0.0.1:${order.port}`;
  }

  /** Resolves when the last exchange is over and every connection closed. */
  async run() {
    const allOver = new Promise((resolve) => (this.#onAllOver = () => resolve(undefined)));
    const watch = setInterval(() => this.#checkHung(), 1000);
    const { concurrency, ratePerSecond } = this.#order;
    this.#startedMs = performance.now();
    if (ratePerSecond === 0) for (let slot = 0; slot < concurrency; slot++) this.#next();
    const pace = ratePerSecond === 0 ? null : setInterval(() => this.#keepPace(), 5);
    await allOver;
    clearInterval(watch);
    if (pace !== null) clearInterval(pace);
    for (const connection of this.#open) connection.destroy();
  }

  /** An idle connection, or a new one. */
  take() {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    this.report.connectionCount++;
    const connection = new HttpConnection('127.0.0.1', this.#order.port, (closed) => {
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

  get #isFinished() {
    const { exchangeCount, durationMs } = this.#order;
    return this.#startedCount >= exchangeCount || (durationMs > 0 && performance.now() - this.#startedMs >= durationMs);
  }

  #keepPace() {
    const due = ((performance.now() - this.#startedMs) / 1000) * this.#order.ratePerSecond;
    while (this.#startedCount < due && this.#active.size < this.#order.concurrency && !this.#isFinished) this.#next();
    if (this.#isFinished && this.#active.size === 0) this.#onAllOver?.();
  }

  #next() {
    if (this.#isFinished) {
      if (this.#active.size === 0) this.#onAllOver?.();
      return;
    }
    const { run, mix } = this.#order;
    // One that leaves at once is over before it is made: its place is taken on a later turn all the same.
    const draw = drawPlan({ random: this.#random, number: this.#startedCount++, run, mix });
    this.report.maxFillBytes = Math.max(this.report.maxFillBytes, draw.plan.fillBytes);
    const exchange = new ChaosExchange(this, draw, (over, ending, detail) => this.#onOver(over, ending, detail));
    if (!exchange.isOver) this.#active.add(exchange);
  }

  /**
   * @param {ChaosExchange} exchange
   * @param {import('./chaos-exchange.mjs').Ending} ending
   * @param {string} detail
   */
  #onOver(exchange, ending, detail) {
    const { report } = this;
    const { draw } = exchange;
    this.#active.delete(exchange);
    report.overCount++;
    count(report.endings, ending);
    if (ending === 'left') count(report.left, draw.leave);
    if (ending === 'refused') count(report.refusals, detail);
    if (ending === 'lost') count(report.losses, detail);
    if (ending === 'right' && draw.leave === 'after') count(report.left, 'after');
    if (draw.leave === 'none' && draw.plan.isClean) {
      report.cleanCount++;
      if (ending === 'right') report.cleanRightCount++;
      else count(report.cleanOther, detail === '' ? ending : `${ending} ${detail}`);
    }
    if (ending === 'wrong') {
      report.wrongCount++;
      if (report.wrong.length < keptWrongMax)
        report.wrong.push(`${draw.plan.token}: ${detail} (${JSON.stringify(draw)})`);
    }
    // On a later turn: a plan that ends at once must not grow the stack.
    if (this.#order.ratePerSecond === 0) setImmediate(() => this.#next());
  }

  #checkHung() {
    const oldestMs = performance.now() - hungMs;
    for (const exchange of this.#active) if (exchange.startedMs < oldestMs) exchange.giveUp();
  }
}

/** @param {Record<string, number>} counts @param {string} key */
function count(counts, key) {
  counts[key] = (counts[key] ?? 0) + 1;
}

/** As a child process. */
async function serve() {
  /** @type {ChaosOrder} */
  const order = await new Promise((resolve) =>
    process.once('message', (message) => resolve(/** @type {ChaosOrder} */ (message))),
  );
  const client = new ChaosClient(order);
  const timer = setInterval(() => process.send?.({ report: client.report }), reportEveryMs);
  await client.run();
  clearInterval(timer);
  process.send?.({ report: client.report, isOver: true }, () => process.disconnect());
}

if (process.argv[2] === '--child') {
  process.once('disconnect', () => process.exit());
  await serve();
}
