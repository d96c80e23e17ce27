import { counterCell, metrics } from '../account/index.ts';
import { Api, Half } from '../exchange/index.ts';
import { type ResponseParser, retryAfterMs, type TokenUsage } from '../http/index.ts';
import { Serves } from '../pick/index.ts';
import { Fault, faultNames, Probe, type SeriesWriter, wholeRow } from '../shm/index.ts';
import type { UpstreamFailure } from '../upstream/index.ts';
import { answerFault, type Pace, paceOf, streamFault, textlessFault, wholePaceOf } from './answer-judge.ts';
import type { Closer } from './closer.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import type { PoolRuntime } from './runtime.ts';
import type { ShardParts } from './shard-state.ts';

/** Refusals for lack of room are no fault: taking an endpoint out because it is busy makes the others busier. */
const faultyStatuses: ReadonlySet<number> = new Set([500, 502, 504]);
const coolingStatuses: ReadonlySet<number> = new Set([429, 503]);

/** The pace of a stream under way is taken for each such time, if it is to be known within seconds. */
const windowMs = 2000;
/** In which fewer events are a pause, for a tool or a thought, and no pace. */
const windowEventsMin = 2;
/** Between two sweeps; so long a gap is a stopped process, a suspended machine or a very busy one. */
const stoppedMs = 500;
/** A probe that streams well for so many events has gone well: the others need not wait for its end. */
const provenEventsMin = 32;
/** An endpoint that cannot be connected to is called back when it can be (control's recall), whatever its period says. */
const recalledSeconds = 5;

/** What is judged: the attempt of an exchange, or that part of it that computes the prompt elsewhere. */
export interface JudgedAttempt {
  isJudged: boolean;
  readonly probes: number;
  readonly endpointIndex: number;
  readonly endpointUrl: string;
  readonly pool: PoolRuntime | null;
  readonly poolName: string;
  readonly modelRow: number;
  readonly modelLabel: string;
}

/**
 * Judges endpoints by what exchanges saw of them. Faults in a row, of any kind and seen by any shard, take an endpoint out
 * of the pick (`pools[].ejection`), altogether or for one model; one good answer ends the row. docs/health.md has the kinds
 * of faults and the states. An attempt has one verdict, the first.
 *
 * A request that kills whatever serves it must not empty a pool: unless it cannot even be connected to, an endpoint stays
 * when so many of its pool are out already that `share_max_percent` is reached.
 */
export class PassiveHealth {
  readonly #parts: Pick<ShardParts, 'fleet' | 'clock' | 'log'>;
  readonly #closer: Pick<Closer, 'giveProbe'>;
  readonly #series: SeriesWriter;
  #sweptMs: number;
  /** When this thread was last found to have stood still: the pace of what began before is its own. */
  #stoppedMs = 0;

  constructor(
    parts: Pick<ShardParts, 'fleet' | 'clock' | 'log'>,
    closer: Pick<Closer, 'giveProbe'>,
    series: SeriesWriter,
  ) {
    this.#parts = parts;
    this.#closer = closer;
    this.#series = series;
    this.#sweptMs = parts.clock.nowMs;
  }

  /** A response head, whether it is relayed or another attempt follows. */
  noteHead(attempt: JudgedAttempt, response: ResponseParser): void {
    const { status } = response;
    if (faultyStatuses.has(status)) this.noteFault(attempt, Fault.status, String(status));
    else if (coolingStatuses.has(status)) this.#coolDown(attempt, status, response.header('retry-after'));
  }

  /** The first piece of a response body. */
  noteFirstPiece(exchange: GatewayExchange, bytes: Buffer, start: number, end: number): void {
    const { fleet, clock } = this.#parts;
    if (exchange.isEventStream) {
      fleet.health.noteTtft(slotOf(exchange), exchange.modelRow, clock.nowMs - exchange.dispatchedMs);
      return;
    }
    const fault = answerFault(exchange, bytes, start, end);
    if (fault !== Fault.none) this.noteFault(exchange, fault, 'the answer is no JSON');
  }

