/**
 * Agents at work: each turn of a conversation sends everything said so far and 1 % more. Sizes and pauses are drawn from a
 * fixed sequence, so that every run asks the same questions at the same instants.
 */
import { createHash } from 'node:crypto';
import { proseOf } from './bodies.mjs';

/** Share of a turn that is the turn before. */
const sharedPrefixRatio = 0.99;
/** After as many turns an agent starts over, with another context. */
export const turnCountMax = 12;
/** [quantile, bytes]; between two of them sizes grow exponentially. The least is a guess: only the upper half is known. */
const sizeQuantiles = /** @type {const} */ ([
  [0, 200_000],
  [0.5, 800_000],
  [0.9, 2_100_000],
  [0.99, 3_400_000],
  [1, 3_600_000],
]);
/** From an answer being due to the next question; log-normal, and half of them below. The spread is a guess. */
const gapP50Ms = 2000;
const gapSigma = 0.7;
const answerTokens = 16;

/** @param {number} quantile 0..1 */
export function bytesAt(quantile) {
  let [fromQuantile, fromBytes] = /** @type {readonly [number, number]} */ (sizeQuantiles[0]);
  for (const [toQuantile, toBytes] of sizeQuantiles.slice(1)) {
    if (quantile <= toQuantile) {
      const share = (quantile - fromQuantile) / (toQuantile - fromQuantile);
      return Math.round(fromBytes * (toBytes / fromBytes) ** share);
    }
    [fromQuantile, fromBytes] = [toQuantile, toBytes];
  }
  return fromBytes;
}

/** Evenly spread over 0..1 and different for each `index`: the fractional parts of multiples of the golden ratio. @param {number} index */
function spread(index) {
  return (0.5 + index * 0.618_033_988_749_895) % 1;
}

/** Pause before a turn, in ms. @param {number} index of all pauses of a run */
export function gapMsAt(index) {
  // Box-Muller, with two sequences that have nothing to do with one another.
  const radius = Math.sqrt(-2 * Math.log(1 - spread(index)));
  return gapP50Ms * Math.exp(gapSigma * radius * Math.cos(2 * Math.PI * ((index * 0.414_213_562_373_095) % 1)));
}

export class Conversation {
  #open;
  #close;
  #isStream;
  #turn = 0;

  /**
   * @param {{ model: string, index: number, isUnderWay?: boolean }} options `index`: of all conversations of a run;
   *   `isUnderWay`: the first question is one from the middle
   */
  constructor({ model, index, isUnderWay = false }) {
    // So that the middle turn has the size that was drawn.
    if (isUnderWay) this.#turn = (index * 5) % turnCountMax;
    const firstBytes = bytesAt(spread(index)) * sharedPrefixRatio ** (turnCountMax / 2 - this.#turn);
    this.#isStream = index % 2 === 1;
    const isModelLast = index % 4 >= 2;
    const fields = {
      ...(isModelLast ? {} : { model }),
      max_tokens: answerTokens,
      ...(this.#isStream ? { stream: true, stream_options: { include_usage: true } } : {}),
    };
    const context = JSON.stringify({ role: 'system', content: proseOf(Math.round(firstBytes), index + 1) });
    /** Everything up to the end of the last message; only ever added to. */
    this.#open = Buffer.from(`${JSON.stringify(fields).slice(0, -1)},"messages":[${context}`);
    this.#close = Buffer.from(isModelLast ? `],"model":${JSON.stringify(model)}}` : ']}');
  }

  get isOver() {
    return this.#turn >= turnCountMax;
  }

  /**
   * The next question. What it costs to make is paid by the caller: ask before it is due.
   * @param {boolean} isOwnEngine its hash of the body is checked
   * @returns {import('./types.d.ts').CheckedRequest}
   */
  next(isOwnEngine) {
    this.#turn++;
    const addedBytes = Math.round(this.#open.length * (1 / sharedPrefixRatio - 1));
    const half = proseOf(addedBytes >> 1, this.#turn);
    const answer = JSON.stringify({ role: 'assistant', content: half });
    const question = JSON.stringify({ role: 'user', content: `Turn ${this.#turn}: ${half}` });
    this.#open = Buffer.concat([this.#open, Buffer.from(`,${answer},${question}`)]);
    const body = Buffer.concat([this.#open, this.#close]);
    return {
      path: '/v1/chat/completions',
      headers: {
        'content-type': 'application/json',
        'x-sim-echo-hash': '1',
        'x-sim-tokens': String(answerTokens),
      },
      body,
      isStream: this.#isStream,
      reference: {
        // Nobody was asked before: the body is a new one each time. The hash and the id say that it is the right answer.
        content: null,
        bodySha256: isOwnEngine ? createHash('sha256').update(body).digest('hex') : null,
      },
    };
  }
}
