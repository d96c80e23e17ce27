import { Api } from '../exchange/index.ts';
import { type ResponseParser, retryAfterMs } from '../http/index.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import type { PoolRuntime } from './runtime.ts';
import type { ShardParts } from './shard-state.ts';

/** What an endpoint did wrong. */
export type Fault = 'connect' | 'reset' | 'invalid' | 'late' | 'truncated' | 'status' | 'slow' | 'garbage';

/** Refusals for lack of room are no fault: taking an endpoint out because it is busy makes the others busier. */
const faultyStatuses: ReadonlySet<number> = new Set([500, 502, 504]);
const coolingStatuses: ReadonlySet<number> = new Set([429, 503]);

/** Streams of which every event is JSON. */
const streamsOfJson: ReadonlySet<Api> = new Set([Api.chatCompletions, Api.completions, Api.messages, Api.responses]);

/** Too few events say nothing about a pace. */
const pacedEventsMin = 16;
const slowFactor = 10;
/** Faster than this it is no pace but an answer that something in between has held back. */
const paceMsMin = 1;
/** Engines of different speed are told apart below this too, but nobody waits for the slower one. */
const slowGapMsMin = 20;

/**
 * Judges endpoints by what exchanges saw of them. Faults in a row, of any kind and seen by any shard, take an endpoint out
 * of the pick (`pools[].ejection`); one good answer ends the row.
 *
 * A request that kills whatever serves it must not empty a pool: unless it cannot even be connected to, an endpoint stays
 * when so many of its pool are out already that `share_max_percent` is reached.
 */
export class PassiveHealth {
  readonly #parts: Pick<ShardParts, 'fleet' | 'clock' | 'log'>;

  constructor(parts: Pick<ShardParts, 'fleet' | 'clock' | 'log'>) {
    this.#parts = parts;
  }

  /** A response head, whether it is relayed or another attempt follows. */
  noteHead(exchange: GatewayExchange, response: ResponseParser): void {
    const { status } = response;
    if (faultyStatuses.has(status)) this.noteFault(exchange, 'status', String(status));
    else if (coolingStatuses.has(status)) this.#coolDown(exchange, response.header('retry-after'));
  }

  /** A complete response was relayed. What is wrong with the request is no fault of the endpoint. */
  noteAnswer(exchange: GatewayExchange): void {
    if (exchange.responseHead.status >= 500) return;
    const fault = exchange.isEventStream && exchange.responseHead.status === 200 ? this.#streamFault(exchange) : null;
    if (fault === null) this.#parts.fleet.noteSuccess(slotOf(exchange));
    else this.noteFault(exchange, fault, '');
  }

  /** A stream that looks like success may be none: no JSON in it, or tokens at a tenth of the pace of the others. */
  #streamFault(exchange: GatewayExchange): Fault | null {
    const { tap } = exchange.responseRelay;
    if (streamsOfJson.has(exchange.facts.api) && tap.oddCount * 2 > tap.eventCount) return 'garbage';
    if (tap.eventCount < pacedEventsMin) return null;
    const { fleet } = this.#parts;
    const gapMs = (exchange.lastEventMs - exchange.firstByteMs) / (tap.eventCount - 1);
    fleet.noteTokenGap(slotOf(exchange), gapMs);
    const usualMs = this.#gapOfOthers(exchange);
    return usualMs >= paceMsMin && gapMs > usualMs * slowFactor && gapMs > slowGapMsMin ? 'slow' : null;
  }

  /** Median over the other endpoints of the pool; 0 when none of them has streamed. */
  #gapOfOthers(exchange: GatewayExchange): number {
    const own = slotOf(exchange);
    const gaps: number[] = [];
    for (const { slot } of exchange.pool!.endpoints) {
      const gapMs = slot === own ? 0 : this.#parts.fleet.tokenGapMs(slot);
      if (gapMs > 0) gaps.push(gapMs);
    }
    return gaps.sort((a, b) => a - b)[gaps.length >> 1] ?? 0;
  }

  /** `detail`: for the log. */
  noteFault(exchange: GatewayExchange, fault: Fault, detail: string): void {
    const { fleet, clock, log } = this.#parts;
    const pool = exchange.pool!;
    if (fault !== 'connect' && this.#isShareOut(pool)) return;
    if (!fleet.noteFailure(slotOf(exchange), clock.nowMs, pool.config.ejection)) return;
    log('warn', { endpoint: exchange.endpointUrl, pool: exchange.poolName, fault, detail }, 'endpoint ejected');
  }

  /** Seconds until the first endpoint that is out of the route's pools is back; 0 when none is out. */
  secondsUntilBack(exchange: GatewayExchange): number {
    const { clock, fleet } = this.#parts;
    let leastMs = Number.POSITIVE_INFINITY;
    for (const { poolIndex } of exchange.route!.targets) {
      for (const { slot } of exchange.runtime!.pools[poolIndex]!.endpoints) {
        const outMs = fleet.ejectedForMs(slot, clock.nowMs);
        if (outMs > 0 && outMs < leastMs) leastMs = outMs;
      }
    }
    return leastMs === Number.POSITIVE_INFINITY ? 0 : Math.ceil(leastMs / 1000);
  }

  /** An endpoint that says when to come back is left alone until then, by all shards. */
  #coolDown(exchange: GatewayExchange, retryAfter: string | null): void {
    const waitMs = retryAfterMs(retryAfter, Date.now());
    if (waitMs === 0) return;
    const { fleet, clock } = this.#parts;
    fleet.coolDown(slotOf(exchange), clock.nowMs, Math.min(waitMs, exchange.pool!.config.ejection.maxMs));
  }

  /** Whether one more would be beyond the share of endpoints that may be out. */
  #isShareOut(pool: PoolRuntime): boolean {
    const { fleet, clock } = this.#parts;
    let outCount = 1;
    for (const { slot } of pool.endpoints) if (fleet.isEjected(slot, clock.nowMs)) outCount++;
    return outCount * 100 > pool.endpoints.length * pool.config.ejection.shareMaxPercent;
  }
}

function slotOf(exchange: GatewayExchange): number {
  return exchange.pool!.endpoints[exchange.endpointIndex]!.slot;
}
