/** Every path the simulated engine serves. */
import { chatCompletions } from './chat.ts';
import { completions } from './completions.ts';
import type { SimExchange } from './exchange.ts';
import type { JsonObject } from './json.ts';
import { countTokens, messages } from './messages.ts';
import { embeddings, rerank, score } from './pooling.ts';
import { responses } from './responses.ts';
import * as info from './server-info.ts';
import { detokenizePrompt, tokenizePrompt } from './tokenization.ts';

export interface Route {
  readonly methods: readonly string[];
  /** Whether POST bodies must be JSON objects. */
  readonly readsJson: boolean;
  /** Uses the engine: counted by `/load`, and where request faults strike. */
  readonly isInference: boolean;
  handle(exchange: SimExchange, body: JsonObject): void;
}

type Handler = Route['handle'];
const inference = (handle: Handler): Route => ({ methods: ['POST'], readsJson: true, isInference: true, handle });
const command = (handle: Handler): Route => ({ methods: ['POST'], readsJson: true, isInference: false, handle });
const report = (handle: Handler): Route => ({ methods: ['GET'], readsJson: false, isInference: false, handle });

export const routes: ReadonlyMap<string, Route> = new Map([
  ['/v1/chat/completions', inference(chatCompletions)],
  ['/v1/completions', inference(completions)],
  ['/v1/responses', inference(responses)],
  ['/v1/messages', inference(messages)],
  ['/v1/messages/count_tokens', command(countTokens)],
  ['/v1/embeddings', inference(embeddings)],
  ['/rerank', inference(rerank)],
  ['/v1/rerank', inference(rerank)],
  ['/v2/rerank', inference(rerank)],
  ['/score', inference(score)],
  ['/v1/score', inference(score)],
  ['/tokenize', command(tokenizePrompt)],
  ['/detokenize', command(detokenizePrompt)],
  ['/v1/load_lora_adapter', command(info.loadAdapter)],
  ['/v1/unload_lora_adapter', command(info.unloadAdapter)],
  ['/reset_prefix_cache', { ...command(info.resetPrefixCache), readsJson: false }],
  ['/v1/models', report(info.models)],
  ['/health', report(info.health)],
  ['/ping', { methods: ['GET', 'POST'], readsJson: false, isInference: false, handle: info.health }],
  ['/version', report(info.version)],
  ['/load', report(info.load)],
  ['/metrics', report(info.metrics)],
  ['/sim/transfers', command((exchange, body) => exchange.context.transfers.fetchKept(exchange, body))],
  ['/sim/rooms', command((exchange, body) => exchange.context.transfers.fetchRoom(exchange, body))],
  ['/sim/stats', report(info.stats)],
  ['/sim/faults', { methods: ['GET', 'POST'], readsJson: true, isInference: false, handle: info.faults }],
]);
