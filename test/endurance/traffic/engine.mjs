/**
 * A scripted engine: HTTP/1.1 byte by byte over `node:net`, so that it can do what no HTTP library does. It checks every
 * byte of what it is asked, answers what the plan in the request's head says, and now and then does it wrong.
 */
import { createServer } from 'node:net';
import { answerEventsOf, ByteCheck, bytesOf, decodePlan, planField, requestBodyOf, tokenField } from './content.mjs';
import { drawFault } from './faults.mjs';
import { wholeBetween } from './random.mjs';

/** @typedef {'body' | 'waiting' | 'answering'} Stage how far an exchange had come at the engine when its client left */
/**
 * @typedef {object} EngineEvents
 * @property {(plan: import('./content.mjs').Plan) => void} [onHead]
 * @property {(plan: import('./content.mjs').Plan) => void} [onRequest] the request is complete
 * @property {(plan: import('./content.mjs').Plan, stage: Stage, atMs: number) => void} [onGone] it was left in the middle
 * @property {(plan: import('./content.mjs').Plan, sentBytes: number) => void} [onBlocked] the gateway reads no further
 */

const keptWrongMax = 20;
const falseAnswer = 'HTTP/1.1 200 OK\r\nx-token: false\r\ncontent-length: 5\r\n\r\nFALSE';

export class Engine {
  #server;
  #random;
  #faultRatio;
  #events;
  /** @type {Set<EngineConnection>} */
  #connections = new Set();
  port = 0;
  /** Requests between their head and the end of their answer. */
  activeCount = 0;
  connectionCount = 0;
  requestCount = 0;
  /** @type {Record<string, number>} */
  faults = {};
  /** By what the client meant to do and how far the engine had come: `queued waiting` and the like. @type {Record<string, number>} */
  left = {};
  wrongCount = 0;
  /** @type {string[]} The first few in words. */
  wrong = [];

