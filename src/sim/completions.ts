/** POST /v1/completions (legacy): text or token prompts, several at once, `echo`, streams. */
import type { SimExchange } from './exchange.ts';
import { Generation } from './generation.ts';
import type { Choice, GenerationListener, GenerationRequest } from './generation.ts';
import {
  choiceCount,
  jsonSchemaOf,
  lengthWish,
  planOutput,
  priorityOf,
  servedModel,
  stopsOf,
} from './generation-request.ts';
import { numberAt, objectAt, stringAt } from './json.ts';
import type { JsonObject } from './json.ts';
import { StreamUsage, unixSeconds, usageOf } from './openai.ts';
import { RoomListener } from './transfer.ts';
import type { TransferWish } from './transfer.ts';
import { plainPrompts } from './prompt.ts';
import { detokenize } from './tokenizer.ts';

/** OpenAI's default, which vLLM keeps. */
const defaultTokensMax = 16;

export function completions(exchange: SimExchange, body: JsonObject): void {
  const { context } = exchange;
  const model = servedModel(context, body);
  const transferWish = context.transfers.wishOf(exchange, body);
  const tokensExact = exchange.header('x-sim-tokens');
  // The hook stands for a request that asks for so many, so the small default must not cut it.
  const tokensMax = numberAt(body, 'max_tokens', 1) ?? (tokensExact === undefined ? defaultTokensMax : undefined);
  const length = lengthWish(exchange, body, transferWish.room === '' ? tokensMax : 1);
  const wish = { tool: null, toolCallIdPrefix: '', jsonSchema: jsonSchemaOf(body['response_format'], body) };
  const request: GenerationRequest = {
    prompts: plainPrompts(body['prompt'], 'prompt'),
    choicesPerPrompt: choiceCount(body),
    stops: stopsOf(body['stop']),
    adapter: model.adapter,
    priority: priorityOf(exchange, body),
    cacheSalt: stringAt(body, 'cache_salt') ?? '',
    planFor: (seed, promptTokens) => planOutput(context, seed, promptTokens, length, wish),
  };
  const common = {
    id: `cmpl-${exchange.header('x-request-id') ?? context.ids.hex(32)}`,
    object: 'text_completion',
    created: unixSeconds(context),
    model: model.name,
  };
  const echoes = body['echo'] === true;
  const start = (listener: GenerationListener): void => {
    const generation = new Generation(context, request, listener);
    context.transfers.load(generation, transferWish);
    if (listener instanceof CompletionStream) exchange.startStream();
    generation.submit(exchange);
    if (listener instanceof CompletionStream) exchange.flush();
  };
  context.transfers.prepare(exchange, transferWish, () => {
    if (transferWish.room !== '') start(new RoomListener(exchange, transferWish.room, common));
    else if (body['stream'] !== true) start(new CompletionAnswer(exchange, common, echoes, transferWish));
    else {
      const usage = new StreamUsage(objectAt(body, 'stream_options'));
      start(new CompletionStream(exchange, common, echoes, usage));
    }
  });
}

class CompletionAnswer implements GenerationListener {
  readonly #exchange: SimExchange;
  readonly #common: JsonObject;
  readonly #echoes: boolean;
  readonly #wish: TransferWish;

  constructor(exchange: SimExchange, common: JsonObject, echoes: boolean, wish: TransferWish) {
    this.#exchange = exchange;
    this.#common = common;
    this.#echoes = echoes;
    this.#wish = wish;
  }

  onStart(): void {}
  onText(): void {}
  onChoiceEnd(): void {}

  onEnd(generation: Generation): void {
    this.#exchange.sendJson({
      ...this.#common,
      choices: generation.choices.map((choice) => ({
        index: choice.index,
        text: (this.#echoes ? detokenize(choice.sequence.prompt) : '') + choice.text,
        logprobs: null,
        finish_reason: choice.finishReason,
        stop_reason: choice.stopReason,
        prompt_logprobs: null,
      })),
      ...(this.#exchange.fault.noUsage ? {} : { usage: usageOf(generation) }),
      kv_transfer_params: this.#exchange.context.transfers.keep(generation, this.#wish),
    });
  }
}

class CompletionStream implements GenerationListener {
  readonly #exchange: SimExchange;
  readonly #head: string;
  readonly #echoes: boolean;
  readonly #usage: StreamUsage;

  constructor(exchange: SimExchange, common: JsonObject, echoes: boolean, usage: StreamUsage) {
    this.#exchange = exchange;
    this.#head = `data: ${JSON.stringify(common).slice(0, -1)},"choices":[`;
    this.#echoes = echoes;
    this.#usage = usage;
  }

  onStart(generation: Generation): void {
    if (!this.#echoes) return;
    for (const choice of generation.choices) this.#chunk(choice, detokenize(choice.sequence.prompt), 'null', 0);
  }

  onText(choice: Choice, text: string, tokens: number): void {
    this.#chunk(choice, text, 'null', tokens);
  }

  onChoiceEnd(choice: Choice): void {
    this.#chunk(choice, '', `"${choice.finishReason}","stop_reason":${JSON.stringify(choice.stopReason)}`, 0);
  }

  onEnd(generation: Generation): void {
    const exchange = this.#exchange;
    if (this.#usage.isWanted && !exchange.fault.noUsage) {
      exchange.sendEvent(`${this.#head}],"usage":${JSON.stringify(usageOf(generation))}}\n\n`);
    }
    if (!exchange.fault.noDone) exchange.sendEvent('data: [DONE]\n\n');
    exchange.endStream();
  }

  #chunk(choice: Choice, text: string, finish: string, tokens: number): void {
    const { index, generation } = choice;
    const usage = this.#exchange.fault.noUsage ? '' : this.#usage.runningField(generation);
    const written = `{"index":${index},"text":${JSON.stringify(text)},"logprobs":null,"finish_reason":${finish}}`;
    this.#exchange.sendEvent(`${this.#head}${written}]${usage}}\n\n`, tokens);
  }
}
