import type { Accountant } from '../account/index.ts';
import type { Clock } from '../core/index.ts';
import type { TokenUsage } from '../http/index.ts';
import { addPending, givePending, Loading, type PendingPrompt, type PromptSize } from '../pick/index.ts';
import { type WorkTable, workWindowMs } from '../shm/index.ts';
import { promptTokensOf } from './attempt-facts.ts';
import type { EndpointCounts } from './busy-clock.ts';
import type { PrefillLeg } from './disaggregation/prefill-leg.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import type { PoolRuntime } from './runtime.ts';

/** Statuses of answers that cost next to nothing. */
const refusedFrom = 400;
/** A request tells how fast its endpoint is when no more than this part of its own tokens waited before it. */
const aheadParts = 8;

/** A prompt that an endpoint computes, for its own answer or another's. */
interface PromptStep {
  readonly endpointIndex: number;
  /** Tokens that it has to compute. */
  readonly promptWork: number;
  readonly tokenMsAtStart: number;
  promptMs: number;
}

/** Never 0, which means that the endpoint works for none: where no more can be counted as waiting, nothing of it was. */
function workOf({ pendingTokens }: PendingPrompt): number {
  return Math.max(1, pendingTokens);
}

/** Of a body that nobody looked into all is text. */
function wholeBody({ body }: GatewayExchange): PromptSize {
  return { byteCount: body.receivedBytes, encodedCount: 0 };
}

interface MeterParts {
  readonly work: WorkTable;
  readonly clock: Clock;
  readonly accountant: Accountant;
}

/**
 * What an attempt has its endpoint do: prompt tokens that wait to be computed, tokens as they come, and how long the endpoint
 * worked for it. Of one attempt, in this order:
 *
 *   placed ──▶ sent ──▶ head ──▶ promptDone ──▶ events* ──▶ usage ──▶ settle
 *      └─────────┴────────┴──────────┴────────────┴───────────────────▲   whenever it ends
 *
 *   legPlaced ──▶ legDone ──▶ settleLeg    of the endpoint that computes the prompt for another; unpaired: it has not
 */
