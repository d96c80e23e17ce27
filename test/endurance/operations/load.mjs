/** Mixed traffic that judges every answer: status, body, whose it is, and that one configuration served all of it. */
import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { configField, streamFault } from './engines.mjs';

/** @typedef {{ kind: string, atMs: number, fault: string }} Failure */
/** @typedef {{ name: string, clients: number, bodyBytes: number, isStream: boolean, keepsAlive: boolean, pauseMs: number }} Kind */

/** @type {readonly Kind[]} */
export const mixedKinds = [
  { name: 'chat, kept alive', clients: 4, bodyBytes: 3000, isStream: false, keepsAlive: true, pauseMs: 0 },
  { name: 'chat, new connection', clients: 4, bodyBytes: 3000, isStream: false, keepsAlive: false, pauseMs: 0 },
  // Idle connections in the client's pool: what a drain finds, and a client may be about to use.
  { name: 'chat, now and then', clients: 16, bodyBytes: 3000, isStream: false, keepsAlive: true, pauseMs: 250 },
  { name: '1 MB chat', clients: 1, bodyBytes: 1_000_000, isStream: false, keepsAlive: true, pauseMs: 20 },
  { name: 'stream', clients: 16, bodyBytes: 3000, isStream: true, keepsAlive: true, pauseMs: 0 },
];

export class Load {
  #isOver = false;
  #port;
  #tokenCount = 0;
  /** @type {Map<string, number>} */
  done = new Map();
  /** @type {Failure[]} */
  failures = [];
  /** Configurations that answered. @type {Set<string>} */
  configs = new Set();
  /** Answers in which a connection of the client's pool had been closed before the request arrived; tried again at once. */
  staleCount = 0;
  /** @type {Promise<void>[]} */
  #clients = [];
  /** @type {import('node:http').Agent[]} */
  #agents = [];
  #startMs = performance.now();

  /** @param {number} port @param {readonly Kind[]} kinds */
  constructor(port, kinds = mixedKinds) {
    this.#port = port;
    for (const kind of kinds) {
      const agent = kind.keepsAlive ? new Agent({ keepAlive: true, maxSockets: kind.clients }) : undefined;
      if (agent !== undefined) this.#agents.push(agent);
      for (let index = 0; index < kind.clients; index++) this.#clients.push(this.#client(kind, agent));
    }
  }

  get doneCount() {
    return [...this.done.values()].reduce((sum, count) => sum + count, 0);
  }

  /** What is under way is finished. */
  async stop() {
    this.#isOver = true;
    await Promise.all(this.#clients);
    for (const agent of this.#agents) agent.destroy();
  }

  /** @param {Kind} kind @param {import('node:http').Agent} [agent] */
  async #client(kind, agent) {
    const filler = 'x'.repeat(kind.bodyBytes);
    while (!this.#isOver) {
      const token = `t${this.#tokenCount++}`;
      const body = JSON.stringify({ model: 'm', token, stream: kind.isStream, filler });
      /** @param {string} text @param {string} config */
      const judge = (text, config) =>
        kind.isStream ? streamFault(text, token, config) : answerFault(text, token, config, body.length);
      const fault = await this.#ask(body, judge, agent);
      if (fault !== null) this.failures.push({ kind: kind.name, atMs: performance.now() - this.#startMs, fault });
      else this.done.set(kind.name, (this.done.get(kind.name) ?? 0) + 1);
      if (kind.pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, kind.pauseMs * (0.5 + Math.random())));
    }
  }

  /**
   * Null when all is well. RFC 9112 section 9.3.1: a client whose kept-alive connection turns out to be closed opens another;
   * that is counted and done, once, as the pools of HTTP clients do.
   * @param {string} body @param {(text: string, config: string) => string | null} judge @param {import('node:http').Agent} [agent]
   * @returns {Promise<string | null>}
   */
  async #ask(body, judge, agent, isAgain = false) {
    const request = httpRequest({
      host: '127.0.0.1',
      port: this.#port,
      method: 'POST',
      path: '/v1/chat/completions',
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      agent: agent ?? false,
    });
    request.end(body);
    let isHeadHere = false;
    try {
      const [response] = /** @type {[import('node:http').IncomingMessage]} */ (await once(request, 'response'));
      isHeadHere = true;
      const config = String(response.headers[configField]);
      let text = '';
      response.setEncoding('utf8');
      for await (const piece of response) text += piece;
      if (response.statusCode !== 200) return `${response.statusCode}: ${text.slice(0, 200)}`;
      this.configs.add(config);
      return judge(text, config);
    } catch (error) {
      if (request.reusedSocket && !isHeadHere && !isAgain) {
        this.staleCount++;
        return this.#ask(body, judge, agent, true);
      }
      return `${isHeadHere ? 'cut: ' : ''}${error instanceof Error ? error.message : String(error)}`;
    }
  }
}

/** @param {string} text @param {string} token @param {string} config @param {number} bytes */
function answerFault(text, token, config, bytes) {
  const answer = /** @type {{ token: string, config: string, bytes: number }} */ (JSON.parse(text));
  if (answer.token !== token) return `answer of another: ${answer.token}`;
  if (answer.bytes !== bytes) return `${answer.bytes} of ${bytes} bytes arrived`;
  if (answer.config !== config) return `began with config ${answer.config}, answered with ${config}`;
  return null;
}

/** @param {readonly number[]} values @param {number} ratio */
export function percentile(values, ratio) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * ratio) - 1)] ?? 0;
}
