/** Scripted engines in this process. Each answer says which engine gave it, and which configuration sent the request there. */
import { createServer } from 'node:http';

/** Of the request, set by a `headers` filter: the configuration it began with. */
export const configField = 'x-config';
const eventCount = 20;

export class Engine {
  #server = createServer((request, response) => this.#answer(request, response));
  url = '';
  activeCount = 0;
  requestCount = 0;

  /** @param {number} eventGapMs between the events of a stream */
  constructor(eventGapMs) {
    this.eventGapMs = eventGapMs;
  }

  async listen() {
    this.#server.keepAliveTimeout = 60_000;
    await new Promise((resolve) => this.#server.listen(0, '127.0.0.1', () => resolve(null)));
    const address = this.#server.address();
    this.url = `http://127.0.0.1:${address.port}`;
    return this;
  }

  close() {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response */
  async #answer(request, response) {
    /** @type {Buffer[]} */
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    const body = Buffer.concat(pieces);
    this.requestCount++;
    this.activeCount++;
    response.once('close', () => this.activeCount--);
    const { token, stream } = /** @type {{ token: string, stream: boolean }} */ (JSON.parse(body.toString()));
    const config = String(request.headers[configField]);
    if (!stream) {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ token, config, bytes: body.length }));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    let sent = 0;
    const next = () => {
      if (response.destroyed) return;
      response.write(`data: ${JSON.stringify({ token, config, index: sent, choices: [] })}\n\n`);
      if (++sent < eventCount) setTimeout(next, this.eventGapMs);
      else response.end('data: [DONE]\n\n');
    };
    next();
  }
}

/**
 * What is wrong with a complete stream, or null.
 * @param {string} text @param {string} token @param {string} config
 */
export function streamFault(text, token, config) {
  const events = text.split('\n\n').filter((event) => event !== '');
  if (events.pop() !== 'data: [DONE]') return `no end: ${events.at(-1)?.slice(0, 200)}`;
  if (events.length !== eventCount) return `${events.length} of ${eventCount} events`;
  for (const [index, event] of events.entries()) {
    const data = /** @type {{ token: string, config: string, index: number }} */ (JSON.parse(event.slice(6)));
    if (data.token !== token || data.index !== index) return `event of another: ${event}`;
    if (data.config !== config) return `began with config ${data.config}, answered with ${config}`;
  }
  return null;
}
