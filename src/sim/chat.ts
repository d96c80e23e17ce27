/** POST /v1/chat/completions, in vLLM's shapes. */
import type { SimExchange } from './exchange.ts';
import { Generation } from './generation.ts';
import type { Choice, GenerationListener, GenerationRequest } from './generation.ts';
import {
  choiceCount,
  chooseTool,
  jsonSchemaOf,
  lengthWish,
  planOutput,
  priorityOf,
  servedModel,
  stopsOf,
} from './generation-request.ts';
import type { DeclaredTool } from './generation-request.ts';
import { arrayAt, isObject, numberAt, objectAt, stringAt } from './json.ts';
import type { JsonObject } from './json.ts';
import { chatPrompt } from './prompt.ts';
import { StreamUsage, unixSeconds, usageOf } from './openai.ts';
import { RoomListener } from './transfer.ts';
import type { TransferWish } from './transfer.ts';

export function chatCompletions(exchange: SimExchange, body: JsonObject): void {
  const { context } = exchange;
  const model = servedModel(context, body);
  const transferWish = context.transfers.wishOf(exchange, body);
  const prompt = chatPrompt(body);
  const tokensMax = numberAt(body, 'max_completion_tokens', 1) ?? numberAt(body, 'max_tokens', 1);
  const length = lengthWish(exchange, body, transferWish.room === '' ? tokensMax : 1);
  const wish = {
    tool: chooseTool(declaredTools(body), toolChoice(body), prompt.lastUserText),
    toolCallIdPrefix: 'call_',
    jsonSchema: jsonSchemaOf(body['response_format'], body),
  };
  const request: GenerationRequest = {
    prompts: [prompt.tokens],
    choicesPerPrompt: choiceCount(body),
    stops: stopsOf(body['stop']),
    adapter: model.adapter,
    priority: priorityOf(exchange, body),
    cacheSalt: stringAt(body, 'cache_salt') ?? '',
    planFor: (seed, promptTokens) => planOutput(context, seed, promptTokens, length, wish),
  };
  const id = `chatcmpl-${exchange.header('x-request-id') ?? context.ids.hex(32)}`;
  const start = (listener: GenerationListener): void => {
    const generation = new Generation(context, request, listener);
    context.transfers.load(generation, transferWish);
    if (listener instanceof ChatStream) exchange.startStream();
    generation.submit(exchange);
    if (listener instanceof ChatStream) exchange.flush();
  };
  context.transfers.prepare(exchange, transferWish, () => {
    if (transferWish.room !== '')
      start(new RoomListener(exchange, transferWish.room, { id, object: 'chat.completion' }));
    else if (body['stream'] !== true) start(new ChatAnswer(exchange, id, model.name, transferWish));
    else start(new ChatStream(exchange, id, model.name, new StreamUsage(objectAt(body, 'stream_options'))));
  });
}

function declaredTools(body: JsonObject): readonly DeclaredTool[] {
  const tools: DeclaredTool[] = [];
  for (const tool of arrayAt(body, 'tools') ?? []) {
    const declared = isObject(tool) ? objectAt(tool, 'function') : undefined;
    if (declared !== undefined) tools.push({ name: String(declared['name']), parameters: declared['parameters'] });
  }
  return tools;
}

function toolChoice(body: JsonObject): string {
  const choice = body['tool_choice'];
  if (typeof choice === 'string') return choice;
  return isObject(choice) ? String(objectAt(choice, 'function')?.['name']) : 'auto';
}

function finishReason(choice: Choice): string | null {
  return choice.toolCall !== null && choice.finishReason === 'stop' ? 'tool_calls' : choice.finishReason;
}

/** One JSON body at the end. */
class ChatAnswer implements GenerationListener {
  readonly #exchange: SimExchange;
  readonly #id: string;
  readonly #model: string;
  readonly #wish: TransferWish;

  constructor(exchange: SimExchange, id: string, model: string, wish: TransferWish) {
    this.#exchange = exchange;
    this.#id = id;
    this.#model = model;
    this.#wish = wish;
  }

