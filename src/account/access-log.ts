import { closeReasons, type Exchange } from '../exchange/index.ts';

/** One line of the access log; what is undefined is left out. Bodies, credentials and field values are never in it. */
export interface AccessRecord {
  readonly request_id: string;
  readonly listener: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly reason: string;
  readonly origin: string;
  readonly model: string | undefined;
  readonly pool: string | undefined;
  readonly endpoint: string | undefined;
  readonly stream: boolean | undefined;
  readonly request_bytes: number;
  readonly response_bytes: number;
  readonly prompt_tokens: number | undefined;
  readonly completion_tokens: number | undefined;
  readonly cached_tokens: number | undefined;
  readonly ttft_ms: number | undefined;
  readonly total_ms: number;
  readonly retries: number;
  readonly detail: string | undefined;
}

/** `detail`: what the gateway saw of a failure; it may hold an endpoint's error code, never a client's text. */
export function accessRecord(exchange: Exchange, listener: string, nowMs: number, detail: string): AccessRecord {
  const reason = exchange.closeCode ?? 'done';
  const hasPool = exchange.poolName !== '';
  return {
    request_id: exchange.requestId,
    listener,
    method: exchange.head.method,
    path: exchange.head.path,
    status: exchange.status,
    reason,
    origin: closeReasons[reason].origin,
    model: exchange.facts.model ?? undefined,
    pool: hasPool ? exchange.poolName : undefined,
    endpoint: hasPool ? exchange.endpointUrl : undefined,
    stream: exchange.facts.isStream ? true : undefined,
    request_bytes: exchange.body.receivedBytes,
    response_bytes: exchange.responseBytes,
    prompt_tokens: exchange.promptTokens < 0 ? undefined : exchange.promptTokens,
    completion_tokens: exchange.completionTokens < 0 ? undefined : exchange.completionTokens,
    cached_tokens: exchange.cachedTokens <= 0 ? undefined : exchange.cachedTokens,
    ttft_ms: exchange.firstByteMs === 0 ? undefined : rounded(exchange.firstByteMs - exchange.startedMs),
    total_ms: rounded(nowMs - exchange.startedMs),
    retries: Math.max(0, exchange.attempts - 1),
    detail: detail === '' ? undefined : detail,
  };
}

function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}
