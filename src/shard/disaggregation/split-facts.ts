import { estimatePromptTokens } from '../../account/index.ts';
import { Api } from '../../exchange/index.ts';
import { Serves, servesAll } from '../../pick/index.ts';
import type { SlabPool } from '../../shm/index.ts';
import type { GatewayExchange } from '../gateway-exchange.ts';
import type { PoolRuntime } from '../runtime.ts';
import { peekMember } from './member-text.ts';

// What of a request says whether it can be split over two endpoints. Pure.

/** What these members may say without making a request one of those that have to be served whole. */
const plainValues: readonly (readonly [name: string, values: ReadonlySet<string>])[] = [
  // Several answers read the same blocks, which the first of them gives back.
  ['n', new Set(['', 'null', '1'])],
  ['best_of', new Set(['', 'null', '1'])],
  ['use_beam_search', new Set(['', 'null', 'false'])],
  // What is said of the prompt's own tokens is known only where they are computed.
  ['echo', new Set(['', 'null', 'false'])],
  ['prompt_logprobs', new Set(['', 'null'])],
];

/**
 * vLLM's first step has one token. Engines that are to find a tool call in it, or behind the thoughts that begin with it, answer
 * 500: which would look like a fault of theirs, and the answer could well be had.
 */
const plainToolChoices: ReadonlySet<string> = new Set(['', 'null', '"auto"', '"none"']);

/** Bit set of `Serves`: which endpoints of `pool` will do for the request. */
export function wantsOf(exchange: GatewayExchange, pool: PoolRuntime, slabs: SlabPool): number {
  const { api } = exchange.facts;
  if (pool.split === null) return servesAll;
  if (api === Api.other || api === Api.models) return Serves.plain;
  return canSplit(exchange, pool.split.protocol, slabs) ? Serves.whole | Serves.decode : Serves.whole;
}

function canSplit(exchange: GatewayExchange, protocol: 'vllm' | 'sglang', slabs: SlabPool): boolean {
  const { spans, body, facts } = exchange;
  if (spans === null || !body.isComplete || !body.isWhole) return false;
  // The others have no members for it, or (responses) may not be sent twice.
  if (facts.api !== Api.chatCompletions && facts.api !== Api.completions) return false;
  if (spans.rootEnd < 0 || spans.isEmpty || spans.isAmbiguous) return false;
  for (const [name, values] of plainValues) {
    if (!values.has(peekMember(body, slabs, spans.startOf(name), spans.endOf(name)))) return false;
  }
  const toolChoice = peekMember(body, slabs, spans.startOf('tool_choice'), spans.endOf('tool_choice'));
  if (protocol === 'vllm' && !plainToolChoices.has(toolChoice)) return false;
  // A list of prompts is a list of requests. One of numbers is one prompt, as tokens.
  const prompt = peekMember(body, slabs, spans.startOf('prompt'), spans.endOf('prompt'));
  return !prompt.startsWith('[') || /^\[\s*\d/.test(prompt);
}

/** Tokens of the prompt, as far as anybody knows. */
export function splitTokensOf({ estimatedTokens, body }: GatewayExchange): number {
  return estimatedTokens >= 0 ? estimatedTokens : estimatePromptTokens(body.receivedBytes);
}
