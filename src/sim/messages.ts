/** POST /v1/messages and /v1/messages/count_tokens, in Anthropic's shapes. */
import type { SimExchange } from './exchange.ts';
import { Generation } from './generation.ts';
import type { Choice, GenerationListener, GenerationRequest } from './generation.ts';
import { chooseTool, lengthWish, planOutput, priorityOf, servedModel, stopsOf } from './generation-request.ts';
import type { DeclaredTool } from './generation-request.ts';
import { ApiError, arrayAt, isObject, numberAt } from './json.ts';
import type { JsonObject } from './json.ts';
import { PromptWriter, writeContent } from './prompt.ts';
import type { ChatPrompt } from './prompt.ts';

export function messages(exchange: SimExchange, body: JsonObject): void {
  const { context } = exchange;
  const model = servedModel(context, body);
  const tokensMax = numberAt(body, 'max_tokens', 1);
  if (tokensMax === undefined) throw new ApiError(400, 'max_tokens: this field is required.', 'max_tokens');
  const prompt = messagesPrompt(body);
  const length = lengthWish(exchange, body, tokensMax);
  const wish = {
    tool: chooseTool(declaredTools(body), toolChoice(body), prompt.lastUserText),
    toolCallIdPrefix: 'toolu_',
    jsonSchema: null,
  };
  const request: GenerationRequest = {
    prompts: [prompt.tokens],
    choicesPerPrompt: 1,
    stops: stopsOf(body['stop_sequences']),
    adapter: model.adapter,
    priority: priorityOf(exchange, body),
    cacheSalt: '',
    planFor: (seed, promptTokens) => planOutput(context, seed, promptTokens, length, wish),
  };
  const id = `msg_${exchange.header('x-request-id') ?? context.ids.hex(32)}`;
  if (body['stream'] !== true) {
    new Generation(context, request, new MessageAnswer(exchange, id, model.name)).submit(exchange);
    return;
  }
  const generation = new Generation(context, request, new MessageStream(exchange, id, model.name));
  exchange.startStream();
  generation.submit(exchange);
  exchange.flush();
}

export function countTokens(exchange: SimExchange, body: JsonObject): void {
  servedModel(exchange.context, body);
  exchange.sendJson({ input_tokens: messagesPrompt(body).tokens.length });
}

function messagesPrompt(body: JsonObject): ChatPrompt {
  const list = arrayAt(body, 'messages');
  if (list === undefined || list.length === 0) throw new ApiError(400, 'messages: at least one message is required.');
  const writer = new PromptWriter();
  writer.tools(arrayAt(body, 'tools'));
  if (body['system'] !== undefined) {
    writer.openTurn('system');
    writeContent(writer, body['system']);
    writer.closeTurn();
  }
  for (const message of list) {
    if (!isObject(message)) continue;
    writer.openTurn(String(message['role']));
    writeContent(writer, message['content']);
    writer.closeTurn();
  }
  return writer.finish();
}

function declaredTools(body: JsonObject): readonly DeclaredTool[] {
  const tools: DeclaredTool[] = [];
  for (const tool of arrayAt(body, 'tools') ?? []) {
    if (isObject(tool)) tools.push({ name: String(tool['name']), parameters: tool['input_schema'] });
  }
  return tools;
}

function toolChoice(body: JsonObject): string {
  const choice = body['tool_choice'];
  if (!isObject(choice)) return 'auto';
  if (choice['type'] === 'any') return 'required';
  return choice['type'] === 'tool' ? String(choice['name']) : String(choice['type']);
}

function stopReason(choice: Choice): string {
  if (choice.finishReason === 'length') return 'max_tokens';
  if (choice.toolCall !== null) return 'tool_use';
  return choice.stopReason === null ? 'end_turn' : 'stop_sequence';
}

/** Cached tokens are outside `input_tokens` in this dialect. */
function usageOf(exchange: SimExchange, generation: Generation, outputTokens: number): JsonObject {
  if (exchange.fault.noUsage) return {};
  return {
    usage: {
      input_tokens: generation.promptTokens - generation.cachedTokens,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: generation.cachedTokens,
      output_tokens: outputTokens,
    },
  };
}

class MessageAnswer implements GenerationListener {
  readonly #exchange: SimExchange;
  readonly #id: string;
  readonly #model: string;

  constructor(exchange: SimExchange, id: string, model: string) {
    this.#exchange = exchange;
    this.#id = id;
    this.#model = model;
  }

  onStart(): void {}
  onText(): void {}
  onChoiceEnd(): void {}

  onEnd(generation: Generation): void {
    const choice = generation.choices[0]!;
    const call = choice.toolCall;
    const block =
      call === null
        ? { type: 'text', text: choice.text }
        : { type: 'tool_use', id: call.id, name: call.name, input: JSON.parse(call.argumentsText) as unknown };
    this.#exchange.sendJson({
      id: this.#id,
      type: 'message',
      role: 'assistant',
      model: this.#model,
      content: [block],
      stop_reason: stopReason(choice),
      stop_sequence: choice.stopReason,
      ...usageOf(this.#exchange, generation, generation.completionTokens),
    });
  }
}

/** message_start, one block with its deltas, message_delta with the running total, message_stop. */
class MessageStream implements GenerationListener {
  readonly #exchange: SimExchange;
  readonly #id: string;
  readonly #model: string;

  constructor(exchange: SimExchange, id: string, model: string) {
    this.#exchange = exchange;
    this.#id = id;
    this.#model = model;
  }

  onStart(generation: Generation): void {
    const message = {
      id: this.#id,
      type: 'message',
      role: 'assistant',
      model: this.#model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      ...usageOf(this.#exchange, generation, 1),
    };
    this.#event('message_start', { message });
    const call = generation.choices[0]!.toolCall;
    const block =
      call === null ? { type: 'text', text: '' } : { type: 'tool_use', id: call.id, name: call.name, input: {} };
    this.#event('content_block_start', { index: 0, content_block: block });
    this.#event('ping', {});
  }

  onText(choice: Choice, text: string, tokens: number): void {
    const delta =
      choice.toolCall === null ? { type: 'text_delta', text } : { type: 'input_json_delta', partial_json: text };
    this.#event('content_block_delta', { index: 0, delta }, tokens);
  }

  onChoiceEnd(choice: Choice): void {
    const { generation } = choice;
    this.#event('content_block_stop', { index: 0 });
    this.#event('message_delta', {
      delta: { stop_reason: stopReason(choice), stop_sequence: choice.stopReason },
      ...usageOf(this.#exchange, generation, generation.completionTokens),
    });
  }

  onEnd(): void {
    if (!this.#exchange.fault.noDone) this.#event('message_stop', {});
    this.#exchange.endStream();
  }

  #event(type: string, fields: JsonObject, tokens = 0): void {
    this.#exchange.sendEvent(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`, tokens);
  }
}
