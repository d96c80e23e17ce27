import { Phase } from '../exchange/index.ts';
import { Fault } from '../shm/index.ts';
import type { Closer } from './closer.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { FlowControl } from './flow-control.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import type { Intake } from './intake.ts';
import type { PassiveHealth } from './passive-health.ts';
import type { ShardState } from './shard-state.ts';
import { SlowClients } from './slow-clients.ts';

/**
 * Deadlines. One timer a shard walks its open exchanges; arming a deadline is a store into the record, so a chunk costs
 * one. 20 000 open streams are 0.1 ms a walk, which is less than what a wheel's bookkeeping per chunk would add up to.
 * A deadline is met up to one period late.
 */
export const sweepPeriodMs = 50;

export class Sweeper {
  readonly #state: ShardState;
  readonly #closer: Closer;
  readonly #dispatcher: Dispatcher;
  readonly #flow: FlowControl;
  readonly #intake: Intake;
  readonly #health: PassiveHealth;
  readonly #slowClients: SlowClients;

  constructor(state: ShardState, closer: Closer, dispatcher: Dispatcher, intake: Intake, health: PassiveHealth) {
    this.#state = state;
    this.#closer = closer;
    this.#dispatcher = dispatcher;
    this.#flow = dispatcher.flow;
    this.#intake = intake;
    this.#health = health;
    this.#slowClients = new SlowClients(closer);
  }

  /** `isLate`: the shard is behind with what clients have sent. */
  sweep(nowMs: number, isLate: boolean): void {
    const { open } = this.#state;
    this.#health.noteSweep(nowMs);
    // Backwards: closing an exchange moves the last one into its place.
    for (let index = open.length - 1; index >= 0; index--) {
      const exchange = open[index];
      if (exchange === undefined) continue;
      try {
        this.#check(exchange, nowMs, isLate);
      } catch (error) {
        this.#closer.contain(exchange, error);
      }
    }
    this.#flow.offerAll();
  }

  /**
   * `gapMs` have passed in which nothing was read: answers that came in time may lie in the sockets unseen. No deadline
   * counts them.
   */
  giveBack(gapMs: number): void {
    for (const exchange of this.#state.open) {
      exchange.requestDeadlineMs += gapMs;
      exchange.queueDeadlineMs += gapMs;
      exchange.totalDeadlineMs += gapMs;
      exchange.responseDeadlineMs += gapMs;
      exchange.prefillDeadlineMs += gapMs;
      if (exchange.leg !== null) exchange.leg.answerDueMs += gapMs;
      if (exchange.stalledSinceMs !== 0) exchange.stalledSinceMs += gapMs;
      if (exchange.uploadWindowMs !== 0) exchange.uploadWindowMs += gapMs;
    }
  }

  #check(exchange: GatewayExchange, nowMs: number, isLate: boolean): void {
    if (exchange.isDownstreamPaused) this.#intake.checkPaused(exchange, nowMs);
    if (nowMs >= exchange.requestDeadlineMs) {
      this.#closer.fail(exchange, 'request_timeout', 'The client stopped sending its request.');
    } else if (nowMs >= exchange.queueDeadlineMs) {
      this.#flow.onLate(exchange);
    } else if (nowMs >= exchange.totalDeadlineMs && exchange.phase !== Phase.answering) {
      this.#closer.fail(exchange, 'stream_timeout', 'The request took longer than it may.');
    } else if (nowMs >= exchange.prefillDeadlineMs) {
      this.#dispatcher.prefill.onLate(exchange);
    } else if (nowMs >= exchange.responseDeadlineMs) {
      this.#onResponseLate(exchange);
    } else if (this.#slowClients.check(exchange, nowMs, isLate)) {
      return;
    } else if (exchange.phase === Phase.connecting) {
      this.#dispatcher.prefill.pump(exchange);
    } else if (exchange.phase === Phase.queued) {
      exchange.pool!.waitingRoom.weigh(exchange);
    } else if (exchange.phase === Phase.streaming) {
      this.#health.watch(exchange, nowMs);
      this.#ping(exchange, nowMs);
    }
  }

  /** The response deadline was set by the last read, so that says when it was. */
  #ping(exchange: GatewayExchange, nowMs: number): void {
    const { streamPingMs, streamIdleMs } = exchange.runtime!.config.timeouts;
    if (streamPingMs === 0) return;
    if (nowMs - Math.max(exchange.responseDeadlineMs - streamIdleMs, exchange.pingedMs) < streamPingMs) return;
    exchange.pingedMs = nowMs;
    this.#dispatcher.ping(exchange);
  }

  #onResponseLate(exchange: GatewayExchange): void {
    if (exchange.responseRelay.isCutting) {
      this.#closer.close(exchange, exchange.pendingCode);
    } else if (exchange.phase === Phase.connecting) {
      this.#dispatcher.onConnectLate(exchange);
    } else if (exchange.phase !== Phase.streaming && exchange.leg?.isRunning === true) {
      this.#dispatcher.prefill.onLate(exchange); // An answer cannot come before its prompt is computed.
    } else if (exchange.phase !== Phase.streaming) {
      if (exchange.pool !== null) this.#health.noteFault(exchange, Fault.late, 'no response head');
      this.#closer.fail(exchange, 'first_byte_timeout', 'The upstream did not answer in time.');
    } else if (!exchange.responseRelay.isBlocked) {
      this.#health.noteFault(exchange, Fault.stalled, 'stream stalled');
      this.#closer.fail(exchange, 'stream_timeout', 'The upstream stopped sending its response.');
    }
  }
}
