import { bug, InvariantError } from '../core/index.ts';
import { type CloseCode, closeReasons, Half, Lease, noDeadline, Phase } from '../exchange/index.ts';
import type { Answer, FilterChain } from '../filters/index.ts';
import { errorReply, type Reply, writeReply } from '../relay/index.ts';
import { Probe } from '../shm/index.ts';
import { servedTokens } from './attempt-facts.ts';
import { LegState } from './disaggregation/prefill-leg.ts';
import { releaseLeg } from './disaggregation/release-leg.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import type { PoolRuntime } from './runtime.ts';
import type { ShardState } from './shard-state.ts';
import { WorkMeter } from './work-meter.ts';

/** How long a client that does not read may hold up the last event of a truncated stream. */
const lastEventMs = 5000;

/**
 * The ways out of an exchange. Any path may ask for one of them; `close` alone gives things back.
 *
 *   answer / fail ──▶ (upstream released) ──▶ reply on a later turn ──▶ close
 *   fail after commit ──▶ truncate ──▶ close
 *   client gone, or both halves done ──▶ close
 */
export class Closer {
  readonly #state: ShardState;
  readonly meter: WorkMeter;
  readonly #answering: GatewayExchange[] = [];
  readonly #answeringGenerations: number[] = [];
  #isFlushScheduled = false;
  /** Called when an exchange has left an endpoint of the pool, or its queue, so that a waiting one may have its place. */
  onPlaceFree: (pool: PoolRuntime) => void = () => {};

  constructor(state: ShardState) {
    this.#state = state;
    this.meter = new WorkMeter(state.parts);
  }

  /** Ends the exchange with the gateway's own word: an error reply, or a visible truncation once the head was relayed. */
  fail(exchange: GatewayExchange, code: CloseCode, message: string, detail: string = message): void {
    if (exchange.phase === Phase.free || exchange.phase === Phase.answering) return;
    exchange.detail = detail;
    this.releaseUpstream(exchange);
    if (exchange.isDownstreamOver) {
      this.close(exchange, code);
    } else if (!exchange.isCommitted) {
      this.#replyLater(exchange, errorReply(exchange, code, message), code);
    } else if (exchange.responseRelay.truncate(message)) {
      this.close(exchange, code);
    } else {
      exchange.pendingCode = code;
      exchange.responseDeadlineMs = this.#state.parts.clock.nowMs + lastEventMs;
      exchange.requestDeadlineMs = noDeadline;
    }
  }

  /**
   * Our own code threw. Counted, and the exchange it was working on, if it is known, ends; the others are not touched.
   * An InvariantError is thrown again: bytes could cross between exchanges, so the thread has to end.
   */
  contain(exchange: GatewayExchange | null, error: unknown): void {
    if (error instanceof InvariantError) throw error;
    const err = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#state.parts.log('error', { request_id: exchange?.requestId, err }, 'an error was not caught');
    bug(false, 'uncaught_error');
    if (exchange === null || exchange.phase === Phase.free) return;
    if (exchange.phase === Phase.answering) this.close(exchange, 'internal_error');
    else this.fail(exchange, 'internal_error', 'The gateway could not process the request.', String(error));
  }

  /** Ends the exchange with an answer that needs no endpoint. */
  answer(exchange: GatewayExchange, answer: Answer): void {
    this.releaseUpstream(exchange);
    const reply: Reply = { status: answer.status, headers: answer.headers ?? {}, body: answer.body ?? '' };
    this.#replyLater(exchange, reply, 'answered');
  }

  /** Ends the exchange with what an endpoint has answered instead of the one the response would have come from. */
  answerFor(exchange: GatewayExchange, reply: Reply): void {
    this.releaseUpstream(exchange);
    this.#replyLater(exchange, reply, 'done');
  }

  /** Runs a hook of the user's filters; a throw ends the exchange with 500. Returns false when it did. */
  guardFilters(exchange: GatewayExchange, run: (chain: FilterChain) => void): boolean {
    const chain = exchange.runtime!.chains[exchange.listenerIndex]!;
    try {
      run(chain);
      return true;
    } catch (error) {
      this.#state.parts.log('error', { request_id: exchange.requestId, err: String(error) }, 'a filter threw');
      this.fail(exchange, 'internal_error', 'The gateway could not process the request.', `filter: ${String(error)}`);
      return false;
    }
  }

