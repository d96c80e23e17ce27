import { type CloseCode, closeReasons, type Exchange } from '../exchange/index.ts';
import { isCleanFieldValue, isToken, responseFieldsDropped, statusLine } from '../http/index.ts';
import { endBodyless } from './bodyless.ts';

/** An answer the gateway gives itself. `headers`: lower-case names. */
export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

const errorHeaders = { 'content-type': 'application/json' } as const;

/**
 * The body of a gateway error, in the shape the clients of that path read. Only by JSON.stringify: text of a client or
 * an endpoint may be in `message`.
 */
export function errorBody(path: string, code: CloseCode, type: string, message: string, requestId: string): string {
  if (isAnthropicPath(path)) {
    return JSON.stringify({
      type: 'error',
      error: { type: anthropicType(closeReasons[code].status), message },
      request_id: requestId,
    });
  }
  return JSON.stringify({ error: { message, type, param: null, code } });
}

/** The event that tells the client of a stream that it is not complete. */
export function truncationEvent(path: string, message: string): string {
  if (isAnthropicPath(path)) {
    return `event: error\ndata: ${JSON.stringify({ type: 'error', error: { type: 'api_error', message } })}\n\n`;
  }
  return `data: ${JSON.stringify({ error: { message, type: 'upstream_error', code: 'stream_truncated' } })}\n\n`;
}

/** Keeps an event stream alive without saying anything. */
export function pingEvent(path: string): string {
  return isAnthropicPath(path) ? 'event: ping\ndata: {"type": "ping"}\n\n' : ': ping\n\n';
}

function isAnthropicPath(path: string): boolean {
  return path === '/v1/messages' || path.startsWith('/v1/messages/');
}

function anthropicType(status: number): string {
  switch (status) {
    case 401:
      return 'authentication_error';
    case 403:
      return 'permission_error';
    case 404:
      return 'not_found_error';
    case 413:
      return 'request_too_large';
    case 429:
      return 'rate_limit_error';
    case 503:
      return 'overloaded_error';
    case 504:
      return 'timeout_error';
    default:
      return status >= 500 ? 'api_error' : 'invalid_request_error';
  }
}

export function errorReply(exchange: Exchange, code: CloseCode, message: string): Reply {
  const reason = closeReasons[code];
  const headers: Record<string, string> = { ...errorHeaders };
  const waitSeconds = exchange.retryAfterSeconds > 0 ? exchange.retryAfterSeconds : reason.retryAfterSeconds;
  if (waitSeconds > 0) headers['retry-after'] = String(waitSeconds);
  // The official clients would otherwise try again what was tried again already.
  if (exchange.areRetriesSpent) headers['x-should-retry'] = 'false';
  return {
    status: reason.status,
    headers,
    body: errorBody(exchange.head.path, code, reason.type, message, exchange.requestId),
  };
}

/**
 * Writes `reply` as the whole response and leaves the downstream over. The caller makes sure that this is not the turn in
 * which the request was read. `closes`: the connection ends after it, which may cost a client that is still sending its
 * body the answer, so it is set only where the framing can no longer be trusted.
 */
export function writeReply(exchange: Exchange, reply: Reply, closes: boolean): void {
  const downstream = exchange.downstream!;
  const mayHaveBody = reply.status !== 204 && reply.status !== 304;
  const isBodyless = exchange.head.isHead || !mayHaveBody;
  exchange.isDownstreamOver = true;
  downstream.cork(() => {
    downstream.writeStatus(statusLine(reply.status));
    for (const [name, value] of Object.entries(reply.headers)) {
      if (responseFieldsDropped.has(name.toLowerCase())) continue; // A second length or coding would split the answer.
      if (isToken(name) && isCleanFieldValue(value)) downstream.writeHeader(name, value);
    }
    downstream.writeHeader('x-request-id', exchange.requestId);
    if (isBodyless) endBodyless(downstream, mayHaveBody ? Buffer.byteLength(reply.body) : -1, closes);
    else downstream.end(reply.body, closes);
  });
  if (isBodyless && closes) downstream.close();
  exchange.isCommitted = true;
  exchange.status = reply.status;
  exchange.responseBytes = Buffer.byteLength(reply.body);
}
