/** Request fields the generating endpoints have in common: which model, how long, which stop strings, what kind of output. */
import type { SimContext } from './context.ts';
import type { SimExchange } from './exchange.ts';
import type { PlannedOutput, ToolCall } from './generation.ts';
import { ApiError, isObject, numberAt, objectAt, stringAt } from './json.ts';
import type { JsonObject } from './json.ts';
import { Random } from './random.ts';
import { fixedPlan, jsonText, prosePlan, toolCallTokens } from './text.ts';
import { tokenize } from './tokenizer.ts';

/** Answers end by themselves after this many tokens, unless the request says otherwise. */
const naturalTokens = { min: 24, spread: 104 } as const;

export interface ServedModel {
  /** The name the client used; answers repeat it. */
  readonly name: string;
  /** Empty for the base model. */
  readonly adapter: string;
}

/** A request without a model gets the first one, as in vLLM. Throws ApiError 404 for a model that is not served. */
export function servedModel(context: SimContext, body: JsonObject): ServedModel {
  const name = stringAt(body, 'model') ?? context.settings.models[0]!;
  if (context.adapters.has(name)) return { name, adapter: name };
  if (!context.settings.models.includes(name))
    throw new ApiError(404, `The model \`${name}\` does not exist.`, 'model');
  return { name, adapter: '' };
}

/** `priority` of the body, or of vLLM's header; lower runs first. */
export function priorityOf(exchange: SimExchange, body: JsonObject): number {
  const header = Number(exchange.header('x-vllm-priority') ?? 0);
  return numberAt(body, 'priority') ?? (Number.isFinite(header) ? header : 0);
}

/** `n`: choices of each prompt; OpenAI's bound. */
export function choiceCount(body: JsonObject): number {
  const count = numberAt(body, 'n', 1) ?? 1;
  if (!Number.isInteger(count) || count > 128) throw new ApiError(400, '`n` must be a whole number, 1 to 128.', 'n');
  return count;
}

/** `stop` (or `stop_sequences`): a string or a list; empty strings are dropped. */
export function stopsOf(value: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return list.filter((stop): stop is string => typeof stop === 'string' && stop !== '');
}

/** How many tokens to say. */
export interface LengthWish {
  /** Of the request; undefined when it sets none. */
  readonly tokensMax: number | undefined;
  readonly tokensMin: number;
  /** Says as much as it may. */
  readonly ignoreEnd: boolean;
  /** Test hook `x-sim-tokens`: exactly so many, within `tokensMax`. */
  readonly tokensExact: number | undefined;
}

export function lengthWish(exchange: SimExchange, body: JsonObject, tokensMax: number | undefined): LengthWish {
  const exact = exchange.header('x-sim-tokens');
  return {
    tokensMax,
    tokensMin: numberAt(body, 'min_tokens', 0) ?? 0,
    ignoreEnd: body['ignore_eos'] === true,
    tokensExact: exact === undefined ? undefined : Math.max(1, Number.parseInt(exact, 10) || 1),
  };
}

/** Room for output after a prompt. Throws ApiError 400 as vLLM does when prompt and `max_tokens` do not fit. */
export function outputRoom(context: SimContext, promptTokens: number, tokensMax: number | undefined): number {
  const { maxModelLen } = context.settings;
  if (promptTokens + 1 > maxModelLen || promptTokens + (tokensMax ?? 0) > maxModelLen) {
    const wanted = tokensMax === undefined ? '' : ` and asks for ${tokensMax} output tokens`;
    throw new ApiError(
      400,
      `This model's maximum context length is ${maxModelLen} tokens; the request has ${promptTokens} input tokens${wanted}.`,
      'input_tokens',
    );
  }
  return Math.min(tokensMax ?? Infinity, maxModelLen - promptTokens);
}

/** What kind of output was asked for. */
export interface OutputWish {
  /** The tool to call, or null. */
  readonly tool: { readonly name: string; readonly parameters: unknown } | null;
  readonly toolCallIdPrefix: string;
  /** A JSON schema the text must fit (`{}`: any object), or null for prose. */
  readonly jsonSchema: unknown;
}

export function planOutput(
  context: SimContext,
  seed: number,
  promptTokens: number,
  length: LengthWish,
  wish: OutputWish,
): PlannedOutput {
  const room = outputRoom(context, promptTokens, length.tokensMax);
  if (wish.tool !== null) {
    const argumentsText = jsonText(wish.tool.parameters ?? { type: 'object' }, seed);
    const id = wish.toolCallIdPrefix + new Random(seed).hex(24);
    const toolCall: ToolCall = { id, name: wish.tool.name, argumentsText };
    return { plan: fixedPlan(toolCallTokens(wish.tool.name, argumentsText), room), toolCall };
  }
  if (wish.jsonSchema !== null)
    return { plan: fixedPlan(tokenize(jsonText(wish.jsonSchema, seed)), room), toolCall: null };
  const natural = length.tokensExact ?? naturalTokens.min + new Random(seed).below(naturalTokens.spread);
  const wanted = length.ignoreEnd ? room : Math.max(natural, length.tokensMin);
  return wanted <= room && !length.ignoreEnd
    ? { plan: prosePlan(seed, wanted, 'stop'), toolCall: null }
    : { plan: prosePlan(seed, room, 'length'), toolCall: null };
}

/** Messages that contain this, given tools, get a tool call. */
const toolCallPhrase = 'call the tool';

/** A tool as each dialect declares it, under one shape. */
export interface DeclaredTool {
  readonly name: string;
  readonly parameters: unknown;
}

/** Which of the declared tools to call. `choice`: none, auto, required, or the name of one. */
export function chooseTool(tools: readonly DeclaredTool[], choice: string, lastUserText: string): DeclaredTool | null {
  if (tools.length === 0 || choice === 'none') return null;
  const named = tools.find((tool) => tool.name === choice);
  if (named !== undefined) return named;
  if (choice === 'required' || lastUserText.includes(toolCallPhrase)) return tools[0]!;
  return null;
}

/** The schema asked for by `response_format` (chat), `text.format` (Responses) or `structured_outputs` (vLLM), or null. */
export function jsonSchemaOf(format: unknown, body: JsonObject): unknown {
  const structured = objectAt(body, 'structured_outputs')?.['json'];
  if (structured !== undefined) return structured;
  if (!isObject(format)) return null;
  if (format['type'] === 'json_object') return {};
  if (format['type'] !== 'json_schema') return null;
  const schema = objectAt(format, 'json_schema')?.['schema'] ?? format['schema'];
  return schema ?? {};
}
