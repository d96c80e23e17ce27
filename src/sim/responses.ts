/** POST /v1/responses (stateless: nothing is stored, `previous_response_id` is refused): one message or one function call. */
import type { SimExchange } from './exchange.ts';
import { Generation } from './generation.ts';
import type { Choice, GenerationListener, GenerationRequest } from './generation.ts';
import { chooseTool, jsonSchemaOf, lengthWish, planOutput, priorityOf, servedModel } from './generation-request.ts';
import type { DeclaredTool } from './generation-request.ts';
import { ApiError, arrayAt, isObject, numberAt, objectAt, stringAt } from './json.ts';
import type { JsonObject } from './json.ts';
import { unixSeconds } from './openai.ts';
import { PromptWriter, writeContent } from './prompt.ts';
import type { ChatPrompt } from './prompt.ts';

export function responses(exchange: SimExchange, body: JsonObject): void {
  const { context } = exchange;
  const model = servedModel(context, body);
  if (typeof body['previous_response_id'] === 'string') {
    throw new ApiError(404, `Response with id '${body['previous_response_id']}' not found.`, 'previous_response_id');
  }
  const prompt = responsesPrompt(body);
  const tokensMax = numberAt(body, 'max_output_tokens', 1);
  const length = lengthWish(exchange, body, tokensMax);
  const wish = {
    tool: chooseTool(declaredTools(body), toolChoice(body), prompt.lastUserText),
    toolCallIdPrefix: 'call_',
    jsonSchema: jsonSchemaOf(objectAt(body, 'text')?.['format'], body),
  };
  const request: GenerationRequest = {
    prompts: [prompt.tokens],
    choicesPerPrompt: 1,
    stops: [],
    adapter: model.adapter,
    priority: priorityOf(exchange, body),
    cacheSalt: stringAt(body, 'cache_salt') ?? '',
    planFor: (seed, promptTokens) => planOutput(context, seed, promptTokens, length, wish),
  };
  const base = {
    id: `resp_${exchange.header('x-request-id') ?? context.ids.hex(48)}`,
    object: 'response',
    created_at: unixSeconds(context),
    background: false,
    error: null,
    instructions: stringAt(body, 'instructions') ?? null,
    max_output_tokens: tokensMax ?? null,
    max_tool_calls: null,
    model: model.name,
    parallel_tool_calls: true,
    previous_response_id: null,
    service_tier: 'default',
    store: false,
    temperature: numberAt(body, 'temperature') ?? 1,
    text: body['text'] ?? { format: { type: 'text' } },
    tool_choice: body['tool_choice'] ?? 'auto',
    tools: body['tools'] ?? [],
    top_logprobs: 0,
    top_p: numberAt(body, 'top_p') ?? 1,
    truncation: 'disabled',
    metadata: body['metadata'] ?? {},
  };
  const itemId = context.ids.hex(32);
  if (body['stream'] !== true) {
    new Generation(context, request, new ResponseAnswer(exchange, base, itemId)).submit(exchange);
    return;
  }
  const stream = new ResponseStream(exchange, base, itemId);
  const generation = new Generation(context, request, stream);
  exchange.startStream();
  stream.open();
  generation.submit(exchange);
  exchange.flush();
}

function responsesPrompt(body: JsonObject): ChatPrompt {
  const writer = new PromptWriter();
  writer.tools(arrayAt(body, 'tools'));
  const instructions = stringAt(body, 'instructions');
  const turn = (role: string, content: unknown): void => {
    writer.openTurn(role);
    writeContent(writer, content);
    writer.closeTurn();
  };
  if (instructions !== undefined) turn('system', instructions);
  const input = body['input'];
  if (typeof input === 'string') turn('user', input);
  else if (Array.isArray(input)) for (const item of input as readonly unknown[]) writeItem(writer, item, turn);
  else throw new ApiError(400, '`input` must be text or a list of items.', 'input');
  return writer.finish();
}

function writeItem(writer: PromptWriter, item: unknown, turn: (role: string, content: unknown) => void): void {
  if (!isObject(item)) return;
  if (item['type'] === 'function_call') {
    writer.openTurn('assistant');
    writer.toolCall(String(item['name']), String(item['arguments']));
    writer.closeTurn();
  } else if (item['type'] === 'function_call_output') {
    turn('tool', item['output']);
  } else if (typeof item['role'] === 'string') {
    turn(item['role'], item['content']);
  }
}

function declaredTools(body: JsonObject): readonly DeclaredTool[] {
  const tools: DeclaredTool[] = [];
  for (const tool of arrayAt(body, 'tools') ?? []) {
    if (isObject(tool) && tool['type'] === 'function') {
      tools.push({ name: String(tool['name']), parameters: tool['parameters'] });
    }
  }
  return tools;
}

function toolChoice(body: JsonObject): string {
  const choice = body['tool_choice'];
  if (typeof choice === 'string') return choice;
  return isObject(choice) ? String(choice['name']) : 'auto';
}