  onStart(): void {}
  onText(): void {}
  onChoiceEnd(): void {}

  onEnd(generation: Generation): void {
    this.#exchange.sendJson({
      id: this.#id,
      object: 'chat.completion',
      created: unixSeconds(this.#exchange.context),
      model: this.#model,
      choices: generation.choices.map((choice) => ({
        index: choice.index,
        message: message(choice),
        logprobs: null,
        finish_reason: finishReason(choice),
        stop_reason: choice.stopReason,
        token_ids: null,
      })),
      service_tier: null,
      system_fingerprint: null,
      ...(this.#exchange.fault.noUsage ? {} : { usage: usageOf(generation) }),
      prompt_logprobs: null,
      prompt_token_ids: null,
      kv_transfer_params: this.#exchange.context.transfers.keep(generation, this.#wish),
    });
  }
}

function message(choice: Choice): JsonObject {
  const call = choice.toolCall;
  return {
    role: 'assistant',
    content: call === null ? choice.text : null,
    refusal: null,
    annotations: null,
    audio: null,
    function_call: null,
    ...(call === null
      ? {}
      : { tool_calls: [{ id: call.id, type: 'function', function: { name: call.name, arguments: choice.text } }] }),
    reasoning: null,
  };
}

/** Chunks as tokens come: role, text or argument pieces, finish reason, usage on request, `[DONE]`. */
class ChatStream implements GenerationListener {
  readonly #exchange: SimExchange;
  readonly #head: string;
  readonly #usage: StreamUsage;

  constructor(exchange: SimExchange, id: string, model: string, usage: StreamUsage) {
    this.#exchange = exchange;
    this.#usage = usage;
    const created = unixSeconds(exchange.context);
    const common = JSON.stringify({ id, object: 'chat.completion.chunk', created, model });
    this.#head = `data: ${common.slice(0, -1)},"choices":[`;
  }

  onStart(generation: Generation): void {
    for (const { index, toolCall } of generation.choices) {
      this.#chunk(generation, index, '{"role":"assistant","content":""}', '', 0, ',"prompt_token_ids":null');
      if (toolCall === null) continue;
      const called = { id: toolCall.id, type: 'function', index: 0, function: { name: toolCall.name, arguments: '' } };
      this.#chunk(generation, index, JSON.stringify({ tool_calls: [called] }), '', 0);
    }
  }

  onText(choice: Choice, text: string, tokens: number): void {
    const delta =
      choice.toolCall === null
        ? `{"content":${JSON.stringify(text)}}`
        : `{"tool_calls":[{"index":0,"function":{"arguments":${JSON.stringify(text)}}}]}`;
    this.#chunk(choice.generation, choice.index, delta, '', tokens);
  }

  onChoiceEnd(choice: Choice): void {
    const finish = `"${finishReason(choice)}","stop_reason":${JSON.stringify(choice.stopReason)}`;
    this.#chunk(choice.generation, choice.index, choice.toolCall === null ? '{"content":""}' : '{}', finish, 0);
  }

  onEnd(generation: Generation): void {
    const exchange = this.#exchange;
    if (this.#usage.isWanted && !exchange.fault.noUsage) {
      exchange.sendEvent(`${this.#head}],"usage":${JSON.stringify(usageOf(generation))}}\n\n`);
    }
    if (!exchange.fault.noDone) exchange.sendEvent('data: [DONE]\n\n');
    exchange.endStream();
  }

  #chunk(generation: Generation, index: number, delta: string, finish: string, tokens: number, extra = ''): void {
    const choice = `{"index":${index},"delta":${delta},"logprobs":null,"finish_reason":${finish === '' ? 'null' : finish}}`;
    const usage = this.#exchange.fault.noUsage ? '' : this.#usage.runningField(generation);
    this.#exchange.sendEvent(`${this.#head}${choice}]${usage}${extra}}\n\n`, tokens);
  }
}
