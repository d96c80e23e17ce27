/** One request of a client that may leave at any moment, and whose answer is compared byte by byte with the one it must be. */
import { answerEventsOf, ByteCheck, encodePlan, planField, requestBodyOf, tokenField } from './content.mjs';

/** @typedef {import('./plans.mjs').ClientPlan} ClientPlan */
/** @typedef {import('../../../loadtest/client/http-connection.mjs').HttpConnection} HttpConnection */
/** @typedef {ReadonlyMap<string, string>} Headers by name in lower case */
/**
 * How it ended. `right`: whole, and every byte as it must be. `refused`: another status, its body belongs to the request.
 * `cut`: the connection ended visibly before the answer did, all bytes until then right. `error_event`: as `cut`, told by
 * the stream's last event. `left`: the client went first. `wrong`: anything else, the gravest fault there is. `lost`: the
 * connection ended before any byte of an answer.
 *
 * @typedef {'right' | 'refused' | 'cut' | 'error_event' | 'left' | 'wrong' | 'lost'} Ending
 */

const refusalBytesMax = 10_000;
/**
 * The last event of a stream that broke; half an event before it is closed first. How it begins may be what the next event
 * would have begun with too, so that it is told from the right bytes only further on.
 */
const opening = '\n\ndata: {"';
const errorEventStarts = Array.from({ length: opening.length + 1 }, (_, from) => `${opening.slice(from)}error":{`);
const errorEventEnd = /"code":"[a-z_]+".*\}\}\n\n(?::\n\n)*$/s;

export class ChaosExchange {
  #client;
  #onOver;
  /** @type {HttpConnection} */
  #connection;
  #check;
  /** @type {ReturnType<typeof setTimeout> | null} */
  #timer = null;
  /** @type {string | null} */
  #wrong = null;
  /** Bytes that are not those of the answer: an error event or the body of a refusal. */
  #other = '';
  #hasReceived = false;
  #isOver = false;
  /** The request has gone out as a whole: what is sent next on the connection is the next one. */
  #isSent = false;
  /** The acceptor's library answers a head that is cut in some places with 505 by itself (docs/acceptor.md). */
  #isLibrarys = false;
  /** Body bytes of the answer. */
  #receivedBytes = 0;
  #leaveAtBytes;
  status = 0;
  draw;
  startedMs = performance.now();

  /**
   * @param {{ take(): HttpConnection, give(connection: HttpConnection): void, authority: string }} client
   * @param {ClientPlan} draw
   * @param {(exchange: ChaosExchange, ending: Ending, detail: string) => void} onOver called once
   */
  constructor(client, draw, onOver) {
    this.#client = client;
    this.draw = draw;
    this.#onOver = onOver;
    const { plan, leave } = draw;
    const answer = answerEventsOf(plan).flat();
    this.#check = new ByteCheck(answer);
    const answerBytes = plan.kind === 'plain' ? plan.answerBytes : plan.eventCount * (plan.answerBytes + 90) + 120;
    this.#leaveAtBytes =
      leave === 'streaming' ? Math.floor(draw.share * answerBytes) : leave === 'paused' ? 0 : Infinity;
    this.#connection = client.take();
    this.#send();
  }

  /** Ends it from outside: it took too long. */
  giveUp() {
    this.#over('wrong', `no end after ${Math.round(performance.now() - this.startedMs)} ms, status ${this.status}`);
    this.#connection.destroy();
  }

  get isOver() {
    return this.#isOver;
  }

