import { counterCell, metrics } from '../account/index.ts';
import { Api, Half, Lease, noDeadline, Phase } from '../exchange/index.ts';
import type { ResponseParser } from '../http/index.ts';
import { allFull, explainPick, pickEndpoint } from '../pick/index.ts';
import { editedBytes, isStreamWhole, type JoinBuffer } from '../relay/index.ts';
import { firstTarget, type Route } from '../route/index.ts';
import { Fault, Probe, type SeriesWriter } from '../shm/index.ts';
import { type UpstreamFailure, writeRequestHead } from '../upstream/index.ts';
import { hasUntried, isRepeatable, tokensToReserve } from './attempt-facts.ts';
import type { Closer } from './closer.ts';
import { type AttemptControl, PrefillStep, Split } from './disaggregation/prefill-step.ts';
import { splitTokensOf } from './disaggregation/split-facts.ts';
import { bodyEdits } from './disaggregation/transfer-body.ts';
import { FlowControl } from './flow-control.ts';
import type { GatewayExchange, UpstreamEvents } from './gateway-exchange.ts';
import type { PassiveHealth } from './passive-health.ts';
import { noteLookup, notePlace } from './placement.ts';
import { enterPool, PoolStay } from './pool-entry.ts';
import type { PoolRuntime } from './runtime.ts';
import type { ShardState } from './shard-state.ts';
import type { WorkMeter } from './work-meter.ts';

/**
 * From a route to a running response: targets in order, an endpoint of each, an attempt on it, and another attempt when
 * that ends before the commit point. What comes back is handed to the relay and to account.
 */
export class Dispatcher implements UpstreamEvents, AttemptControl {
  readonly #state: ShardState;
  readonly #closer: Closer;
  readonly #meter: WorkMeter;
  readonly #health: PassiveHealth;
  readonly #series: SeriesWriter;
  /** Who may try, and who waits. */
  readonly flow: FlowControl;
  /** Prompts that are computed elsewhere. */
  readonly prefill: PrefillStep;
  /** Scratch of one search: in the pool that the request may have to wait for. */
  readonly #stayOfFull = new PoolStay();

  constructor(state: ShardState, closer: Closer, health: PassiveHealth, series: SeriesWriter, join: JoinBuffer) {
    this.#state = state;
    this.#health = health;
    this.#closer = closer;
    this.#meter = closer.meter;
    this.#series = series;
    this.prefill = new PrefillStep(state, closer, health, series, join, this);
    this.flow = new FlowControl(state, closer, {
      prepare: (exchange) => this.prefill.prepare(exchange),
      tryServe: (exchange) => this.#tryPool(exchange, exchange.pool!),
    });
  }