/** The one output item, as far as it has come. */
function outputItem(choice: Choice, itemId: string, status: string, text: string): JsonObject {
  const call = choice.toolCall;
  if (call !== null) {
    return { id: `fc_${itemId}`, type: 'function_call', status, arguments: text, call_id: call.id, name: call.name };
  }
  const content = status === 'in_progress' ? [] : [textPart(text)];
  return { id: `msg_${itemId}`, type: 'message', status, role: 'assistant', content };
}

function textPart(text: string): JsonObject {
  return { type: 'output_text', annotations: [], logprobs: [], text };
}

/** The whole response object after the end. */
function finished(exchange: SimExchange, base: JsonObject, itemId: string, generation: Generation): JsonObject {
  const choice = generation.choices[0]!;
  const isCut = choice.finishReason === 'length';
  const { promptTokens, completionTokens, cachedTokens } = generation;
  const status = isCut ? 'incomplete' : 'completed';
  return {
    ...base,
    status,
    completed_at: isCut ? null : unixSeconds(exchange.context),
    incomplete_details: isCut ? { reason: 'max_output_tokens' } : null,
    output: [outputItem(choice, itemId, status, choice.text)],
    usage: exchange.fault.noUsage
      ? null
      : {
          input_tokens: promptTokens,
          input_tokens_details: { cached_tokens: cachedTokens },
          output_tokens: completionTokens,
          output_tokens_details: { reasoning_tokens: 0 },
          total_tokens: promptTokens + completionTokens,
        },
  };
}

class ResponseAnswer implements GenerationListener {
  readonly #exchange: SimExchange;
  readonly #base: JsonObject;
  readonly #itemId: string;

  constructor(exchange: SimExchange, base: JsonObject, itemId: string) {
    this.#exchange = exchange;
    this.#base = base;
    this.#itemId = itemId;
  }

  onStart(): void {}
  onText(): void {}
  onChoiceEnd(): void {}

  onEnd(generation: Generation): void {
    this.#exchange.sendJson(finished(this.#exchange, this.#base, this.#itemId, generation));
  }
}

/** created, in_progress; the item with its part and deltas; completed or incomplete. No `[DONE]`. */
class ResponseStream implements GenerationListener {
  readonly #exchange: SimExchange;
  readonly #base: JsonObject;
  readonly #itemId: string;
  #sequenceNumber = 0;

  constructor(exchange: SimExchange, base: JsonObject, itemId: string) {
    this.#exchange = exchange;
    this.#base = base;
    this.#itemId = itemId;
  }

  /** The two events that come before the engine has done anything. */
  open(): void {
    const response = {
      ...this.#base,
      status: 'in_progress',
      completed_at: null,
      incomplete_details: null,
      output: [],
      usage: null,
    };
    this.#event('response.created', { response });
    this.#event('response.in_progress', { response });
  }

  onStart(generation: Generation): void {
    const choice = generation.choices[0]!;
    this.#event('response.output_item.added', {
      output_index: 0,
      item: outputItem(choice, this.#itemId, 'in_progress', ''),
    });
    if (choice.toolCall === null)
      this.#event('response.content_part.added', { ...this.#place(choice), part: textPart('') });
  }

  onText(choice: Choice, text: string, tokens: number): void {
    if (choice.toolCall === null) {
      this.#event('response.output_text.delta', { ...this.#place(choice), delta: text, logprobs: [] }, tokens);
    } else {
      this.#event('response.function_call_arguments.delta', { ...this.#place(choice), delta: text }, tokens);
    }
  }

  onChoiceEnd(choice: Choice): void {
    const { text, toolCall } = choice;
    if (toolCall === null) {
      this.#event('response.output_text.done', { ...this.#place(choice), text, logprobs: [] });
      this.#event('response.content_part.done', { ...this.#place(choice), part: textPart(text) });
    } else {
      this.#event('response.function_call_arguments.done', {
        ...this.#place(choice),
        name: toolCall.name,
        arguments: text,
      });
    }
    const status = choice.finishReason === 'length' ? 'incomplete' : 'completed';
    this.#event('response.output_item.done', { output_index: 0, item: outputItem(choice, this.#itemId, status, text) });
  }

  onEnd(generation: Generation): void {
    const exchange = this.#exchange;
    if (!exchange.fault.noDone) {
      const response = finished(exchange, this.#base, this.#itemId, generation);
      this.#event(`response.${String(response['status'])}`, { response });
    }
    exchange.endStream();
  }

  #place(choice: Choice): JsonObject {
    return choice.toolCall === null
      ? { item_id: `msg_${this.#itemId}`, output_index: 0, content_index: 0 }
      : { item_id: `fc_${this.#itemId}`, output_index: 0 };
  }

  #event(type: string, fields: JsonObject, tokens = 0): void {
    const data = JSON.stringify({ type, sequence_number: this.#sequenceNumber++, ...fields });
    this.#exchange.sendEvent(`event: ${type}\ndata: ${data}\n\n`, tokens);
  }
}