  /**
   * @param {{ random: () => number, faultRatio?: number, events?: EngineEvents }} options
   */
  constructor({ random, faultRatio = 0, events = {} }) {
    this.#random = random;
    this.#faultRatio = faultRatio;
    this.#events = events;
    this.#server = createServer({ noDelay: true }, (socket) =>
      this.#connections.add(new EngineConnection(this, socket)),
    );
  }

  get random() {
    return this.#random;
  }

  get events() {
    return this.#events;
  }

  /** @param {number} port 0: any free one */
  async listen(port = this.port) {
    await new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ port, host: '127.0.0.1', backlog: 4096 }, () => {
        this.#server.off('error', reject);
        resolve(undefined);
      });
    });
    const address = this.#server.address();
    if (address !== null && typeof address === 'object') this.port = address.port;
  }

  /** New connections are refused. `cuts`: those that are open are reset, too. @param {boolean} cuts */
  stopListening(cuts) {
    this.#server.close();
    if (cuts) for (const connection of this.#connections) connection.reset();
  }

  /** @param {import('./content.mjs').Plan} plan */
  drawFault(plan) {
    if (plan.isClean) return 'none';
    const fault = drawFault(this.#random, this.#faultRatio);
    if (fault !== 'none') this.faults[fault] = (this.faults[fault] ?? 0) + 1;
    return fault;
  }

  /** @param {string} text */
  noteWrong(text) {
    this.wrongCount++;
    if (this.wrong.length < keptWrongMax) this.wrong.push(text);
  }

  /** @param {import('./content.mjs').Plan} plan @param {Stage} stage */
  noteGone(plan, stage) {
    const key = `${plan.leave} ${stage}`;
    this.left[key] = (this.left[key] ?? 0) + 1;
    this.#events.onGone?.(plan, stage, performance.now());
  }

  /** @param {EngineConnection} connection */
  forget(connection) {
    this.#connections.delete(connection);
  }

  /** Everything counted so far. */
  stats() {
    const { activeCount, connectionCount, requestCount, faults, left, wrongCount, wrong } = this;
    return { activeCount, connectionCount, requestCount, faults, left, wrongCount, wrong };
  }
}

/** Where in a request the next byte belongs. */
const At = /** @type {const} */ ({ head: 0, body: 1, size: 2, data: 3, dataEnd: 4, lastLine: 5, over: 6 });
const nothing = Buffer.alloc(0);

class EngineConnection {
  #engine;
  #socket;
  #at = /** @type {number} */ (At.head);
  #rest = nothing;
  #bytesLeft = 0;
  /** @type {import('./content.mjs').Plan | null} */
  #plan = null;
  /** @type {ByteCheck | null} */
  #check = null;
  /** @type {import('./faults.mjs').Fault} */
  #fault = 'none';
  /** Byte of the upload at which an early fault strikes. */
  #strikeAt = Infinity;
  /** @type {AnswerWriter | null} */
  #writer = null;
  /** @type {ReturnType<typeof setTimeout> | null} */
  #timer = null;
  #isDead = false;

  /** @param {Engine} engine @param {import('node:net').Socket} socket */
  constructor(engine, socket) {
    this.#engine = engine;
    this.#socket = socket;
    engine.connectionCount++;
    socket.on('data', (bytes) => this.#onData(bytes));
    socket.on('error', () => {});
    socket.on('end', () => this.#onGone());
    socket.on('close', () => {
      this.#onGone();
      engine.connectionCount--;
      engine.forget(this);
    });
    socket.on('drain', () => this.#writer?.resume());
  }

  /** RST, unless FIN is on its way already: libuv refuses one behind the other, and the socket would never close. */
  reset() {
    if (!this.#socket.writableEnded) this.#socket.resetAndDestroy();
  }

  /** The other side is gone, or we are: whichever is first. */
  #onGone() {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const plan = this.#plan;
    if (plan === null) return;
    const stage = this.#writer !== null ? 'answering' : this.#at === At.over ? 'waiting' : 'body';
    this.#finish();
    if (!this.#isDead) this.#engine.noteGone(plan, stage);
  }

  #finish() {
    this.#plan = null;
    this.#check = null;
    this.#writer = null;
    this.#engine.activeCount--;
  }

  /** Our own end of it, by `fault`. */
  #die(how = 'reset') {
    this.#isDead = true;
    if (how === 'reset') this.reset();
    else this.#socket.end();
  }

  /** @param {Buffer} bytes */
  #onData(bytes) {
    let rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    this.#rest = nothing;
    while (rest.length > 0 && !this.#isDead) {
      const used = this.#take(rest);
      if (used < 0) {
        this.#rest = Buffer.from(rest);
        return;
      }
      rest = rest.subarray(used);
    }
  }

  /** Bytes taken, or -1 when more are needed. @param {Buffer} bytes */
  #take(bytes) {
    switch (this.#at) {
      case At.body:
      case At.data: {
        const count = Math.min(bytes.length, this.#bytesLeft);
        this.#bytesLeft -= count;
        this.#onBody(bytes.subarray(0, count));
        if (this.#bytesLeft === 0 && !this.#isDead) {
          if (this.#at === At.body) this.#onRequestEnd();
          else this.#at = At.dataEnd;
        }
        return count;
      }
      case At.over:
        if (this.#plan !== null && this.#fault !== 'answer_early') {
          this.#engine.noteWrong(`${this.#plan.token}: bytes behind a request that was not answered yet`);
        }
        return bytes.length;
      default:
        return this.#takeLine(bytes);
    }
  }

  /** @param {Buffer} bytes */
  #takeLine(bytes) {
    const terminator = this.#at === At.head ? '\r\n\r\n' : '\r\n';
    const end = bytes.indexOf(terminator);
    if (end === -1) return -1;
    const line = bytes.latin1Slice(0, end);
    if (this.#at === At.head) this.#onHead(line);
    else if (this.#at === At.size) {
      this.#bytesLeft = Number.parseInt(line, 16);
      if (!/^[0-9a-f]{1,8}$/i.test(line))
        this.#engine.noteWrong(`a chunk size of ${JSON.stringify(line.slice(0, 20))}`);
      this.#at = this.#bytesLeft === 0 ? At.lastLine : At.data;
    } else if (this.#at === At.dataEnd) {
      if (line !== '') this.#engine.noteWrong('a chunk longer than its size');
      this.#at = At.size;
    } else if (line === '') this.#onRequestEnd();
    return end + terminator.length;
  }

  /** @param {string} head */
  #onHead(head) {
    if (head.startsWith('GET /health ')) {
      this.#socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
      return;
    }
    const token = fieldOf(head, tokenField);
    const engine = this.#engine;
    if (token === '') {
      engine.noteWrong(`a request without a token: ${JSON.stringify(head.slice(0, 200))}`);
      this.#die();
      return;
    }
    const plan = decodePlan(token, fieldOf(head, planField));
    const body = requestBodyOf(plan);
    engine.requestCount++;
    engine.activeCount++;
    this.#plan = plan;
    this.#check = new ByteCheck(body);
    this.#fault = engine.drawFault(plan);
    const isEarly = this.#fault === 'reset_early' || this.#fault === 'close_early' || this.#fault === 'answer_early';
    this.#strikeAt = isEarly ? Math.floor(engine.random() * bytesOf(body)) : Infinity;
    engine.events.onHead?.(plan);
    if (fieldOf(head, 'transfer-encoding') !== '') {
      this.#at = At.size;
    } else {
      const length = fieldOf(head, 'content-length');
      this.#bytesLeft = length === '' ? 0 : Number(length);
      if (this.#bytesLeft !== bytesOf(body))
        engine.noteWrong(`${token}: a body of ${length} bytes, not ${bytesOf(body)}`);
      this.#at = At.body;
      if (this.#bytesLeft === 0) this.#onRequestEnd();
    }
  }

  /** @param {Buffer} bytes */
  #onBody(bytes) {
    const check = this.#check;
    if (check === null) return;
    if (check.push(bytes) !== bytes.length) {
      this.#engine.noteWrong(
        `${this.#plan?.token}: another request's bytes, or none, at ${check.position} of the body`,
      );
      this.#die();
    } else if (check.position > this.#strikeAt) {
      if (this.#fault !== 'answer_early') {
        this.#die(this.#fault === 'reset_early' ? 'reset' : 'close');
        return;
      }
      this.#at = At.over; // What is left of it is read and dropped.
      this.#answer();
    }
  }

  #onRequestEnd() {
    const plan = this.#plan;
    if (plan === null) return;
    this.#at = At.over;
    if (this.#check?.isWhole !== true) this.#engine.noteWrong(`${plan.token}: a request body that is not whole`);
    this.#engine.events.onRequest?.(plan);
    switch (this.#fault) {
      case 'reset_waiting':
      case 'close_waiting':
        this.#die(this.#fault === 'reset_waiting' ? 'reset' : 'close');
        return;
      case 'garbage_head':
        this.#socket.write('SSH-2.0-OpenSSH_9.2\r\nHTTP? 200\r\n\r\n');
        return;
      case 'stall_waiting':
        return;
      default:
    }
    if (plan.firstDelayMs === 0) this.#answer();
    else this.#timer = setTimeout(() => this.#answer(), plan.firstDelayMs);
  }

  #answer() {
    this.#timer = null;
    const plan = this.#plan;
    if (plan === null || this.#socket.destroyed) return;
    if (this.#fault.startsWith('status_')) {
      const status = Number(this.#fault.slice(7));
      const body = `{"error":{"message":"${plan.token}"}}`;
      const wait = status === 429 ? 'retry-after: 0\r\n' : '';
      this.#socket.write(
        `HTTP/1.1 ${status} Sorry\r\n${tokenField}: ${plan.token}\r\n${wait}content-length: ${body.length}\r\n\r\n${body}`,
      );
      this.#onAnswered();
      return;
    }
    this.#writer = new AnswerWriter({
      socket: this.#socket,
      plan,
      fault: this.#fault,
      random: this.#engine.random,
      onBlocked: (sentBytes) => this.#engine.events.onBlocked?.(plan, sentBytes),
      onDone: (isFine) => {
        if (this.#plan !== plan) return;
        if (!isFine) this.#die(this.#fault === 'reset_answering' ? 'reset' : 'close');
        else this.#onAnswered();
      },
    });
    this.#writer.resume();
  }

  #onAnswered() {
    const plan = this.#plan;
    const closes = this.#fault === 'answer_early' || (plan?.framing === 'close' && !this.#fault.startsWith('status_'));
    this.#finish();
    this.#at = At.head;
    if (closes) this.#die('close');
  }
}