  /** The connection goes back to its pool when its exchange was complete, else it is destroyed; the endpoint's place is free. */
  releaseUpstream(exchange: GatewayExchange): void {
    const { connection } = exchange;
    if (connection !== null) {
      exchange.connection = null;
      connection.release(exchange.requestRelay.isFinished, this.#state.parts.clock.nowMs);
    }
    this.giveEndpoint(exchange);
    exchange.requestRelay.stop();
  }

  /** Gives back what an attempt took in the fleet table, and leaves the queue. */
  giveEndpoint(exchange: GatewayExchange): void {
    const { leases, fleet, clock } = this.#state.parts;
    this.giveLeg(exchange);
    this.giveConnection(exchange);
    if (leases.holds(exchange, Lease.queuePlace)) {
      this.leaveQueue(exchange);
    }
    if (!leases.holds(exchange, Lease.endpoint)) return;
    this.giveProbe(exchange);
    const { slot } = exchange.pool!.endpoints[exchange.endpointIndex]!;
    this.meter.settle(exchange);
    if (leases.holds(exchange, Lease.tokens)) {
      fleet.addTokens(slot, -exchange.reservedTokens);
      leases.give(exchange, Lease.tokens);
    }
    const { order } = exchange.pool!.waitingRoom;
    order.correct(exchange.flow, exchange.chargedTokens, servedTokens(exchange), clock.nowMs);
    exchange.chargedTokens = 0;
    fleet.giveInflight(slot);
    leases.give(exchange, Lease.endpoint);
    this.onPlaceFree(exchange.pool!);
  }

  /** What the attempt took to have its prompt computed elsewhere. */
  giveLeg(exchange: GatewayExchange): void {
    if (releaseLeg(this.#state.parts, this.meter, exchange, LegState.none)) this.onPlaceFree(exchange.pool!);
  }

  /** The connection itself is gone, or somebody else's. */
  giveConnection(exchange: GatewayExchange): void {
    const { leases } = this.#state.parts;
    if (leases.holds(exchange, Lease.connection)) leases.give(exchange, Lease.connection);
  }

  /** The attempt is over, or has gone well enough: another may probe what is still on probation. */
  giveProbe(exchange: GatewayExchange): void {
    const { leases, fleet } = this.#state.parts;
    if (!leases.holds(exchange, Lease.probe)) return;
    const { slot } = exchange.pool!.endpoints[exchange.endpointIndex]!;
    fleet.health.giveProbes(slot, exchange.modelRow, exchange.probes);
    exchange.probes = Probe.none;
    leases.give(exchange, Lease.probe);
    this.onPlaceFree(exchange.pool!);
  }

  /** The exchange has waited long enough: it has a place, or will not get one. */
  leaveQueue(exchange: GatewayExchange): void {
    const { leases, accountant, clock } = this.#state.parts;
    const pool = exchange.queuePool!;
    exchange.queuePool = null;
    pool.waitingRoom.leave(exchange, clock.nowMs);
    leases.give(exchange, Lease.queuePlace);
    accountant.noteQueue(exchange, pool.config.name, -1, clock.nowMs - exchange.queuedSinceMs);
    exchange.queueDeadlineMs = noDeadline;
    this.onPlaceFree(pool); // A place may have been left to it.
  }

  /** Slabs the exchange will not need any more: before `index`, or all of them. */
  giveSlabs(exchange: GatewayExchange, index: number = exchange.body.slabCount): void {
    const { leases, slabs } = this.#state.parts;
    if (exchange.reading !== null) {
      exchange.body.moveBefore(index, exchange.reading.slabs); // They go back when nobody reads them any more.
      return;
    }
    const count = exchange.body.giveBefore(slabs, index);
    if (count > 0) leases.giveMany(Lease.bodySlab, count);
  }

  /** The single exit: everything still held goes back, the books are written, the record is free. */
  close(exchange: GatewayExchange, code: CloseCode): void {
    if (exchange.phase === Phase.free) return;
    const state = this.#state;
    const { leases, accountant, clock } = state.parts;
    exchange.closeCode = code;
    exchange.request.failIfOpen();
    exchange.response.failIfOpen();
    this.releaseUpstream(exchange);
    this.giveSlabs(exchange);
    state.giveScanner(exchange);
    if (leases.holds(exchange, Lease.deadline)) leases.give(exchange, Lease.deadline);
    exchange.responseRelay.cut(); // Does nothing when the response has ended.
    exchange.hooks.release();
    this.#runEndFilters(exchange);
    accountant.noteClose(exchange, clock.nowMs);
    if (leases.holds(exchange, Lease.logLine)) {
      if (exchange.wantsAccessLog) state.parts.writeAccessLog(exchange, clock.nowMs, exchange.detail);
      leases.give(exchange, Lease.logLine);
    }
    state.giveExchange(exchange);
  }

  /**
   * Never in the turn in which the request was read: the library would then dispatch what lies behind a refused request
   * in the same segment.
   */
  #replyLater(exchange: GatewayExchange, reply: Reply, code: CloseCode): void {
    exchange.phase = Phase.answering;
    exchange.pendingReply = reply;
    exchange.pendingCode = code;
    exchange.requestDeadlineMs = noDeadline;
    exchange.responseDeadlineMs = noDeadline;
    exchange.queueDeadlineMs = noDeadline;
    this.giveSlabs(exchange);
    this.#answering.push(exchange);
    this.#answeringGenerations.push(exchange.generation);
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    this.#isFlushScheduled = false;
    this.#state.parts.clock.refresh();
    const exchanges = this.#answering.splice(0);
    const generations = this.#answeringGenerations.splice(0);
    for (let index = 0; index < exchanges.length; index++) {
      const exchange = exchanges[index]!;
      if (exchange.generation !== generations[index] || exchange.isDownstreamOver) continue;
      try {
        this.#reply(exchange);
      } catch (error) {
        this.contain(exchange, error);
      }
    }
  };

  #reply(exchange: GatewayExchange): void {
    const code = exchange.pendingCode;
    if (exchange.isDownstreamPaused) {
      exchange.isDownstreamPaused = false;
      exchange.downstream!.resume();
    }
    const closes = closeReasons[code].closesConnection || exchange.head.closesConnection || this.#state.isDraining;
    if (exchange.response.state === Half.idle) exchange.response.become(Half.head);
    writeReply(exchange, exchange.pendingReply!, closes);
    if (exchange.response.isOpen) exchange.response.become(Half.done);
    this.close(exchange, code);
  }

  #runEndFilters(exchange: GatewayExchange): void {
    const chain = exchange.runtime?.chains[exchange.listenerIndex];
    try {
      chain?.onEnd(exchange);
    } catch (error) {
      this.#state.parts.log('error', { request_id: exchange.requestId, err: String(error) }, 'a filter threw');
    }
  }
}
