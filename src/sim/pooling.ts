/** Endpoints that read and do not write: embeddings, rerank, score. Their sequences end with their prefill. */
import type { SimExchange } from './exchange.ts';
import { Generation } from './generation.ts';
import type { GenerationListener, PlannedOutput } from './generation.ts';
import { outputRoom, priorityOf, servedModel } from './generation-request.ts';
import { ApiError, isObject, numberAt } from './json.ts';
import type { JsonObject } from './json.ts';
import { unixSeconds } from './openai.ts';
import { plainPrompt, plainPrompts } from './prompt.ts';
import { hashText, Random } from './random.ts';

const defaultDimensions = 64;
const dimensionsMax = 4096;

/** Runs prompts through the engine's prefill, then calls `onEnd`. */
function pool(
  exchange: SimExchange,
  body: JsonObject,
  prompts: readonly Int32Array[],
  onEnd: (generation: Generation, model: string) => void,
): void {
  const { context } = exchange;
  const model = servedModel(context, body);
  const planFor = (_seed: number, promptTokens: number): PlannedOutput => {
    outputRoom(context, promptTokens, undefined);
    return { plan: { tokenCount: 0, finishReason: 'stop', nextToken: () => 0 }, toolCall: null };
  };
  const request = {
    prompts,
    choicesPerPrompt: 1,
    stops: [],
    adapter: model.adapter,
    priority: priorityOf(exchange, body),
    cacheSalt: '',
    planFor,
  };
  const listener: GenerationListener = {
    onStart() {},
    onText() {},
    onChoiceEnd() {},
    onEnd: (generation) => onEnd(generation, model.name),
  };
  new Generation(context, request, listener).submit(exchange);
}

/** POST /v1/embeddings. Vectors have length 1 and depend on the tokens alone. */
export function embeddings(exchange: SimExchange, body: JsonObject): void {
  const input = body['input'];
  if (input === undefined || input === '' || (Array.isArray(input) && input.length === 0)) {
    throw new ApiError(422, 'The input cannot be processed: it is empty.', 'input');
  }
  const dimensions = numberAt(body, 'dimensions', 1) ?? defaultDimensions;
  if (!Number.isInteger(dimensions) || dimensions > dimensionsMax) {
    throw new ApiError(400, `\`dimensions\` must be a whole number up to ${dimensionsMax}.`, 'dimensions');
  }
  const isBase64 = body['encoding_format'] === 'base64';
  pool(exchange, body, plainPrompts(input, 'input'), (generation, model) => {
    exchange.sendJson({
      id: `embd-${exchange.header('x-request-id') ?? exchange.context.ids.hex(32)}`,
      object: 'list',
      created: unixSeconds(exchange.context),
      model,
      data: generation.choices.map(({ index, sequence }) => {
        const vector = vectorOf(sequence.promptKey, dimensions);
        return { index, object: 'embedding', embedding: isBase64 ? base64(vector) : vector };
      }),
      ...(exchange.fault.noUsage ? {} : { usage: poolingUsage(generation) }),
    });
  });
}

function vectorOf(key: number, dimensions: number): number[] {
  const random = new Random(hashText(String(key)));
  const vector = Array.from({ length: dimensions }, () => random.ratio() * 2 - 1);
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}

/** Little-endian float32, as OpenAI's clients ask for by default. */
function base64(vector: readonly number[]): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, index * 4);
  return bytes.toString('base64');
}

function poolingUsage(generation: Generation): JsonObject {
  const { promptTokens } = generation;
  return { prompt_tokens: promptTokens, total_tokens: promptTokens, completion_tokens: 0, prompt_tokens_details: null };
}

/** POST /rerank, /v1/rerank, /v2/rerank. */
export function rerank(exchange: SimExchange, body: JsonObject): void {
  const query = textOf(body['query'], 'query');
  const documents = textsOf(body['documents'], 'documents');
  const topCount = numberAt(body, 'top_n', 0) ?? 0;
  const prompts = documents.map((document) => plainPrompt(`${query}\n${document}`, 'documents'));
  pool(exchange, body, prompts, (generation, model) => {
    const results = documents
      .map((text, index) => ({
        index,
        document: { text, multi_modal: null },
        relevance_score: relevance(query, text),
      }))
      .sort((left, right) => right.relevance_score - left.relevance_score || left.index - right.index);
    exchange.sendJson({
      id: `rerank-${exchange.header('x-request-id') ?? exchange.context.ids.hex(32)}`,
      model,
      usage: { prompt_tokens: generation.promptTokens, total_tokens: generation.promptTokens },
      results: topCount === 0 ? results : results.slice(0, topCount),
    });
  });
}

/** POST /score, /v1/score: each query with its document, or one query with all. */
export function score(exchange: SimExchange, body: JsonObject): void {
  const queries = textsOf(body['queries'] ?? body['text_1'] ?? body['data_1'], 'queries');
  const documents = textsOf(body['documents'] ?? body['items'] ?? body['text_2'] ?? body['data_2'], 'documents');
  if (queries.length !== 1 && queries.length !== documents.length) {
    throw new ApiError(400, 'Give one query, or as many as documents.', 'queries');
  }
  const queryOf = (index: number): string => queries[queries.length === 1 ? 0 : index]!;
  const prompts = documents.map((document, index) => plainPrompt(`${queryOf(index)}\n${document}`, 'documents'));
  pool(exchange, body, prompts, (generation, model) => {
    exchange.sendJson({
      id: `embd-${exchange.header('x-request-id') ?? exchange.context.ids.hex(32)}`,
      object: 'list',
      created: unixSeconds(exchange.context),
      model,
      data: documents.map((text, index) => ({ index, object: 'score', score: relevance(queryOf(index), text) })),
      usage: poolingUsage(generation),
    });
  });
}

/** Share of the query's words the document has, with a little of its hash so that scores differ. 0 .. 1. */
function relevance(query: string, document: string): number {
  const wordsOf = (text: string): Set<string> => new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []);
  const wanted = wordsOf(query);
  const found = wordsOf(document);
  let shared = 0;
  for (const word of wanted) if (found.has(word)) shared++;
  const jitter = hashText(document) / 0x1_0000_0000;
  return (shared / Math.max(1, wanted.size)) * 0.9 + jitter * 0.1;
}

function textOf(value: unknown, param: string): string {
  if (typeof value === 'string') return value;
  if (isObject(value) && typeof value['text'] === 'string') return value['text'];
  throw new ApiError(400, `\`${param}\` must be text.`, param);
}

function textsOf(value: unknown, param: string): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (list.length === 0) throw new ApiError(400, `\`${param}\` must not be empty.`, param);
  return list.map((item) => textOf(item, param));
}