/** Sends one answer, in pieces that have nothing to do with its events, as fast as they are taken or at the plan's pace. */
class AnswerWriter {
  #socket;
  #plan;
  #fault;
  #random;
  #onDone;
  #onBlocked;
  /** @type {Buffer[]} */
  #pieces;
  /** Pieces of each event, while the stream has a pace. */
  #events;
  #nextEvent = 0;
  #index = 0;
  #offset = 0;
  #sentBytes = 0;
  #cutAt = Infinity;
  #isBegun = false;
  #isOver = false;
  #isPacing = false;

  /**
   * @param {{ socket: import('node:net').Socket, plan: import('./content.mjs').Plan, fault: import('./faults.mjs').Fault,
   *   random: () => number, onDone: (isFine: boolean) => void, onBlocked: (sentBytes: number) => void }} options
   */
  constructor({ socket, plan, fault, random, onDone, onBlocked }) {
    this.#socket = socket;
    this.#plan = plan;
    this.#fault = fault;
    this.#random = random;
    this.#onDone = onDone;
    this.#onBlocked = onBlocked;
    this.#events = answerEventsOf(plan);
    if (fault === 'lost_end' && plan.kind === 'stream') this.#events.pop();
    const total = this.#events.reduce((sum, event) => sum + bytesOf(event), 0);
    const breaks =
      fault === 'truncate' || fault === 'reset_answering' || fault === 'stall_answering' || fault === 'garbage_chunk';
    if (breaks && (plan.framing !== 'close' || plan.kind === 'stream')) this.#cutAt = Math.floor(random() * total);
    this.#pieces = plan.gapMs > 0 ? [] : this.#events.flat();
  }

