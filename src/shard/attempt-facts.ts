import { estimatePromptTokens } from '../account/index.ts';
import { Api } from '../exchange/index.ts';
import { hashText, Serves, servesAll } from '../pick/index.ts';
import { flowBits } from '../shm/index.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import type { PoolRuntime } from './runtime.ts';

// What an attempt needs to know of its exchange. Pure; the dispatcher draws the consequences.

/** Reserved on an endpoint for an answer whose length the client did not bound. */
const completionTokensAssumed = 256;
/** A client may ask for a huge bound it never uses; more than this is not reserved. */
const completionTokensReservedMax = 4096;

const idempotentMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

/** Repeating it only costs time, even if an endpoint has seen all of it. */
export function isRepeatable({ facts, head }: GatewayExchange): boolean {
  return facts.isRepeatable || idempotentMethods.has(head.method);
}

/** Whether anybody is left but endpoint `failed` and those that have failed before. */
export function hasUntried(exchange: GatewayExchange, { view, split }: PoolRuntime, failed: number): boolean {
  const { tried, fits } = exchange;
  view.fit?.begin(exchange);
  const isFit = (index: number): boolean => (fits === null || fits[index] === 1) && view.fit?.admits(index) !== false;
  const useful = split === null ? servesAll : standIns(split.protocol, view.endpoints[failed]!.serves!);
  return view.endpoints.some(
    ({ serves = servesAll }, index) => index !== failed && !tried.has(index) && (serves & useful) !== 0 && isFit(index),
  );
}

/** Bit set of `Serves`: who can do something for a request that failed at an endpoint which serves `failed`. */
function standIns(protocol: 'vllm' | 'sglang', failed: number): number {
  if (failed !== Serves.prefill) return Serves.whole | Serves.decode;
  return protocol === 'vllm' ? servesAll : Serves.prefill | Serves.whole;
}

/** Whose body is one prompt, of one context. */
const apisWithPrompt: ReadonlySet<Api> = new Set([Api.chatCompletions, Api.completions, Api.responses, Api.messages]);

/** What its context has to hold, about, by the bytes of its prompt or else of its body; 0 where those say nothing of it. */
export function contextTokensOf(exchange: GatewayExchange, pool: PoolRuntime): number {
  if (!apisWithPrompt.has(exchange.facts.api)) return 0;
  const { prompt, modelLabel, flow } = exchange;
  return prompt === null ? bodyTokens(exchange, pool) : Math.floor(pool.learned.ratio.tokens(modelLabel, flow, prompt));
}

function bodyTokens({ head, body, modelLabel, flow }: GatewayExchange, { learned }: PoolRuntime): number {
  return Math.ceil(Math.max(head.contentLength, body.receivedBytes) * learned.ratio.of(modelLabel, flow));
}

export function tokensToReserve(exchange: GatewayExchange): number {
  const { head, body, facts } = exchange;
  const promptTokens = estimatePromptTokens(Math.max(head.contentLength, body.receivedBytes));
  const asked = facts.completionTokensMax;
  return promptTokens + (asked < 0 ? completionTokensAssumed : Math.min(asked, completionTokensReservedMax));
}

/** What comes in is text that is computed before anything of the answer is. */
const prompted: ReadonlySet<Api> = new Set([
  Api.chatCompletions,
  Api.completions,
  Api.responses,
  Api.messages,
  Api.embeddings,
  Api.rerank,
  Api.score,
]);

/**
 * Prompt tokens of a request whose prompt nobody has looked at, by what a byte of body was worth of late; 0 where it has none.
 * Of a body without a length only what has come is known.
 */
export function promptTokensOf(exchange: GatewayExchange, pool: PoolRuntime): number {
  return prompted.has(exchange.facts.api) ? bodyTokens(exchange, pool) : 0;
}

/** What the engine has done for it: prompt tokens it had not cached, and those of the answer. */
export function servedTokens(exchange: GatewayExchange): number {
  const { body, firstByteMs, promptTokens, cachedTokens, completionTokens } = exchange;
  // Nobody knows how far it came with a prompt whose client has left; an attempt that failed was no service.
  if (firstByteMs === 0) return exchange.isDownstreamOver ? estimatePromptTokens(body.receivedBytes) : 0;
  const prompt = promptTokens < 0 ? estimatePromptTokens(body.receivedBytes) : promptTokens - Math.max(0, cachedTokens);
  return Math.max(0, prompt) + (completionTokens < 0 ? exchange.responseRelay.tap.eventCount : completionTokens);
}

/** Whose turn it is counted as: a keyed hash, so that nobody can choose whom to meet; 0 where nobody is named. */
export function flowOf(exchange: GatewayExchange, pool: PoolRuntime, hashSeed: number): number {
  const { fairBy } = pool.config.queue;
  if (fairBy.source === 'none') return 0;
  const tenant = fairBy.source === 'header' ? exchange.head.get(fairBy.name) : exchange.facts.user;
  return tenant === null || tenant === '' ? 0 : hashText(tenant, hashSeed) >>> (32 - flowBits);
}

/** The first of the pool's sources that the request has; requests with none of them share a key per path. */
export function hashKeyOf(exchange: GatewayExchange, pool: PoolRuntime): number {
  for (const source of pool.config.hashOn) {
    const value =
      source.source === 'header'
        ? exchange.head.get(source.name)
        : source.name === 'user'
          ? exchange.facts.user
          : exchange.facts.model;
    if (value !== null && value !== '') return hashText(value);
  }
  return hashText(exchange.head.path);
}
