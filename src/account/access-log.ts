import { closeReasons, type Exchange } from '../exchange/index.ts';

/** One line of the access log. Bodies, credentials and field values are never in it. */
export interface AccessRecord {
  readonly request_id: string;
  readonly listener: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly reason: string;
  readonly origin: string;
  readonly model?: string;
  readonly pool?: string;
  readonly endpoint?: string;
  readonly stream?: boolean;
  readonly request_bytes: number;
  readonly response_bytes: number;
  readonly prompt_tokens?: number;
  readonly completion_tokens?: number;
  readonly cached_tokens?: number;
  readonly ttft_ms?: number;
  readonly total_ms: number;
  readonly retries: number;
  readonly detail?: string;
}

/** `detail`: what the gateway saw of a failure; it may hold an endpoint's error code, never a client's text. */
export function accessRecord(exchange: Exchange, listener: string, nowMs: number, detail: string): AccessRecord {
  const reason = exchange.closeCode ?? 'done';
  return {
    request_id: exchange.requestId,
    listener,
    method: exchange.head.method,
    path: exchange.head.path,
    status: exchange.status,
    reason,
    origin: closeReasons[reason].origin,
    ...(exchange.facts.model === null ? {} : { model: exchange.facts.model }),
    ...(exchange.poolName === '' ? {} : { pool: exchange.poolName, endpoint: exchange.endpointUrl }),
    ...(exchange.facts.isStream ? { stream: true } : {}),
    request_bytes: exchange.body.receivedBytes,
    response_bytes: exchange.responseBytes,
    ...(exchange.promptTokens < 0 ? {} : { prompt_tokens: exchange.promptTokens }),
    ...(exchange.completionTokens < 0 ? {} : { completion_tokens: exchange.completionTokens }),
    ...(exchange.cachedTokens <= 0 ? {} : { cached_tokens: exchange.cachedTokens }),
    ...(exchange.firstByteMs === 0 ? {} : { ttft_ms: rounded(exchange.firstByteMs - exchange.startedMs) }),
    total_ms: rounded(nowMs - exchange.startedMs),
    retries: Math.max(0, exchange.attempts - 1),
    ...(detail === '' ? {} : { detail }),
  };
}

function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}