export class WorkMeter {
  readonly #parts: MeterParts;
  readonly #counts: { -readonly [Key in keyof EndpointCounts]: number } = {
    inflight: 0,
    pendingTokens: 0,
    promptMicros: 0,
  };

  constructor(parts: MeterParts) {
    this.#parts = parts;
  }

  /** It goes to endpoint `index`: what that has to compute counts as waiting there. True: some endpoint held some of it. */
  placed(exchange: GatewayExchange, pool: PoolRuntime, index: number, isPaired: boolean): boolean {
    const { url, slot } = pool.view.endpoints[index]!;
    const hasPrompt = pool.kv !== null && exchange.prompt !== null;
    const bodyTokens = hasPrompt ? 0 : promptTokensOf(exchange, pool);
    if (!hasPrompt && bodyTokens === 0) return false;
    exchange.headroom = this.#parts.work.headroom(slot);
    this.#advance(pool, index, 1);
    let isHit = false;
    if (isPaired) isHit = exchange.leg!.isKnown;
    else if (hasPrompt) isHit = pool.kv.place(exchange, index);
    else {
      exchange.estimatedTokens = bodyTokens;
      addPending(pool.view, exchange, index, bodyTokens);
    }
    exchange.promptWork = isPaired ? 1 : workOf(exchange); // Computed elsewhere but for its last token.
    exchange.tokensPerEvent = pool.learned.eventTokens.of(url);
    const clock = pool.clocks[index]!;
    exchange.tokenMsAtStart = clock.tokenMs;
    exchange.answerMsAtStart = clock.answerMs;
    clock.begin();
    return isHit;
  }

  /** Nothing of the prompt comes from elsewhere after all: its own endpoint has to compute it. Before it is sent there. */
  unpaired(exchange: GatewayExchange): void {
    if (exchange.promptWork === 0) return;
    const pool = exchange.pool!;
    const index = exchange.endpointIndex;
    this.#advance(pool, index, 0);
    if (pool.kv !== null && exchange.prompt !== null) {
      pool.kv.look(exchange);
      pool.kv.place(exchange, index);
    } else addPending(pool.view, exchange, index, promptTokensOf(exchange, pool));
    exchange.promptWork = workOf(exchange);
    exchange.tokenMsAtStart = pool.clocks[index]!.tokenMs;
  }

  sent(exchange: GatewayExchange, nowMs: number): void {
    const pool = exchange.pool!;
    exchange.sentMs = nowMs;
    // Of an answer that will come whole nobody sees where it begins.
    if (exchange.promptWork === 0 || exchange.facts.isStream || exchange.isAnswering) return;
    this.#advance(pool, exchange.endpointIndex, 0);
    this.#beginAnswer(exchange, pool);
  }

  /** The head of the answer is here, whether it is taken or the request tried again. */
  head(exchange: GatewayExchange, status: number): void {
    exchange.isRefused = status >= refusedFrom;
  }

  /** Endpoint `index` is to compute the prompt for the one the answer comes from. True: some endpoint held some of it. */
  legPlaced(exchange: GatewayExchange, leg: PrefillLeg, pool: PoolRuntime, index: number): boolean {
    this.#advance(pool, index, 1);
    let isHit = false;
    if (pool.kv !== null && exchange.prompt !== null) isHit = pool.kv.place(leg, index);
    else addPending(pool.view, leg, index, Math.max(1, promptTokensOf(exchange, pool)));
    leg.promptWork = workOf(leg);
    leg.promptMs = -1;
    leg.tokenMsAtStart = pool.clocks[index]!.tokenMs;
    pool.clocks[index]!.begin();
    return isHit;
  }

  /** It has computed the prompt; before that is noted anywhere else. */
  legDone(leg: PrefillLeg): void {
    const pool = leg.pool!;
    this.#advance(pool, leg.endpointIndex, 0);
    this.#chargePrompt(leg, pool);
    this.#notePromptTokens(leg, pool);
  }

  /** As `settle`, for an endpoint that was to compute a prompt. */
  settleLeg(exchange: GatewayExchange, leg: PrefillLeg): void {
    const pool = exchange.pool!;
    const index = leg.endpointIndex;
    this.#advance(pool, index, 0);
    pool.clocks[index]!.end(false);
    if (leg.promptMs < 0 && leg.dispatchedMs > 0 && leg.status < refusedFrom) this.#chargePrompt(leg, pool);
    givePending(pool.view, leg);
    if (leg.promptMs < 0) return;
    const ms = Math.min(this.#parts.clock.nowMs - leg.dispatchedMs, leg.promptMs);
    this.#parts.accountant.noteGpuTime(exchange, pool.config.endpoints[index]!.sku ?? '', ms);
  }

  /** The first byte of an answer is here: nothing of the prompt waits any more. `events`: those that came with it. */
  promptDone(exchange: GatewayExchange, nowMs: number, events: number): void {
    const pool = exchange.pool!;
    const { slot } = pool.view.endpoints[exchange.endpointIndex]!;
    if (exchange.promptWork === 0) return;
    this.#advance(pool, exchange.endpointIndex, 0);
    const { isRefused } = exchange;
    if (!isRefused) {
      this.#chargePrompt(exchange, pool);
      this.#notePromptTokens(exchange, pool);
    }
    pool.kv?.answerBegan(exchange, exchange.isEventStream && !isRefused ? nowMs - exchange.sentMs : 0);
    givePending(pool.view, exchange);
    if (!exchange.isAnswering) this.#beginAnswer(exchange, pool);
    if (exchange.isEventStream) this.#count(exchange, slot, events);
  }

  /** @hot per chunk. Later events of a stream. */
  events(exchange: GatewayExchange, nowMs: number, events: number): void {
    if (exchange.promptWork === 0) return;
    const pool = exchange.pool!;
    const index = exchange.endpointIndex;
    if (pool.clocks[index]!.isDue(nowMs)) this.#advance(pool, index, 0);
    this.#count(exchange, pool.view.endpoints[index]!.slot, events);
  }

  /** The answer is complete, and says what it was. */
  usage(exchange: GatewayExchange, usage: TokenUsage | null): void {
    if (usage === null || exchange.promptWork === 0) return;
    const pool = exchange.pool!;
    const { learned } = pool;
    const { url, slot } = pool.view.endpoints[exchange.endpointIndex]!;
    const { completionTokens, promptTokens, cachedTokens } = usage;
    this.#parts.work.addCompletion(slot, completionTokens - Math.floor(exchange.countedTokens));
    exchange.countedTokens = completionTokens;
    const uncached = Math.max(1, promptTokens - cachedTokens);
    // More of it was cached than was thought.
    exchange.promptMs *= Math.min(1, uncached / exchange.promptWork);
    if (exchange.isEventStream) learned.eventTokens.learn(url, completionTokens, exchange.responseRelay.tap.eventCount);
    // It was computed elsewhere.
    if (exchange.prefillUrl !== '') return;
    if (pool.kv !== null) return; // It learns from prompts, which are less than bodies, and without waiting for the end.
    learned.ratio.learn(exchange.modelLabel, exchange.flow, wholeBody(exchange), promptTokens);
    if (exchange.loading === Loading.cold) return; // It waited for its model, too.
    if (exchange.isEventStream && exchange.aheadTokens * aheadParts <= uncached)
      learned.rate.learn(url, uncached, exchange.firstByteMs - exchange.sentMs);
  }

  /** The attempt is over, however: nothing of it waits, and what the endpoint did for it is known. Before its place is given back. */
  settle(exchange: GatewayExchange): void {
    if (exchange.promptWork === 0) return;
    const pool = exchange.pool!;
    const index = exchange.endpointIndex;
    const clock = pool.clocks[index]!;
    this.#advance(pool, index, 0);
    clock.end(exchange.isAnswering);
    const { sentMs, firstByteMs, isRefused } = exchange;
    const isCharged = sentMs > 0 && !isRefused;
    if (isCharged && firstByteMs < sentMs) this.#chargePrompt(exchange, pool);
    givePending(pool.view, exchange);
    exchange.promptWork = 0;
    if (!isCharged) return;
    const answerMs = exchange.isAnswering ? clock.answerMs - exchange.answerMsAtStart : 0;
    const ms = Math.min(this.#parts.clock.nowMs - sentMs, exchange.promptMs + answerMs);
    this.#parts.accountant.noteGpuTime(exchange, pool.config.endpoints[index]!.sku ?? '', ms);
  }

  #beginAnswer(exchange: GatewayExchange, pool: PoolRuntime): void {
    const clock = pool.clocks[exchange.endpointIndex]!;
    exchange.isAnswering = true;
    exchange.answerMsAtStart = clock.answerMs;
    clock.beginAnswer();
  }

  /** Its part of the time in which prompts waited, as far as its tokens take so long. The clock has advanced. */
  #chargePrompt(step: PromptStep, pool: PoolRuntime): void {
    const { endpointIndex, promptWork, tokenMsAtStart } = step;
    const { url, slot } = pool.view.endpoints[endpointIndex]!;
    const aloneMs = (promptWork / pool.learned.rate.of(url)) * 1000;
    step.promptMs = Math.min(aloneMs, promptWork * (pool.clocks[endpointIndex]!.tokenMs - tokenMsAtStart));
    this.#parts.work.addPromptMs(slot, step.promptMs);
  }

  #notePromptTokens({ endpointIndex, promptWork, promptMs }: PromptStep, pool: PoolRuntime): void {
    // Of one that took longer than rates are taken over, the rest was computed before.
    const part = promptMs <= workWindowMs ? 1 : workWindowMs / promptMs;
    this.#parts.work.addPrompt(pool.view.endpoints[endpointIndex]!.slot, Math.round(promptWork * part));
  }

  /** @hot per chunk. `newcomers`: requests in the counts that were not there until now. */
  #advance(pool: PoolRuntime, index: number, newcomers: number): void {
    const { work, clock } = this.#parts;
    const { view } = pool;
    const { slot } = view.endpoints[index]!;
    const counts = this.#counts;
    counts.inflight = view.inflight(slot) - newcomers;
    counts.pendingTokens = view.pendingTokens(slot);
    counts.promptMicros = work.promptMicros(slot);
    pool.clocks[index]!.advance(clock.nowMs, counts);
  }

  /** @hot per chunk. Fractions of a token stay until they are one. */
  #count(exchange: GatewayExchange, slot: number, events: number): void {
    const before = Math.floor(exchange.countedTokens);
    exchange.countedTokens += events * exchange.tokensPerEvent;
    const tokens = Math.floor(exchange.countedTokens) - before;
    if (tokens > 0) this.#parts.work.addCompletion(slot, tokens);
  }
}
