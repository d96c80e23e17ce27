import { closeReasons, type Exchange } from '../exchange/index.ts';

/** pino's number for the level of access lines. */
const info = 30;
const needsEscape = /[^\x20-\x7e]|["\\]/;

/**
 * Writes the lines of the access log, in the form in which pino writes every other line of the shard. By hand, because
 * there is one for each request: a record object and pino's generic serialiser took 2.4 us of it, this takes 0.8 (Node 20.20).
 *
 * Bodies, credentials and field values are never in it.
 */
export class AccessLines {
  readonly #opening: string;

  constructor(shardIndex: number) {
    this.#opening = `,"shard":${shardIndex},"request_id":`;
  }

  /**
   * One line with its end. `detail`: what the gateway saw of a failure; it may hold an endpoint's error code, never a
   * client's text. What an exchange does not have is left out.
   */
  line(exchange: Exchange, listener: string, nowMs: number, detail: string): string {
    const reason = exchange.closeCode ?? 'done';
    const { facts, head } = exchange;
    let text = `{"level":${info},"time":${Date.now()}${this.#opening}${quoted(exchange.requestId)}`;
    text += `,"listener":${quoted(listener)},"method":${quoted(head.method)},"path":${quoted(head.path)}`;
    text += `,"status":${exchange.status},"reason":"${reason}","origin":"${closeReasons[reason].origin}"`;
    if (facts.model !== null) text += `,"model":${quoted(facts.model)}`;
    if (exchange.poolName !== '') {
      text += `,"pool":${quoted(exchange.poolName)},"endpoint":${quoted(exchange.endpointUrl)}`;
    }
    if (exchange.prefillUrl !== '') text += `,"prefill_endpoint":${quoted(exchange.prefillUrl)}`;
    if (facts.isStream) text += ',"stream":true';
    text += `,"request_bytes":${exchange.body.receivedBytes},"response_bytes":${exchange.responseBytes}`;
    if (exchange.promptTokens >= 0) text += `,"prompt_tokens":${exchange.promptTokens}`;
    if (exchange.completionTokens >= 0) text += `,"completion_tokens":${exchange.completionTokens}`;
    if (exchange.cachedTokens > 0) text += `,"cached_tokens":${exchange.cachedTokens}`;
    if (exchange.gpuSeconds > 0) text += `,"gpu_seconds":${Math.round(exchange.gpuSeconds * 1e6) / 1e6}`;
    if (exchange.firstByteMs > 0) text += `,"ttft_ms":${rounded(exchange.firstByteMs - exchange.startedMs)}`;
    text += `,"total_ms":${rounded(nowMs - exchange.startedMs)},"retries":${Math.max(0, exchange.attempts - 1)}`;
    if (exchange.estimatedTokens >= 0) text += `,"estimated_tokens":${exchange.estimatedTokens}`;
    if (exchange.headroom >= 0) text += `,"headroom":${exchange.headroom}`;
    if (exchange.matchedTokens >= 0) text += `,"matched_tokens":${exchange.matchedTokens}`;
    if (exchange.replaySkipped !== '') text += `,"replay_skipped":"${exchange.replaySkipped}"`;
    if (detail !== '') text += `,"detail":${quoted(detail)}`;
    return `${text},"msg":"access"}\n`;
  }
}

/** A JSON string. */
function quoted(text: string): string {
  return needsEscape.test(text) ? JSON.stringify(text) : `"${text}"`;
}

function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}
