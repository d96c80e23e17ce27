/**
 * One API call's work on the engine: a sequence for each prompt and choice, their texts with stop strings applied, and the
 * usage numbers. The dialects (`chat.ts`, `completions.ts`, `responses.ts`, `messages.ts`) listen and write.
 */
import type { SimContext } from './context.ts';
import type { SimExchange } from './exchange.ts';
import { hashText } from './random.ts';
import type { AbortCause } from './scheduler.ts';
import { Sequence } from './sequence.ts';
import type { FinishReason, OutputPlan, SequenceSink } from './sequence.ts';
import { StopFilter } from './stop-filter.ts';
import { tokenize, tokenText } from './tokenizer.ts';

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** JSON text. */
  readonly argumentsText: string;
}

export interface PlannedOutput {
  readonly plan: OutputPlan;
  /** Set when the output is a call and not text: text then means the arguments. */
  readonly toolCall: ToolCall | null;
}

export interface GenerationListener {
  /** Once, before anything else: the first token of any choice exists. */
  onStart(generation: Generation): void;
  /** A piece of a choice's text (or of its tool call's arguments), `tokens` long; never empty. */
  onText(choice: Choice, text: string, tokens: number): void;
  onChoiceEnd(choice: Choice): void;
  /** Every choice has ended. */
  onEnd(generation: Generation): void;
}

export interface GenerationRequest {
  readonly prompts: readonly Int32Array[];
  readonly choicesPerPrompt: number;
  readonly stops: readonly string[];
  readonly adapter: string;
  readonly priority: number;
  readonly cacheSalt: string;
  /** `seed` depends on the prompt and the choice, nothing else. */
  planFor(seed: number, promptTokens: number): PlannedOutput;
}

export class Choice implements SequenceSink {
  readonly index: number;
  readonly generation: Generation;
  readonly sequence: Sequence;
  readonly toolCall: ToolCall | null;
  text = '';
  finishReason: FinishReason | null = null;
  /** The stop string that ended the text. */
  stopReason: string | null = null;
  readonly #stops: StopFilter | null;
  /** Tokens since text last went out: stop strings, control tokens and tool names hold text back. */
  #heldTokens = 0;
  /** Tokens of a tool call before its arguments. */
  #headTokens: number;

  constructor(generation: Generation, request: GenerationRequest, context: SimContext, index: number) {
    const prompt = request.prompts[Math.floor(index / request.choicesPerPrompt)]!;
    this.index = index;
    this.generation = generation;
    this.sequence = new Sequence({
      prompt,
      blockSize: context.settings.blockSize,
      priority: request.priority,
      adapter: request.adapter,
      prefixSeed:
        request.adapter === '' && request.cacheSalt === '' ? 0 : hashText(`${request.adapter}\n${request.cacheSalt}`),
      sink: this,
    });
    const seed = hashText(String(this.sequence.promptKey), context.settings.seed + (index % request.choicesPerPrompt));
    const planned = request.planFor(seed, prompt.length);
    this.sequence.plan = planned.plan;
    this.toolCall = planned.toolCall;
    this.#headTokens = planned.toolCall === null ? 0 : toolCallHeadTokens(planned.toolCall);
    this.#stops = request.stops.length === 0 || planned.toolCall !== null ? null : new StopFilter(request.stops);
  }

  onToken(sequence: Sequence, token: number): boolean {
    this.generation.start();
    this.#heldTokens++;
    if (sequence.completionTokens <= this.#headTokens) return false;
    const piece = tokenText(token);
    this.#pass(this.#stops === null ? piece : this.#stops.push(piece));
    return this.#stops !== null && this.#stops.matched !== null;
  }

  onFinish(_sequence: Sequence, reason: FinishReason): void {
    this.generation.start(); // A pooling sequence ends without a token.
    if (this.#stops !== null) {
      this.#pass(this.#stops.rest());
      this.stopReason = this.#stops.matched;
    }
    this.finishReason = reason;
    this.generation.endChoice(this);
  }

  #pass(text: string): void {
    if (text === '') return;
    this.text += text;
    const tokens = this.#heldTokens;
    this.#heldTokens = 0;
    this.generation.listener.onText(this, text, tokens);
  }
}

/** Control token, name, separator: see `toolCallTokens`. */
function toolCallHeadTokens(call: ToolCall): number {
  return tokenize(call.name).length + 2;
}

export class Generation {
  readonly listener: GenerationListener;
  readonly choices: readonly Choice[];
  readonly #context: SimContext;
  #openCount: number;
  #hasStarted = false;
  #submittedCount = 0;

  /** Throws ApiError 400 when a prompt and its output do not fit the model; nothing has been submitted then. */
  constructor(context: SimContext, request: GenerationRequest, listener: GenerationListener) {
    this.#context = context;
    this.listener = listener;
    const count = request.prompts.length * request.choicesPerPrompt;
    this.choices = Array.from({ length: count }, (_, index) => new Choice(this, request, context, index));
    this.#openCount = count;
  }

  /** Prompt tokens, each prompt once, however many choices it has. */
  get promptTokens(): number {
    return this.#sumOverPrompts((sequence) => sequence.promptTokens);
  }

  /** Prompt tokens that came from the cache. */
  get cachedTokens(): number {
    return this.#sumOverPrompts((sequence) => Math.max(0, sequence.cachedTokens));
  }

  get completionTokens(): number {
    return this.choices.reduce((sum, choice) => sum + choice.sequence.completionTokens, 0);
  }

  /** Hands every sequence to the engine. At speed 0 the listener has heard everything when this returns. */
  submit(exchange: SimExchange): void {
    exchange.onGone = (cause) => this.abort(cause);
    for (const choice of this.choices) {
      if (exchange.isGone) return;
      this.#submittedCount++;
      this.#context.engine.submit(choice.sequence);
    }
  }

  abort(cause: AbortCause): void {
    // At speed 0 a fault can strike before the later choices were handed over.
    for (const choice of this.choices.slice(0, this.#submittedCount)) {
      this.#context.engine.abort(choice.sequence, cause);
    }
  }

  start(): void {
    if (this.#hasStarted) return;
    this.#hasStarted = true;
    this.listener.onStart(this);
  }

  endChoice(choice: Choice): void {
    this.listener.onChoiceEnd(choice);
    if (--this.#openCount === 0) this.listener.onEnd(this);
  }

  #sumOverPrompts(read: (sequence: Sequence) => number): number {
    let sum = 0;
    let lastPrompt: Int32Array | null = null;
    for (const { sequence } of this.choices) {
      if (sequence.prompt !== lastPrompt) sum += read(sequence);
      lastPrompt = sequence.prompt;
    }
    return sum;
  }
}