  /** Writes as much as the socket takes now. */
  resume() {
    if (this.#isPacing || this.#isOver) return;
    if (!this.#isBegun) this.#begin();
    if (this.#plan.gapMs > 0) {
      this.#pace();
      return;
    }
    this.#socket.cork();
    const isTaken = this.#pump();
    this.#socket.uncork();
    if (!isTaken) this.#onBlocked(this.#sentBytes);
  }

  #begin() {
    this.#isBegun = true;
    const { kind, framing, token } = this.#plan;
    const type = kind === 'stream' ? 'text/event-stream' : 'application/json';
    const length = this.#events.reduce((sum, event) => sum + bytesOf(event), 0);
    const body =
      framing === 'length'
        ? `content-length: ${length}`
        : framing === 'chunked'
          ? 'transfer-encoding: chunked'
          : 'connection: close';
    const interim =
      this.#fault === 'interim' ? 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n' : '';
    this.#socket.write(
      `${interim}HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\n${tokenField}: ${token}\r\n${body}\r\n\r\n`,
    );
  }

  /** One event each time. */
  #pace() {
    const event = this.#events[this.#nextEvent++];
    if (event !== undefined) this.#pieces.push(...event);
    this.#socket.cork();
    this.#pump();
    this.#socket.uncork();
    if (this.#isOver) return;
    this.#isPacing = true;
    setTimeout(() => {
      this.#isPacing = false;
      if (!this.#socket.destroyed) this.resume();
    }, this.#plan.gapMs);
  }

  /** Returns false when the socket takes no more for now. */
  #pump() {
    for (;;) {
      const piece = this.#pieces[this.#index];
      if (piece === undefined) {
        if (this.#plan.gapMs === 0 || this.#nextEvent >= this.#events.length) this.#end();
        return true;
      }
      if (this.#offset === piece.length) {
        this.#index++;
        this.#offset = 0;
        continue;
      }
      const most = Math.min(piece.length - this.#offset, this.#cutAt - this.#sentBytes);
      if (most === 0) {
        this.#break();
        return true;
      }
      // Some answers are cut into crumbs, most are not.
      const count = this.#random() < 0.02 ? wholeBetween(this.#random, 1, most) : Math.min(most, 65_536);
      this.#write(piece.subarray(this.#offset, this.#offset + count));
      this.#offset += count;
      this.#sentBytes += count;
      if (this.#socket.writableLength > 131_072) return false;
    }
  }

  /** @param {Buffer} bytes */
  #write(bytes) {
    if (this.#plan.framing !== 'chunked') {
      this.#socket.write(bytes);
      return;
    }
    this.#socket.write(`${bytes.length.toString(16)}\r\n`, 'latin1');
    this.#socket.write(bytes);
    this.#socket.write('\r\n', 'latin1');
  }

  #break() {
    this.#isOver = true;
    if (this.#fault === 'stall_answering') return;
    if (this.#fault === 'garbage_chunk' && this.#plan.framing === 'chunked') {
      this.#socket.write('zz; not a chunk\r\n\0\0\0');
      return;
    }
    this.#onDone(false);
  }

  #end() {
    this.#isOver = true;
    if (this.#plan.framing === 'chunked') this.#socket.write('0\r\n\r\n');
    // Behind a body that lasts until the end of the connection it would be a part of it.
    if (this.#fault === 'excess' && this.#plan.framing !== 'close') this.#socket.write(falseAnswer);
    this.#onDone(true);
  }
}

/** @param {string} head @param {string} name in lower case */
function fieldOf(head, name) {
  const at = head.toLowerCase().indexOf(`\r\n${name}:`);
  if (at === -1) return '';
  const end = head.indexOf('\r\n', at + 2);
  return head.slice(at + name.length + 3, end === -1 ? undefined : end).trim();
}