  /** Called by every sweep, before exchanges are looked at. */
  noteSweep(nowMs: number): void {
    if (nowMs - this.#sweptMs > stoppedMs) this.#stoppedMs = nowMs;
    this.#sweptMs = nowMs;
  }

  /** Called now and then while a response streams: what is plain already need not wait for its end. */
  watch(exchange: GatewayExchange, nowMs: number): void {
    if (exchange.isJudged || !exchange.isEventStream) return;
    const { eventCount, text } = exchange.responseRelay.tap;
    let fault = streamFault(exchange);
    if (fault !== Fault.none || text.textCount === 0) {
      // There is no text whose pace could be seen.
    } else if (exchange.textSinceMs === 0) {
      exchange.textSinceMs = nowMs;
      exchange.textSinceEvent = eventCount;
    } else if (nowMs - exchange.textSinceMs >= windowMs) {
      const pace = eventCount - exchange.textSinceEvent < windowEventsMin ? null : paceOf(exchange, nowMs, false);
      if (pace !== null) {
        exchange.isPaceKnown = true;
        fault = this.#paceFault(exchange, pace);
      }
      exchange.textSinceMs = nowMs;
      exchange.textSinceEvent = eventCount;
    }
    if (fault !== Fault.none) this.noteFault(exchange, fault, 'seen while it streamed');
    else if (exchange.probes !== Probe.none && text.textCount >= provenEventsMin) this.#trust(exchange);
  }

  /** A complete response was relayed. What is wrong with the request is no fault of the endpoint. */
  noteAnswer(exchange: GatewayExchange, usage: TokenUsage | null): void {
    const { status } = exchange.responseHead;
    if (exchange.isJudged || status >= 500) return;
    const isRefused = status === 429 || (exchange.isEventStream && exchange.responseRelay.tap.isRefusal);
    if (isRefused) return; // It says nothing of the answers that are to be had.
    let fault: Fault = Fault.none;
    let heals: Fault = exchange.isPaceKnown ? Fault.slow : isInference(exchange) ? Fault.empty : Fault.stalled;
    if (status === 200) {
      fault = exchange.isEventStream ? streamFault(exchange) : Fault.none;
      if (fault === Fault.none) fault = textlessFault(exchange, usage);
      const pace = exchange.isEventStream
        ? paceOf(exchange, exchange.lastEventMs, true)
        : wholePaceOf(exchange, usage, this.#parts.clock.nowMs);
      if (pace !== null && fault === Fault.none) {
        heals = Fault.slow;
        fault = this.#paceFault(exchange, pace);
      }
    }
    if (fault !== Fault.none) {
      this.noteFault(exchange, fault, '');
      return;
    }
    exchange.isJudged = true;
    const { fleet, clock } = this.#parts;
    const { modelRow, probes } = exchange;
    fleet.health.noteAnswer({ slot: slotOf(exchange), row: modelRow, probes, nowMs: clock.nowMs }, heals);
  }

  /**
   * An endpoint has computed a prompt for another, or refused to for what is wrong with the request. `waitedMs`: 0 = it took no
   * time that says anything. There is nothing else it could be better at, so this heals everything.
   */
  notePrefill(attempt: JudgedAttempt, waitedMs: number): void {
    if (attempt.isJudged) return;
    attempt.isJudged = true;
    const { fleet, clock } = this.#parts;
    const { modelRow, probes } = attempt;
    if (waitedMs > 0) fleet.health.noteTtft(slotOf(attempt), modelRow, waitedMs);
    fleet.health.noteAnswer({ slot: slotOf(attempt), row: modelRow, probes, nowMs: clock.nowMs }, Fault.slow);
  }

  /** The connection failed before the response was complete. */
  noteFailure(exchange: GatewayExchange, failure: Exclude<UpstreamFailure, 'stale' | 'local'>, detail: string): void {
    const isBegun = exchange.response.state !== Half.idle;
    this.noteFault(exchange, isBegun ? Fault.broken : Fault[failure], detail);
  }

  /** `detail`: for the log. */
  noteFault(attempt: JudgedAttempt, fault: Fault, detail: string): void {
    if (attempt.isJudged) return;
    attempt.isJudged = true;
    const { fleet, clock, log } = this.#parts;
    const { modelRow, probes, modelLabel, poolName, endpointUrl } = attempt;
    const pool = attempt.pool!;
    const slot = slotOf(attempt);
    const name = faultNames[fault]!;
    const labels = [poolName, endpointUrl, modelLabel, name] as const;
    this.#series.add(counterCell(this.#series, metrics.endpointFaults, labels), 1);
    const ejected = fleet.health.noteFault({
      slot,
      row: modelRow,
      probes,
      nowMs: clock.nowMs,
      fault,
      rule: pool.config.ejection,
      modelCount: pool.modelCount,
      mayEject: fault === Fault.connect || !this.#isShareOut(pool, slot, modelRow),
    });
    if (ejected === Probe.none) return;
    this.#series.add(counterCell(this.#series, metrics.ejections, labels), 1);
    const isWhole = (ejected & Probe.whole) !== 0;
    const outMs = fleet.health.outForMs(slot, modelRow, clock.nowMs);
    const fields = { endpoint: endpointUrl, pool: poolName, model: isWhole ? null : modelLabel, fault: name, detail };
    log('warn', { ...fields, out_ms: Math.round(outMs) }, 'endpoint ejected');
  }

  /** Seconds until the first endpoint that is out of the route's pools is back; 0 when none is out. */
  secondsUntilBack(exchange: GatewayExchange): number {
    const { clock, fleet } = this.#parts;
    let least = Number.POSITIVE_INFINITY;
    for (const { poolIndex, fits } of exchange.route!.targets) {
      const pool = exchange.runtime!.pools[poolIndex]!;
      for (const [index, { slot }] of pool.endpoints.entries()) {
        if (fits !== null && fits[index] === 0) continue;
        const outMs = fleet.health.outForMs(slot, pool.rowOf(exchange.modelLabel), clock.nowMs);
        if (outMs === 0) continue;
        const seconds = Math.ceil(outMs / 1000);
        least = Math.min(
          least,
          fleet.health.reason(slot) === Fault.connect ? Math.min(seconds, recalledSeconds) : seconds,
        );
      }
    }
    return least === Number.POSITIVE_INFINITY ? 0 : least;
  }

  /** An endpoint that says when to come back is left alone until then, by all shards. Rates are limited by model. */
  #coolDown(attempt: JudgedAttempt, status: number, retryAfter: string | null): void {
    const waitMs = retryAfterMs(retryAfter, Date.now());
    if (waitMs === 0) return;
    const { fleet, clock } = this.#parts;
    const pool = attempt.pool!;
    const row = status === 429 && pool.modelCount > 1 ? attempt.modelRow : wholeRow;
    fleet.health.coolDown(slotOf(attempt), row, clock.nowMs, Math.min(waitMs, pool.config.ejection.maxMs));
  }

  /** Blends the pace in and compares it with the other endpoints of the pool that run on the same hardware. */
  #paceFault(exchange: GatewayExchange, pace: Pace): Fault {
    const { health } = this.#parts.fleet;
    if (exchange.dispatchedMs < this.#stoppedMs) return Fault.none;
    health.noteTokenGap(slotOf(exchange), exchange.modelRow, exchange.isEventStream, pace.gapMs);
    return pace.isSlow(this.#gapOfOthers(exchange)) ? Fault.slow : Fault.none;
  }

  /** Median over the other endpoints of the pool with the same `sku`; 0 when nothing was seen of them. */
  #gapOfOthers(exchange: GatewayExchange): number {
    const { endpoints, config } = exchange.pool!;
    const own = exchange.endpointIndex;
    const gaps: number[] = [];
    for (let index = 0; index < endpoints.length; index++) {
      if (index === own || config.endpoints[index]!.sku !== config.endpoints[own]!.sku) continue;
      const { slot } = endpoints[index]!;
      const gapMs = this.#parts.fleet.health.tokenGapMs(slot, exchange.modelRow, exchange.isEventStream);
      if (gapMs > 0) gaps.push(gapMs);
    }
    return gaps.sort((a, b) => a - b)[gaps.length >> 1] ?? 0;
  }

  /** The probe has gone well enough, and its exchange goes on as any other. */
  #trust(exchange: GatewayExchange): void {
    this.#parts.fleet.health.noteProven(slotOf(exchange), exchange.modelRow, exchange.probes, this.#parts.clock.nowMs);
    this.#closer.giveProbe(exchange);
  }

  /** Whether one more would be beyond the share of endpoints that may be out. */
  #isShareOut(pool: PoolRuntime, own: number, row: number): boolean {
    const { fleet, clock } = this.#parts;
    const { endpoints } = pool.view;
    const served = endpoints.find(({ slot }) => slot === own)?.serves;
    let outCount = 1;
    let count = 0;
    // Where endpoints have roles, those of another cannot stand in; vLLM's do without anybody who computes prompts for them.
    const isSpare = served === Serves.prefill && pool.split?.protocol === 'vllm';
    for (const { slot, serves } of endpoints) {
      if (serves !== served && !isSpare) continue;
      count++;
      if (slot !== own && fleet.health.isOut(slot, row, clock.nowMs)) outCount++;
    }
    return outCount * 100 > count * pool.config.ejection.shareMaxPercent;
  }
}

/** That the server answers `GET /version` says nothing about its model. */
function isInference({ facts }: GatewayExchange): boolean {
  return facts.api !== Api.other && facts.api !== Api.models;
}

function slotOf({ pool, endpointIndex }: JudgedAttempt): number {
  return pool!.endpoints[endpointIndex]!.slot;
}
