/**
 * One request and its response on the simulator's side: headers every response carries, plain and streamed bodies, the
 * faults drawn for it, and the moment the client goes away.
 */
import { createHash } from 'node:crypto';
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { SimContext } from './context.ts';
import { noFaults } from './faults.ts';
import type { FaultDraw } from './faults.ts';
import { ApiError, errorTypes } from './json.ts';
import type { AbortCause } from './scheduler.ts';

/** Anthropic's error types by status; `/v1/messages` answers in its shape. */
const anthropicErrorTypes: { readonly [status: number]: string } = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  529: 'overloaded_error',
};

export class SimExchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly context: SimContext;
  /** Path without the query. */
  readonly path: string;
  /** Whole request body; empty until it has been read. */
  body: Buffer = Buffer.alloc(0);
  /** Drawn once the request has been understood. */
  fault: FaultDraw = noFaults;
  /** Called once when the exchange ends before its response did. */
  onGone: ((cause: AbortCause) => void) | null = null;
  #isGone = false;
  #streamedTokens = 0;
  #isStalled = false;
  #hasStalled = false;
  #hasGarbage = false;
  #isEndDue = false;
  readonly #stalledText: string[] = [];

  constructor(request: IncomingMessage, response: ServerResponse, context: SimContext, path: string) {
    this.request = request;
    this.response = response;
    this.context = context;
    this.path = path;
    // uvicorn sends no `connection` or `keep-alive` field, so its idle timeout comes as a surprise; so must ours.
    response.removeHeader('connection');
    response.on('close', () => {
      if (!response.writableFinished) this.#leave('client');
    });
  }

  /** The client went away, or a fault cut the connection: nothing more can be sent. */
  get isGone(): boolean {
    return this.#isGone;
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  /** Headers of every response. */
  #baseHeaders(): OutgoingHttpHeaders {
    const headers: OutgoingHttpHeaders = { 'x-sim-endpoint': this.context.settings.name };
    const requestId = this.header('x-request-id');
    if (requestId !== undefined) headers['x-request-id'] = requestId;
    if (this.header('x-sim-echo-hash') === '1') {
      headers['x-sim-body-sha256'] = createHash('sha256').update(this.body).digest('hex');
      headers['x-sim-body-bytes'] = String(this.body.length);
    }
    const loadFormat = this.header('endpoint-load-metrics-format')?.toUpperCase();
    if (loadFormat === 'TEXT' || loadFormat === 'JSON') headers['endpoint-load-metrics'] = this.#loadReport(loadFormat);
    return headers;
  }

  /** vLLM's load report in the ORCA format. */
  #loadReport(format: 'TEXT' | 'JSON'): string {
    const { engine } = this.context;
    const usage = engine.cache.usageRatio;
    const waiting = engine.waitingCount;
    return format === 'JSON'
      ? `JSON ${JSON.stringify({ named_metrics: { kv_cache_usage_perc: usage, num_requests_waiting: waiting } })}`
      : `TEXT named_metrics.kv_cache_usage_perc=${usage}, named_metrics.num_requests_waiting=${waiting.toFixed(1)}`;
  }

  writeHead(status: number, headers: OutgoingHttpHeaders): void {
    this.response.writeHead(status, { ...headers, ...this.#baseHeaders() });
  }

  sendJson(value: unknown, status = 200, headers: OutgoingHttpHeaders = {}): void {
    this.sendPlain(status, JSON.stringify(value), { 'content-type': 'application/json', ...headers });
  }

  /** A whole body with a content-length, with the faults a plain body can have. */
  sendPlain(status: number, text: string, headers: OutgoingHttpHeaders): void {
    if (this.#isGone) return;
    const { fault } = this;
    const whole = Buffer.from(fault.garbageAfterTokens >= 0 ? `<<${text.slice(0, 20)} this is not JSON` : text);
    this.writeHead(status, { ...headers, 'content-length': whole.length });
    let cut = whole.length >> 1;
    if (fault.halfUtf8AfterTokens >= 0) {
      const wideAt = whole.findIndex((byte) => byte >= 0xc0);
      if (wideAt !== -1) cut = wideAt + 1;
      this.#cutAfter(whole.subarray(0, cut), false);
    } else if (fault.resetAfterTokens >= 0) {
      this.#cutAfter(whole.subarray(0, cut), fault.resetWithFin);
    } else if (fault.stallAfterTokens >= 0) {
      this.response.write(whole.subarray(0, cut));
      this.context.settings.timers.arm(() => this.response.end(whole.subarray(cut)), fault.stallMs);
    } else {
      this.response.end(whole);
    }
  }

  /** An error in the shape of this path's dialect. */
  sendError(status: number, message: string, param: string | null = null, headers: OutgoingHttpHeaders = {}): void {
    if (this.path.startsWith('/v1/messages')) {
      const type = anthropicErrorTypes[status] ?? 'api_error';
      this.sendJson({ type: 'error', error: { type, message } }, status, headers);
      return;
    }
    const type = errorTypes[status] ?? (status < 500 ? 'BadRequestError' : 'InternalServerError');
    this.sendJson({ error: { message, type, param, code: status } }, status, headers);
  }

  /** Opens an event stream. The head is sent by `flush`, or with the first events when they come in the same turn. */
  startStream(): void {
    this.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' });
    this.#strike();
  }

  /** Sends the head at once: vLLM does so before the first token exists. */
  flush(): void {
    if (!this.#isGone && !this.response.writableEnded) this.response.flushHeaders();
  }

  /** One event, whole, in a chunk of its own. `tokens`: how many it carries. Dropped when the exchange is gone. */
  sendEvent(text: string, tokens = 0): void {
    if (this.#isGone) return;
    if (this.#isStalled) {
      this.#stalledText.push(text);
      return;
    }
    this.response.write(text);
    this.#streamedTokens += tokens;
    if (tokens > 0) this.#strike();
  }

  /** Ends the stream cleanly. */
  endStream(): void {
    if (this.#isGone) return;
    if (this.#isStalled) this.#isEndDue = true;
    else this.response.end();
  }

  /** Resets the connection (or, with `fin`, closes it) without a proper end of the response. */
  cut(withFin: boolean): void {
    this.#leave('server');
    const { socket } = this.request;
    // A reset may overtake bytes still in this process; two turns later the kernel has them.
    setImmediate(() => (withFin ? socket.destroy() : socket.resetAndDestroy()));
  }

  /** Does what the drawn faults ask for once enough tokens were streamed. */
  #strike(): void {
    const { fault } = this;
    const isDue = (afterTokens: number): boolean => afterTokens >= 0 && this.#streamedTokens >= afterTokens;
    if (isDue(fault.garbageAfterTokens) && !this.#hasGarbage) {
      this.#hasGarbage = true;
      this.response.write('data: {"id": <<this is not JSON\u0001>>\n\n');
    }
    if (isDue(fault.errorAfterTokens)) {
      this.#endWithError();
    } else if (isDue(fault.halfUtf8AfterTokens)) {
      // The first of the two bytes of é.
      const half = Buffer.from('data: {"choices":[{"index":0,"delta":{"content":"caf\u00e9').subarray(0, -1);
      this.#cutAfter(half, false);
    } else if (isDue(fault.resetAfterTokens)) {
      this.#cutAfter(null, fault.resetWithFin);
    } else if (isDue(fault.stallAfterTokens) && !this.#hasStalled) {
      this.#hasStalled = true;
      this.#isStalled = true;
      this.context.settings.timers.arm(() => this.#resume(), fault.stallMs);
    }
  }

  /** The generation failed: an error event in the path's dialect, and a clean end. */
  #endWithError(): void {
    const message = 'The engine stopped while generating.';
    this.response.end(
      this.path.startsWith('/v1/messages')
        ? `event: error\ndata: ${JSON.stringify({ type: 'error', error: { type: 'api_error', message } })}\n\n`
        : `data: ${JSON.stringify({ error: { message, type: 'InternalServerError', param: null, code: 500 } })}\n\ndata: [DONE]\n\n`,
    );
    this.#leave('server');
  }

  #resume(): void {
    this.#isStalled = false;
    if (this.#isGone) return;
    for (const text of this.#stalledText) this.response.write(text);
    this.#stalledText.length = 0;
    if (this.#isEndDue) this.response.end();
  }

  #cutAfter(last: Buffer | null, withFin: boolean): void {
    this.response.flushHeaders();
    if (last !== null) this.response.write(last);
    this.cut(withFin);
  }

  #leave(cause: AbortCause): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.onGone?.(cause);
  }
}

/** Answers an exception of a handler: an `ApiError` as it says, anything else as 500. */
export function sendException(exchange: SimExchange, error: unknown): void {
  if (exchange.isGone) return;
  if (exchange.response.headersSent) {
    exchange.cut(false);
  } else if (error instanceof ApiError) {
    exchange.sendError(error.status, error.message, error.param);
  } else {
    exchange.sendError(500, error instanceof Error ? error.message : 'The engine failed.');
  }
}
