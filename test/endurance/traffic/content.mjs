/**
 * What is sent, as a function of who sends it: every request has a token of its own, both bodies repeat it (a stream in every
 * event), and all other bytes follow from it. So both ends can tell, byte by byte and without keeping anything, whether
 * what arrives belongs to the request it claims to belong to.
 */
import { randomOf } from './random.mjs';

const patternBytes = 4 * 1024 * 1024;
/** Letters of base64: nothing that JSON or SSE would have to escape. */
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const pattern = makePattern();
const done = Buffer.from('data: [DONE]\n\n');

function makePattern() {
  const bytes = Buffer.allocUnsafeSlow(patternBytes);
  const random = randomOf(0x9e3779b9);
  for (let at = 0; at < patternBytes; at++) bytes[at] = alphabet.charCodeAt(Math.floor(random() * 64));
  return bytes;
}

/**
 * `length` bytes that two tokens have in common only by chance.
 * @param {number} number of the token
 * @param {number} length at most 3.5 MB
 */
function fillOf(number, length) {
  const start = (Math.imul(number, 2_654_435_761) >>> 0) % (patternBytes - length);
  return pattern.subarray(start, start + length);
}

/**
 * @typedef {object} Plan what one exchange is to be; see `encodePlan`
 * @property {string} token
 * @property {number} number
 * @property {string} model
 * @property {number} fillBytes of the request body; -1: no body at all
 * @property {boolean} isModelLast the model stands behind the filling, as openai-python sends it
 * @property {'stream' | 'plain'} kind
 * @property {'length' | 'chunked' | 'close'} framing of the answer
 * @property {number} eventCount of a stream
 * @property {number} answerBytes filling of a plain answer, or of each event of a stream
 * @property {number} firstDelayMs before the first byte of the answer
 * @property {number} gapMs between two events; 0: as fast as they are taken
 * @property {boolean} isClean the engine does nothing wrong to it
 * @property {string} leave the phase in which the client means to leave; `none`
 */

/** Field names, in lower case, that carry the plan to the engine, so that it needs no other channel. */
export const tokenField = 'x-token';
export const planField = 'x-plan';

/** @param {Plan} plan */
export function encodePlan(plan) {
  return [
    plan.number,
    plan.model,
    plan.fillBytes,
    plan.isModelLast ? 1 : 0,
    plan.kind,
    plan.framing,
    plan.eventCount,
    plan.answerBytes,
    plan.firstDelayMs,
    plan.gapMs,
    plan.isClean ? 1 : 0,
    plan.leave,
  ].join(',');
}

/** @param {string} token @param {string} text @returns {Plan} */
export function decodePlan(token, text) {
  const [number, model, fill, last, kind, framing, events, answer, delay, gap, clean, leave] = text.split(',');
  return {
    token,
    number: Number(number),
    model: model ?? '',
    fillBytes: Number(fill),
    isModelLast: last === '1',
    kind: kind === 'stream' ? 'stream' : 'plain',
    framing: framing === 'length' ? 'length' : framing === 'close' ? 'close' : 'chunked',
    eventCount: Number(events),
    answerBytes: Number(answer),
    firstDelayMs: Number(delay),
    gapMs: Number(gap),
    isClean: clean === '1',
    leave: leave ?? 'none',
  };
}

/** The request body in pieces that are not copied. @param {Plan} plan @returns {Buffer[]} */
export function requestBodyOf(plan) {
  if (plan.fillBytes < 0) return [];
  const model = `"model":"${plan.model}"`;
  const stream = plan.kind === 'stream' ? ',"stream":true' : '';
  const before = `{${plan.isModelLast ? '' : `${model},`}"token":"${plan.token}"${stream},"messages":[{"role":"user","content":"`;
  const after = `"}],"end":"${plan.token}"${plan.isModelLast ? `,${model}` : ''}}`;
  return [Buffer.from(before), fillOf(plan.number, plan.fillBytes), Buffer.from(after)];
}

/** The answer, event by event for a stream: each element is one event. @param {Plan} plan @returns {Buffer[][]} */
export function answerEventsOf(plan) {
  const { token, number } = plan;
  if (plan.kind === 'plain') {
    const before = `{"token":"${token}","choices":[{"message":{"role":"assistant","content":"`;
    return [[Buffer.from(before), fillOf(number, plan.answerBytes), Buffer.from(`"}}],"end":"${token}"}`)]];
  }
  /** @type {Buffer[][]} */
  const events = [];
  const end = Buffer.from('"}}]}\n\n');
  for (let index = 0; index < plan.eventCount; index++) {
    const start = `data: {"token":"${token}","n":${index},"choices":[{"index":0,"delta":{"content":"`;
    events.push([Buffer.from(start), fillOf(number + index, plan.answerBytes), end]);
  }
  events.push([
    Buffer.from(`data: {"token":"${token}","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n`),
    done,
  ]);
  return events;
}

/** @param {readonly Buffer[]} pieces */
export function bytesOf(pieces) {
  let sum = 0;
  for (const piece of pieces) sum += piece.length;
  return sum;
}

/** Compares bytes with what they have to be, as they come. */
export class ByteCheck {
  #pieces;
  #index = 0;
  #offset = 0;
  /** Bytes that were right. */
  position = 0;

  /** @param {readonly Buffer[]} pieces */
  constructor(pieces) {
    this.#pieces = pieces;
  }

  get isWhole() {
    this.#skip();
    return this.#index === this.#pieces.length;
  }

  /**
   * How many of the bytes are right; at the first that is not the check stands still.
   * @param {Buffer} bytes borrowed
   */
  push(bytes) {
    let at = 0;
    while (at < bytes.length) {
      this.#skip();
      const piece = this.#pieces[this.#index];
      if (piece === undefined) break;
      const count = Math.min(piece.length - this.#offset, bytes.length - at);
      if (bytes.compare(piece, this.#offset, this.#offset + count, at, at + count) !== 0) {
        while (piece[this.#offset] === bytes[at]) {
          this.#offset++;
          at++;
        }
        break;
      }
      at += count;
      this.#offset += count;
    }
    this.position += at;
    return at;
  }

  /** Everything is here but [DONE], or a part of it: where an engine does not promise it, the finish reason before it is an end. */
  get isWholeButDone() {
    this.#skip();
    return this.#index === this.#pieces.length - 1 && this.#pieces.at(-1)?.equals(done) === true;
  }

  #skip() {
    while (this.#index < this.#pieces.length && this.#offset === this.#pieces[this.#index]?.length) {
      this.#index++;
      this.#offset = 0;
    }
  }
}