  /** Starts the exchange on its route. The body may still be arriving. */
  start(exchange: GatewayExchange, route: Route): void {
    exchange.route = route;
    exchange.modelLabel = route.modelLabel;
    exchange.targetIndex = firstTarget(route, this.#state.parts.random);
    this.#enterPool(exchange, exchange.targetIndex);
    exchange.pool!.retryBudget.noteRequest(this.#state.parts.clock.nowMs);
    this.#seek(exchange);
  }

  // UpstreamEvents.

  onUpstreamReady(exchange: GatewayExchange): void {
    this.#state.parts.clock.refresh();
    this.#send(exchange);
  }

  onUpstreamHead(exchange: GatewayExchange, response: ResponseParser): void {
    const { clock } = this.#state.parts;
    const nowMs = clock.refresh();
    const cause = String(response.status);
    this.#health.noteHead(exchange, response);
    this.#meter.head(exchange, response.status);
    if (this.tryAgain(exchange, cause, exchange.endpointIndex)) return;
    exchange.responseHead.take(response);
    if (exchange.pickText !== '') exchange.responseHead.set('x-penstock-pick', exchange.pickText);
    const prefillText = exchange.prefillUrl === '' ? '' : exchange.leg!.pickText;
    if (prefillText !== '') exchange.responseHead.set('x-penstock-prefill-pick', prefillText);
    if (exchange.areRetriesSpent) exchange.responseHead.set('x-should-retry', 'false');
    exchange.phase = Phase.streaming;
    // An attempt that broke before the commit point may have had a head, too.
    if (exchange.response.state === Half.idle) exchange.response.become(Half.head);
    exchange.responseDeadlineMs = nowMs + exchange.runtime!.config.timeouts.streamIdleMs;
    const isFine = this.#closer.guardFilters(exchange, (chain) => chain.onResponseHead(exchange));
    if (!isFine) return;
    const closes = exchange.head.closesConnection || this.#state.isDraining;
    exchange.responseRelay.begin(exchange.connection!, closes);
  }

  /** @hot per chunk. */
  onUpstreamBody(exchange: GatewayExchange, bytes: Buffer, start: number, end: number): void {
    if (exchange.isDownstreamOver) return;
    const { clock, accountant } = this.#state.parts;
    const nowMs = clock.refresh();
    const relay = exchange.responseRelay;
    exchange.responseDeadlineMs = nowMs + exchange.runtime!.config.timeouts.streamIdleMs;
    const chain = exchange.runtime!.chains[exchange.listenerIndex]!;
    if (chain.watchesResponseChunks) {
      if (!this.#closer.guardFilters(exchange, (filters) => filters.onResponseChunk(exchange, bytes, start, end)))
        return;
    }
    const eventsBefore = relay.tap.eventCount;
    relay.push(bytes, start, end);
    if (exchange.response.state === Half.head) {
      exchange.response.become(Half.body);
      accountant.noteFirstByte(exchange, nowMs);
      this.#health.noteFirstPiece(exchange, bytes, start, end);
      this.#meter.promptDone(exchange, nowMs, relay.tap.eventCount - eventsBefore);
      if (exchange.pool!.boundsPending) this.#closer.onPlaceFree(exchange.pool!);
      this.#endReplay(exchange);
    } else if (exchange.isEventStream && relay.tap.eventCount !== eventsBefore) {
      this.#meter.events(exchange, nowMs, relay.tap.eventCount - eventsBefore);
      accountant.noteEvents(exchange, nowMs);
    }
  }

  onUpstreamEnd(exchange: GatewayExchange): void {
    const { clock, accountant } = this.#state.parts;
    clock.refresh();
    if (exchange.response.isOpen) exchange.response.become(Half.done);
    const relay = exchange.responseRelay;
    if (exchange.isEventStream) this.#finishStream(exchange);
    const usage = exchange.facts.api === Api.other ? null : relay.readUsage();
    if (exchange.facts.api !== Api.other) accountant.noteUsage(exchange, usage, relay.tap.eventCount);
    this.#meter.usage(exchange, usage);
    if (!isStreamWhole(exchange, relay.tap, exchange.pool!.promisesDone)) {
      const message = 'The upstream ended its stream early.';
      this.#health.noteFault(exchange, Fault.truncated, '');
      this.#closer.fail(exchange, exchange.isCommitted ? 'stream_truncated' : 'upstream_invalid', message);
      return;
    }
    this.#health.noteAnswer(exchange, usage);
    exchange.pool!.kv?.finish(exchange, usage, exchange.prefillUrl !== '');
    exchange.pool!.residents.finish(exchange, (clock.nowMs - exchange.dispatchedMs) / 1000);
    this.#closer.releaseUpstream(exchange);
    if (relay.end()) this.#closer.close(exchange, 'done');
    else exchange.responseDeadlineMs = noDeadline; // The client still takes bytes; its own limit bounds one that stopped.
  }

  onUpstreamFailed(exchange: GatewayExchange, failure: UpstreamFailure, detail: string): void {
    this.#state.parts.clock.refresh();
    const wasReused = exchange.connection?.isReused === true;
    exchange.connection = null; // It is gone already.
    if (failure === 'stale') {
      // Nothing was sent: the endpoint closed an idle connection, which is no failure of it. A fresh one, then.
      if (this.prefill.isPaired(exchange)) {
        this.#closer.giveConnection(exchange);
        this.connect(exchange); // To the same endpoint: what is known of the prompt is for that one.
        return;
      }
      exchange.poolAttempts--;
      exchange.attempts--;
      this.#closer.giveEndpoint(exchange);
      exchange.requestRelay.stop();
      this.#seek(exchange);
      return;
    }
    if (failure === 'local') {
      this.#closer.fail(exchange, 'saturated', 'The gateway has no room for another upstream connection.', detail);
      return;
    }
    const cause = failure === 'connect' ? 'connect' : 'reset';
    // A kept-alive connection may end just as it is used again; that says nothing about the endpoint.
    const blamesEndpoint = !(failure === 'reset' && wasReused);
    if (blamesEndpoint) this.#health.noteFailure(exchange, failure, detail);
    if (failure !== 'invalid' && this.tryAgain(exchange, cause, blamesEndpoint ? exchange.endpointIndex : -1)) return;
    if (exchange.isCommitted) {
      if (exchange.isEventStream) this.#finishStream(exchange);
      this.#closer.fail(exchange, 'stream_truncated', 'The upstream ended its response early.', detail);
    } else if (failure === 'connect') {
      this.#closer.fail(exchange, 'connect_failed', 'No upstream endpoint could be reached.', detail);
    } else if (failure === 'invalid') {
      this.#closer.fail(exchange, 'upstream_invalid', 'The upstream sent an invalid response.', detail);
    } else {
      this.#closer.fail(exchange, 'upstream_reset', 'The upstream closed the connection before it answered.', detail);
    }
  }

  onUpstreamFlushed(exchange: GatewayExchange): void {
    if (exchange.isCommitted || !exchange.body.isWhole) this.#giveSentSlabs(exchange);
  }

  /** The endpoint has not accepted the connection in time. */
  onConnectLate(exchange: GatewayExchange): void {
    if (exchange.connection === null) {
      this.#closer.fail(exchange, 'saturated', 'The upstream endpoint has no connection to spare.');
      return;
    }
    exchange.connection.destroy();
    this.onUpstreamFailed(exchange, 'connect', 'connect timeout');
  }

  /** Gives up the possibility of another attempt, for memory: slabs the socket has taken are free. */
  giveUpReplay(exchange: GatewayExchange): void {
    const { body, requestRelay, connection } = exchange;
    if (body.heldCount === 0 || !body.isWhole || connection?.isFlushed !== true || exchange.leg?.needsBody === true)
      return;
    if (requestRelay.slabIndex > 0 || requestRelay.isFinished) {
      this.#noteReplaySkipped(exchange, 'memory');
      this.#giveSentSlabs(exchange);
    }
  }

  #finishStream(exchange: GatewayExchange): void {
    const { tap } = exchange.responseRelay;
    tap.finish();
    this.#state.parts.accountant.noteStreamEnd(exchange, tap);
  }

  #enterPool(exchange: GatewayExchange, targetIndex: number): void {
    enterPool(exchange, targetIndex, this.#state.parts);
  }

  /** Tries the present target, then the others in order; queues where it was only a matter of room; fails when nothing is left. */
  #seek(exchange: GatewayExchange): void {
    const targets = exchange.route!.targets;
    let fullTarget = -1;
    exchange.fullTargets = 0;
    for (;;) {
      const found = this.#tryPool(exchange, exchange.pool!);
      if (found > 0) return;
      if (found === 0) exchange.fullTargets |= 1 << exchange.targetIndex;
      if (found === 0 && fullTarget < 0) {
        fullTarget = exchange.targetIndex;
        this.#stayOfFull.keep(exchange);
      }
      exchange.triedTargets |= 1 << exchange.targetIndex;
      const next = targets.findIndex((_, index) => (exchange.triedTargets & (1 << index)) === 0);
      if (next < 0) break;
      this.#enterPool(exchange, next);
    }
    if (fullTarget >= 0) {
      this.#enterPool(exchange, fullTarget);
      this.#stayOfFull.restore(exchange); // It waits for the others: what failed would only fail again.
      this.flow.enter(exchange);
    } else if (exchange.retryCause === 'connect') {
      this.#closer.fail(exchange, 'connect_failed', 'No upstream endpoint could be reached.');
    } else if (exchange.retryCause === 'reset') {
      this.#closer.fail(exchange, 'upstream_reset', 'The upstream closed the connection before it answered.');
    } else {
      exchange.retryAfterSeconds = this.#health.secondsUntilBack(exchange);
      this.#closer.fail(exchange, 'no_endpoint', 'No healthy upstream endpoint is available.');
    }
  }

  /** 1: an attempt runs. 0: the pool is full. -1: it has no endpoint for this exchange. */
  #tryPool(exchange: GatewayExchange, pool: PoolRuntime): 1 | 0 | -1 {
    const { clock, leases, fleet } = this.#state.parts;
    this.prefill.prepare(exchange);
    const isWaiting = leases.holds(exchange, Lease.queuePlace);
    if (!isWaiting && this.flow.isSomebodyBefore(exchange)) return this.flow.hasEndpoint(exchange) ? 0 : -1;
    pool.kv?.look(exchange);
    if (pool.split !== null) exchange.splitTokens = splitTokensOf(exchange);
    const picker = pool.split?.choice ?? pool.picker;
    const index = pickEndpoint(pool.view, picker, exchange, clock.nowMs);
    if (index < 0) return index === allFull ? 0 : -1;
    const endpoint = pool.endpoints[index]!;
    const { probes } = pool.view;
    if (pool.config.debugHeaders) {
      const pickerName = pool.split === null ? pool.config.picker : 'decode';
      exchange.pickText = explainPick(pool.view, picker, pool.kv, pickerName, exchange, index);
    }
    const split = pool.split === null ? Split.alone : this.prefill.take(exchange, index);
    const goesFirst = split === Split.paired && this.prefill.goesFirst(exchange);
    const connection = goesFirst || split > Split.paired ? null : endpoint.acquire(exchange);
    if (connection === null && !goesFirst) {
      this.#closer.giveLeg(exchange);
      exchange.prefillUrl = '';
      fleet.health.giveProbes(endpoint.slot, exchange.modelRow, probes);
      fleet.giveInflight(endpoint.slot);
      return split === Split.none ? -1 : 0;
    }
    if (isWaiting) this.#closer.leaveQueue(exchange);
    leases.take(exchange, Lease.endpoint);
    exchange.beginAttempt(probes);
    notePlace(this.#series, exchange, index, clock.nowMs);
    if (exchange.probes !== Probe.none) leases.take(exchange, Lease.probe);
    if (connection !== null) leases.take(exchange, Lease.connection);
    leases.take(exchange, Lease.tokens);
    exchange.reservedTokens = fleet.addTokens(endpoint.slot, tokensToReserve(exchange));
    this.flow.noteAttempt(exchange);
    exchange.endpointIndex = index;
    if (split === Split.alone) this.prefill.noteAlone(exchange);
    const isHit = this.#meter.placed(exchange, pool, index, split === Split.paired);
    if (pool.kv !== null && exchange.prompt !== null) noteLookup(this.#series, exchange, isHit);
    exchange.endpointUrl = endpoint.address.url;
    exchange.attempts++;
    exchange.poolAttempts++;
    exchange.connection = connection;
    exchange.phase = Phase.connecting;
    exchange.responseDeadlineMs = goesFirst ? noDeadline : clock.nowMs + exchange.runtime!.config.timeouts.connectMs;
    return 1;
  }

  #send(exchange: GatewayExchange): void {
    const { accountant, clock } = this.#state.parts;
    const { head, body, runtime } = exchange;
    const connection = exchange.connection!;
    const edits = bodyEdits(exchange);
    const knownBytes = body.isComplete ? body.receivedBytes : head.isChunked ? -1 : head.contentLength;
    const bodyBytes = !head.hasBody ? 0 : knownBytes < 0 ? -1 : editedBytes(knownBytes, edits);
    const text = writeRequestHead(head, exchange.requestId, bodyBytes, connection.endpoint.settings.head);
    exchange.phase = Phase.waiting;
    if (exchange.dispatchedMs === 0) accountant.noteDispatch(exchange, clock.nowMs);
    exchange.dispatchedMs = clock.nowMs;
    this.#meter.sent(exchange, clock.nowMs);
    const dueMs = this.prefill.isOver(exchange) ? exchange.leg!.answerDueMs : noDeadline;
    exchange.responseDeadlineMs = Math.min(dueMs, clock.nowMs + runtime!.config.timeouts.firstByteMs);
    connection.expectResponse(head.isHead);
    exchange.requestRelay.start(connection, text, body, edits, bodyBytes < 0);
  }

  /** Whether the request may be sent again, and there is somebody left to send it to within the pool's bounds. */
  #mayRetry(exchange: GatewayExchange, cause: string, blamed: number): boolean {
    if (!exchange.pool!.retryCauses.has(cause)) return false;
    if (exchange.isCommitted || exchange.isDownstreamOver) return false;
    if (cause === 'reset' && !isRepeatable(exchange)) return false;
    const { targets } = exchange.route!;
    const isLastTarget = (exchange.triedTargets | (1 << exchange.targetIndex)) === (1 << targets.length) - 1;
    const pool = exchange.pool!;
    const isPoolSpent =
      exchange.poolAttempts > pool.config.retries.attempts || (blamed >= 0 && !hasUntried(exchange, pool, blamed));
    if (isLastTarget && isPoolSpent) {
      exchange.areRetriesSpent = exchange.attempts > 1;
      return false;
    }
    if (!exchange.body.isWhole) {
      this.#noteReplaySkipped(exchange, cause);
      return false;
    }
    if (pool.retryBudget.tryTake(this.#state.parts.clock.nowMs)) return true;
    this.#noteReplaySkipped(exchange, 'budget');
    exchange.areRetriesSpent = true;
    return false;
  }

  #noteReplaySkipped(exchange: GatewayExchange, reason: string): void {
    exchange.replaySkipped = reason;
    this.#series.add(counterCell(this.#series, metrics.replaySkipped, [exchange.poolName, reason]), 1);
  }

  // AttemptControl.

  tryAgain(exchange: GatewayExchange, cause: string, blamed: number): boolean {
    if (!this.#mayRetry(exchange, cause, blamed)) return false;
    this.#series.add(counterCell(this.#series, metrics.retries, [exchange.poolName, cause]), 1);
    exchange.retryCause = cause;
    this.#closer.releaseUpstream(exchange);
    exchange.responseRelay.recycle();
    if (blamed >= 0) exchange.tried.add(blamed);
    if (exchange.poolAttempts > exchange.pool!.config.retries.attempts) {
      exchange.triedTargets |= 1 << exchange.targetIndex;
      const next = exchange.route!.targets.findIndex((_, index) => (exchange.triedTargets & (1 << index)) === 0);
      this.#enterPool(exchange, next);
    }
    this.#seek(exchange);
    return true;
  }

  connect(exchange: GatewayExchange): void {
    const { clock, leases } = this.#state.parts;
    if (exchange.phase !== Phase.connecting || exchange.responseDeadlineMs === noDeadline)
      exchange.responseDeadlineMs = clock.nowMs + exchange.runtime!.config.timeouts.connectMs;
    exchange.phase = Phase.connecting;
    exchange.connection = exchange.pool!.endpoints[exchange.endpointIndex]!.acquire(exchange);
    if (exchange.connection !== null) leases.take(exchange, Lease.connection);
  }

  onBodyFree(exchange: GatewayExchange): void {
    this.#giveSentSlabs(exchange);
  }

  /** The stream has been silent for long. With the first ping its head goes down too, so it is the commit point then. */
  ping(exchange: GatewayExchange): void {
    const wasCommitted = exchange.isCommitted;
    exchange.responseRelay.ping();
    if (!wasCommitted && exchange.isCommitted) this.#endReplay(exchange);
  }

  /** The commit point: no attempt follows, so slabs go back as the socket takes them. */
  #endReplay(exchange: GatewayExchange): void {
    if (this.prefill.isOver(exchange)) exchange.leg!.members = null; // Half a megabyte, for a prompt of 3.
    this.#giveSentSlabs(exchange);
  }

  #giveSentSlabs(exchange: GatewayExchange): void {
    const { connection, requestRelay } = exchange;
    if (exchange.leg?.needsBody === true) return; // It tells when it has all of it.
    if (connection !== null && !connection.isFlushed) return;
    if (requestRelay.isFinished || connection === null) this.#closer.giveSlabs(exchange);
    else this.#closer.giveSlabs(exchange, requestRelay.slabIndex);
  }
}