  #send() {
    const { draw } = this;
    const { plan, leave } = draw;
    const body = requestBodyOf(plan);
    const length = body.reduce((sum, piece) => sum + piece.length, 0);
    const target = plan.fillBytes < 0 ? 'GET /plain' : 'POST /v1/chat/completions';
    const framing =
      plan.fillBytes < 0 ? '' : draw.isChunked ? 'transfer-encoding: chunked\r\n' : `content-length: ${length}\r\n`;
    const head = Buffer.from(
      `${target} HTTP/1.1\r\nhost: ${this.#client.authority}\r\ncontent-type: application/json\r\nx-request-id: ${plan.token}\r\n` +
        `${tokenField}: ${plan.token}\r\n${planField}: ${encodePlan(plan)}\r\n${framing}\r\n`,
    );
    const listener = {
      onHead: (/** @type {number} */ status, /** @type {Headers} */ headers) => this.#onHead(status, headers),
      onBody: (/** @type {Buffer} */ bytes) => this.#onBody(bytes),
      onEnd: () => this.#onEnd(),
      onFail: (/** @type {string} */ why) => this.#onFail(why),
    };
    if (leave === 'head') {
      this.#connection.send([head.subarray(0, 1 + Math.floor(draw.share * (head.length - 2)))], listener);
      this.#leaveLater();
      return;
    }
    const sent = leave === 'uploading' ? partOf(body, Math.floor(draw.share * length)) : body;
    if (draw.uploadGapMs > 0 && !draw.isChunked) {
      this.#connection.send([head], listener);
      this.#sendSlowly(sent, draw.uploadGapMs);
      return;
    }
    this.#connection.send(draw.isChunked ? [head, ...chunked(sent, leave !== 'uploading')] : [head, ...sent], listener);
    this.#onSent();
  }

  /** A few pieces, whatever the size. @param {readonly Buffer[]} body @param {number} gapMs */
  #sendSlowly(body, gapMs) {
    const bytes = Buffer.concat(body);
    const step = Math.max(1, Math.ceil(bytes.length / 4));
    let at = 0;
    const next = () => {
      if (this.#isOver) return;
      if (at >= bytes.length) {
        this.#onSent();
        return;
      }
      this.#connection.write(bytes.subarray(at, at + step));
      at += step;
      setTimeout(next, gapMs);
    };
    next();
  }

  #onSent() {
    const { leave } = this.draw;
    this.#isSent = leave !== 'uploading';
    if (leave === 'uploading' || leave === 'queued' || leave === 'connecting' || leave === 'waiting')
      this.#leaveLater();
  }

  #leaveLater() {
    if (this.#timer !== null || this.#isOver) return;
    if (this.draw.delayMs === 0) this.#leave();
    else this.#timer = setTimeout(() => this.#leave(), this.draw.delayMs);
  }

  #leave() {
    if (this.#isOver) return;
    const { how } = this.draw;
    if (how === 'rst') this.#connection.reset();
    else if (how === 'fin') this.#connection.destroy();
    else {
      this.#isSent = false; // Nothing can follow on this connection.
      // The gateway takes a half-close for the end, and closes; whatever it was sending may still come.
      this.#connection.finish();
      this.#connection.resume();
      return;
    }
    this.#overLeft();
  }

  /** Also what a client got that did not stay must have been its own. */
  #overLeft() {
    if (this.#wrong !== null) this.#over('wrong', this.#wrong);
    else if (this.status === 200 && !this.#mayBeErrorEvent) this.#over('wrong', this.#describeOther('an answer'));
    else this.#over('left', '');
  }

  get #mayBeErrorEvent() {
    return errorEventStarts.some((start) => start.startsWith(this.#other) || this.#other.startsWith(start));
  }

  /** @param {number} status @param {Headers} headers */
  #onHead(status, headers) {
    this.status = status;
    this.#hasReceived = true;
    const { token } = this.draw.plan;
    const echoed = headers.get(tokenField);
    this.#isLibrarys = status === 505 && this.draw.leave === 'head' && !headers.has('x-request-id');
    if (this.#isLibrarys) return;
    if (headers.get('x-request-id') !== token)
      this.#wrong = `x-request-id ${headers.get('x-request-id')} with status ${status}`;
    if (echoed === undefined ? status === 200 : echoed !== token) this.#wrong = `${tokenField} ${echoed}`;
  }

  /** @param {Buffer} bytes */
  #onBody(bytes) {
    this.#receivedBytes += bytes.length;
    if (this.status !== 200) {
      if (this.#other.length < refusalBytesMax) this.#other += bytes.latin1Slice();
      return;
    }
    const right = this.#other === '' ? this.#check.push(bytes) : 0;
    if (right < bytes.length) this.#other += bytes.latin1Slice(right);
    if (this.#other.length > refusalBytesMax) throw new Error('bytes that are not of this answer');
    const { draw } = this;
    if (this.#receivedBytes > this.#leaveAtBytes) {
      this.#leaveAtBytes = Infinity;
      if (draw.leave === 'paused') this.#connection.pause();
      this.#leaveLater();
    }
    if (draw.readGapMs > 0) {
      this.#connection.pause();
      setTimeout(() => this.#connection.resume(), draw.readGapMs);
    }
  }

  /** The framing says that the answer is whole. */
  #onEnd() {
    const { token } = this.draw.plan;
    const { leave } = this.draw;
    if (this.#wrong === null && leave !== 'after' && this.#timer === null && this.#isSent)
      this.#client.give(this.#connection);
    else if (leave === 'after' && this.draw.how === 'rst') this.#connection.reset();
    else this.#connection.destroy();
    if (this.#wrong !== null) this.#over('wrong', this.#wrong);
    else if (this.status !== 200) {
      const isOwn = this.#isLibrarys || this.#other.includes('"code":"') || this.#other.includes(token);
      if (isOwn) this.#over('refused', codeOf(this.#other, this.status));
      else this.#over('wrong', `status ${this.status}: ${this.#other.slice(0, 200)}`);
    } else if (this.#other !== '') this.#over('wrong', this.#describeOther('a whole answer'));
    else if (!this.#check.isWhole && !this.#isEndOfConnection)
      this.#over('wrong', `a clean end after ${this.#check.position} bytes, not all`);
    else this.#over('right', '');
  }

  /** The engine's connection was the framing, and broke behind the finish reason: by HTTP and by its words it is whole. */
  get #isEndOfConnection() {
    return this.draw.plan.framing === 'close' && this.#check.isWholeButDone;
  }

  /** Any other end. @param {string} why */
  #onFail(why) {
    if (this.#isOver) return;
    if (this.#wrong !== null) this.#over('wrong', this.#wrong);
    else if (this.#other !== '' && this.status === 200) {
      if (this.#mayBeErrorEvent && errorEventEnd.test(this.#other)) this.#over('error_event', '');
      else if (this.draw.leave !== 'none' && this.draw.how === 'half_close') this.#overLeft();
      else this.#over('wrong', `${this.#describeOther('a cut answer')} (${why})`);
    } else if (why.startsWith('bad chunk size') || why.startsWith('bytes ') || why.startsWith('a chunk'))
      this.#over('wrong', why);
    else if (this.draw.leave !== 'none' && this.draw.leave !== 'after') this.#overLeft();
    else this.#over(this.#hasReceived ? 'cut' : 'lost', why);
  }

  /** @param {string} what */
  #describeOther(what) {
    return `${what} with other bytes after ${this.#check.position}: ${JSON.stringify(this.#other.slice(0, 200))}`;
  }

  /** @param {Ending} ending @param {string} detail */
  #over(ending, detail) {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#onOver(this, ending, detail);
  }
}

/** @param {readonly Buffer[]} pieces @param {number} count */
function partOf(pieces, count) {
  /** @type {Buffer[]} */
  const part = [];
  for (const piece of pieces) {
    if (count <= 0) break;
    part.push(piece.subarray(0, count));
    count -= piece.length;
  }
  return part;
}

/** @param {readonly Buffer[]} pieces @param {boolean} isWhole */
function chunked(pieces, isWhole) {
  const lines = pieces.flatMap((piece) =>
    piece.length === 0 ? [] : [Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')],
  );
  return isWhole ? [...lines, Buffer.from('0\r\n\r\n')] : lines;
}

/** @param {string} body @param {number} status */
function codeOf(body, status) {
  return `${status} ${/"code":"([a-z_]+)"/.exec(body)?.[1] ?? "the engine's"}`;
}
