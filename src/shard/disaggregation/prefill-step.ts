import { counterCell, metrics } from '../../account/index.ts';
import { Lease, Phase } from '../../exchange/index.ts';
import type { ResponseParser } from '../../http/index.ts';
import { allFull, explainPick, pickEndpoint, Serves, TriedEndpoints } from '../../pick/index.ts';
import { editedBytes, type JoinBuffer, RequestRelay } from '../../relay/index.ts';
import { Fault, otherRow, Probe, type SeriesWriter } from '../../shm/index.ts';
import { type UpstreamFailure, writeRequestHead } from '../../upstream/index.ts';
import type { Closer } from '../closer.ts';
import type { GatewayExchange, OnThrow } from '../gateway-exchange.ts';
import type { PassiveHealth } from '../passive-health.ts';
import type { PoolRuntime } from '../runtime.ts';
import type { ShardState } from '../shard-state.ts';
import { answerBytesMax, readPrefillAnswer } from './prefill-answer.ts';
import { type LegEvents, LegState, PrefillLeg } from './prefill-leg.ts';
import { releaseLeg } from './release-leg.ts';
import { wantsOf } from './split-facts.ts';
import { bootstrapMembers, decodeMembers, drawRoom, legEdits } from './transfer-body.ts';

/** What becomes of an attempt whose answer has its endpoint. */
export const Split = {
  /** That endpoint does it all. */
  alone: 0,
  /** Another one has been taken for the prompt. */
  paired: 1,
  /** There are others, but none has room. */
  full: 2,
  /** There is none, and that endpoint cannot do it alone. */
  none: 3,
} as const;
export type Split = (typeof Split)[keyof typeof Split];

/** Label values of `penstock_prefill_steps_total`. */
type Outcome = 'computed' | 'not_kept' | 'refused' | 'failed' | 'alone';

/** What the step asks of the dispatcher. */
export interface AttemptControl {
  /** Begins another attempt with both endpoints anew, if there may be one. `blamed`: index of who is not to be asked again, or -1. */
  tryAgain(exchange: GatewayExchange, cause: string, blamed: number): boolean;
  /** The prompt is computed: its answer may be asked for. */
  connect(exchange: GatewayExchange): void;
  /** The prompt's endpoint has what it needs of the body. */
  onBodyFree(exchange: GatewayExchange): void;
}

/**
 * The prompt's side of attempts in pools that are disaggregated: another endpoint is taken together with the one the answer
 * comes from, so that whoever has its prompt computed has a place for its answer too.
 *
 *   vllm     take ──▶ prompt sent ──▶ answer read ──▶ its endpoint released ──▶ `connect`: the answer is asked for
 *   sglang   take ──▶ prompt sent ──▶ answer read and dropped ──▶ its endpoint released
 *                └──▶ (the dispatcher) the same with the same room ──▶ the answer is relayed
 *
 * Whatever goes wrong on this side before the commit point ends the attempt on both; afterwards it is only noted.
 */
export class PrefillStep implements LegEvents {
  readonly #state: ShardState;
  readonly #closer: Closer;
  readonly #health: PassiveHealth;
  readonly #series: SeriesWriter;
  readonly #join: JoinBuffer;
  readonly #control: AttemptControl;
  readonly #onThrow: OnThrow;
  /** Scratch: a request for a prompt's endpoint. */
  readonly #wish = {
    hashKey: 0,
    tried: new TriedEndpoints(),
    modelRow: otherRow as number,
    modelKey: 0,
    contextTokens: 0,
    mayProbe: false,
    fits: null as Uint8Array | null,
    wants: Serves.prefill,
  };

  constructor(
    state: ShardState,
    closer: Closer,
    health: PassiveHealth,
    series: SeriesWriter,
    join: JoinBuffer,
    control: AttemptControl,
  ) {
    this.#state = state;
    this.#closer = closer;
    this.#health = health;
    this.#series = series;
    this.#join = join;
    this.#control = control;
    this.#onThrow = (exchange, error) => closer.contain(exchange, error);
  }

  /** Before an endpoint for the answer is looked for. */
  prepare(exchange: GatewayExchange): void {
    const { slabs, clock } = this.#state.parts;
    const { view, split } = exchange.pool!;
    exchange.prefillUrl = '';
    exchange.missingPart = 0;
    exchange.wants = wantsOf(exchange, exchange.pool!, slabs);
    if (split?.protocol !== 'sglang' || exchange.wants === Serves.plain) return;
    // An engine that only decodes is of no use while none of those is left that compute prompts.
    const wish = this.#wish;
    wish.tried = exchange.tried;
    wish.modelRow = exchange.modelRow;
    wish.fits = exchange.fits;
    wish.modelKey = exchange.modelKey;
    wish.contextTokens = exchange.contextTokens;
    view.screen(wish, clock.nowMs);
    if (view.count + view.probationCount + view.fullCount === 0) exchange.wants = Serves.whole;
  }

  /** Endpoint `decodeIndex` has been picked for the answer: takes one for the prompt, if there has to be one. */
  take(exchange: GatewayExchange, decodeIndex: number): Split {
    const { clock, fleet, leases } = this.#state.parts;
    const pool = exchange.pool!;
    const { view, split } = pool;
    if (!this.#willHaveConnection(pool, decodeIndex)) return Split.full;
    if (exchange.wants === Serves.plain) return Split.alone;
    if (split!.choice.isServedAlone(view, exchange, decodeIndex)) return Split.alone;
    const leg = (exchange.leg ??= this.#makeLeg(exchange));
    leg.begin(decodeIndex);
    const index = pickEndpoint(view, pool.picker, leg, clock.nowMs);
    if (index === allFull) return this.#fullForPrompt(exchange);
    if (index < 0) {
      const isEnough = (view.endpoints[decodeIndex]!.serves! & exchange.wants & Serves.whole) !== 0;
      return isEnough ? Split.alone : Split.none;
    }
    const endpoint = pool.endpoints[index]!;
    const connection = this.#willHaveConnection(pool, index) ? endpoint.acquire(leg) : null;
    if (connection === null) {
      fleet.health.giveProbes(endpoint.slot, exchange.modelRow, view.probes);
      fleet.giveInflight(endpoint.slot);
      return this.#fullForPrompt(exchange);
    }
    if (pool.config.debugHeaders) {
      leg.pickText = explainPick(view, pool.picker, pool.kv, pool.config.picker, leg, index);
    }
    leases.take(exchange, Lease.prefillEndpoint);
    leg.probes = view.probes;
    if (leg.probes !== Probe.none) leases.take(exchange, Lease.prefillProbe);
    leases.take(exchange, Lease.prefillConnection);
    leases.take(exchange, Lease.prefillTokens);
    leg.reservedTokens = fleet.addTokens(endpoint.slot, exchange.splitTokens + 1); // The engine has to say one.
    leg.endpointIndex = index;
    leg.endpointUrl = endpoint.address.url;
    pool.residents.place(leg, index, clock.nowMs);
    leg.isKnown = this.#closer.meter.legPlaced(exchange, leg, pool, index);
    exchange.matchedTokens = leg.matchedTokens;
    exchange.score = leg.score;
    leg.connection = connection;
    leg.become(LegState.connecting);
    exchange.prefillUrl = leg.endpointUrl;
    exchange.prefillDeadlineMs = clock.nowMs + exchange.runtime!.config.timeouts.connectMs;
    if (split!.protocol === 'sglang') {
      const { host } = pool.config.endpoints[index]!;
      leg.members = bootstrapMembers(host, split!.bootstrapPorts[index]!, drawRoom());
    }
    return Split.paired;
  }

  /** The attempt has begun without an endpoint for the prompt. */
  noteAlone(exchange: GatewayExchange): void {
    if (exchange.pool!.split !== null && exchange.wants !== Serves.plain) this.#count(exchange, 'alone');
  }

  /** The prompt has to be computed before anything is sent to the endpoint the answer comes from. */
  goesFirst(exchange: GatewayExchange): boolean {
    return exchange.pool!.split?.protocol === 'vllm' && exchange.leg !== null && exchange.leg.isRunning;
  }

  /** The attempt has, or had, another endpoint for its prompt. */
  isPaired({ leg }: GatewayExchange): boolean {
    return leg !== null && leg.state !== LegState.none;
  }

  /** The prompt's side of the attempt has ended, and the other is what it waits for. */
  isOver({ leg }: GatewayExchange): boolean {
    return leg !== null && leg.state === LegState.over;
  }

  /** A connection for the answer could not be had when the prompt was computed. Called by every sweep. */
  pump(exchange: GatewayExchange): void {
    if (exchange.connection === null && this.isOver(exchange)) this.#control.connect(exchange);
  }

  /** Its connection has not come about, or its answer has not come, in time. */
  onLate(exchange: GatewayExchange): void {
    const leg = exchange.leg!;
    if (leg.state === LegState.connecting) {
      leg.connection!.destroy();
      this.onFailed(exchange, leg, 'connect', 'connect timeout');
      return;
    }
    this.#health.noteFault(leg, Fault.late, 'the prompt was not computed');
    this.#count(exchange, 'failed');
    if (exchange.isCommitted) this.#release(exchange);
    else this.#closer.fail(exchange, 'first_byte_timeout', 'The upstream did not compute the prompt in time.');
  }

  // LegEvents.

  onReady(exchange: GatewayExchange, leg: PrefillLeg): void {
    const { clock, accountant } = this.#state.parts;
    const nowMs = clock.refresh();
    const { head, body, runtime } = exchange;
    const connection = leg.connection!;
    const edits = legEdits(exchange, leg);
    const bodyBytes = editedBytes(body.receivedBytes, edits);
    const text = writeRequestHead(head, exchange.requestId, bodyBytes, connection.endpoint.settings.head, true);
    leg.become(LegState.waiting);
    leg.dispatchedMs = nowMs;
    if (exchange.dispatchedMs === 0) accountant.noteDispatch(exchange, nowMs);
    exchange.dispatchedMs ||= nowMs;
    if (this.goesFirst(exchange)) exchange.phase = Phase.waiting;
    exchange.prefillDeadlineMs = nowMs + runtime!.config.timeouts.firstByteMs;
    if (this.goesFirst(exchange)) leg.answerDueMs = exchange.prefillDeadlineMs;
    connection.expectResponse(false);
    leg.requestRelay.start(connection, text, body, edits, false);
  }

  onHead(exchange: GatewayExchange, leg: PrefillLeg, response: ResponseParser): void {
    this.#state.parts.clock.refresh();
    const { status } = response;
    this.#health.noteHead(leg, response);
    leg.become(LegState.answering);
    leg.expectAnswer(status);
    leg.contentType = response.header('content-type') ?? '';
    leg.retryAfter = response.header('retry-after') ?? '';
    if (isSuccess(status) || exchange.isCommitted) return;
    this.#count(exchange, 'refused');
    this.#control.tryAgain(exchange, String(status), leg.endpointIndex);
  }

  onBody(exchange: GatewayExchange, leg: PrefillLeg, bytes: Buffer, start: number, end: number): void {
    if (exchange.isCommitted || (isSuccess(leg.status) && !this.goesFirst(exchange))) return; // Nobody reads it.
    leg.pieceBytes += end - start;
    if (leg.pieceBytes <= answerBytesMax) leg.pieces.push(Buffer.from(bytes.subarray(start, end)));
    else this.#onRubbish(exchange, leg, 'the prefill answer is too long');
  }

  onEnd(exchange: GatewayExchange, leg: PrefillLeg): void {
    const waitedMs = this.#state.parts.clock.refresh() - leg.dispatchedMs;
    const { kv } = exchange.pool!;
    if (!isSuccess(leg.status)) {
      if (leg.status < 500 && leg.status !== 429) this.#health.notePrefill(leg, 0);
      if (exchange.isCommitted) this.#release(exchange);
      else this.#answerRefused(exchange, leg);
      return;
    }
    const answer = this.goesFirst(exchange) ? readPrefillAnswer(Buffer.concat(leg.pieces)) : null;
    if (answer === null && this.goesFirst(exchange)) {
      this.#onRubbish(exchange, leg, 'the prefill answer is none');
      return;
    }
    this.#health.notePrefill(leg, waitedMs);
    this.#closer.meter.legDone(leg);
    kv?.answerBegan(leg, waitedMs);
    kv?.finish(leg, answer?.usage ?? null);
    if (answer === null) {
      this.#count(exchange, 'computed');
      this.#release(exchange);
      return;
    }
    this.#count(exchange, answer.params === null ? 'not_kept' : 'computed');
    leg.members = answer.params === null ? null : decodeMembers(answer.params);
    this.#release(exchange);
    if (leg.members === null) this.#closer.meter.unpaired(exchange);
    this.#control.connect(exchange);
  }

  onFailed(exchange: GatewayExchange, leg: PrefillLeg, failure: UpstreamFailure, detail: string): void {
    this.#state.parts.clock.refresh();
    const wasReused = leg.connection?.isReused === true;
    leg.connection = null; // It is gone already.
    if (failure === 'stale') {
      this.#reconnect(exchange, leg);
      return;
    }
    if (failure === 'local') {
      this.#closer.fail(exchange, 'saturated', 'The gateway has no room for another upstream connection.', detail);
      return;
    }
    this.#count(exchange, 'failed');
    // A kept-alive connection may end just as it is used again; that says nothing about the endpoint.
    const blames = !(failure === 'reset' && wasReused);
    if (blames) this.#health.noteFault(leg, leg.state === LegState.answering ? Fault.broken : Fault[failure], detail);
    if (exchange.isCommitted) {
      this.#release(exchange);
      return;
    }
    const cause = failure === 'connect' ? 'connect' : 'reset';
    if (this.#control.tryAgain(exchange, cause, blames ? leg.endpointIndex : -1) || this.#goAlone(exchange)) return;
    if (failure === 'connect') {
      this.#closer.fail(exchange, 'connect_failed', 'No upstream endpoint could be reached.', detail);
    } else if (failure === 'invalid') {
      this.#closer.fail(exchange, 'upstream_invalid', 'The upstream sent an invalid response.', detail);
    } else {
      this.#closer.fail(exchange, 'upstream_reset', 'The upstream closed the connection before it answered.', detail);
    }
  }

  onFlushed(exchange: GatewayExchange): void {
    if (exchange.isCommitted) this.#control.onBodyFree(exchange);
  }

  /** Nothing was sent: the endpoint closed an idle connection, which is no failure of it. A fresh one, then. */
  #reconnect(exchange: GatewayExchange, leg: PrefillLeg): void {
    const connection = exchange.pool!.endpoints[leg.endpointIndex]!.acquire(leg);
    if (connection === null) {
      this.#closer.fail(exchange, 'saturated', 'The upstream endpoint has no connection to spare.');
      return;
    }
    leg.connection = connection;
    leg.become(LegState.connecting);
    exchange.prefillDeadlineMs = this.#state.parts.clock.nowMs + exchange.runtime!.config.timeouts.connectMs;
  }

  /** It answered with success, and not what was asked for. The prompt can be computed elsewhere: nothing of it was kept. */
  #onRubbish(exchange: GatewayExchange, leg: PrefillLeg, detail: string): void {
    this.#health.noteFault(leg, Fault.garbage, detail);
    this.#count(exchange, 'failed');
    if (this.#control.tryAgain(exchange, 'reset', leg.endpointIndex) || this.#goAlone(exchange)) return;
    this.#closer.fail(exchange, 'upstream_invalid', 'The upstream sent an invalid response.', detail);
  }

  /**
   * No further attempt may be made, but the place for the answer is taken already, and a vLLM engine there can compute the
   * prompt itself. Not after a refusal: that is for lack of room, and the other has no more of it.
   */
  #goAlone(exchange: GatewayExchange): boolean {
    if (!this.goesFirst(exchange)) return false;
    this.#count(exchange, 'alone');
    exchange.prefillUrl = '';
    this.#release(exchange);
    this.#closer.meter.unpaired(exchange);
    this.#control.connect(exchange);
    return true;
  }

  /** What is wrong with the request the other endpoint would say too: the client gets the refusal as it is. */
  #answerRefused(exchange: GatewayExchange, leg: PrefillLeg): void {
    const headers: Record<string, string> = {};
    if (leg.contentType !== '') headers['content-type'] = leg.contentType;
    if (leg.retryAfter !== '') headers['retry-after'] = leg.retryAfter;
    if (exchange.areRetriesSpent) headers['x-should-retry'] = 'false';
    const body = Buffer.concat(leg.pieces);
    this.#closer.answerFor(exchange, { status: leg.status, headers, body });
  }

  /** Its endpoint is free; the attempt goes on. */
  #release(exchange: GatewayExchange): void {
    if (!releaseLeg(this.#state.parts, this.#closer.meter, exchange, LegState.over)) return;
    this.#closer.onPlaceFree(exchange.pool!);
    if (exchange.isCommitted) this.#control.onBodyFree(exchange);
  }

  /** Who needs no place there may go before it, in any shard. */
  #fullForPrompt(exchange: GatewayExchange): Split {
    exchange.missingPart = exchange.pool!.split!.promptPart;
    return Split.full;
  }

  /**
   * Whether there is a connection to endpoint `index`, whose place is taken, for each place that is taken there: an answer is asked
   * for over one, and with `vllm` that is when its prompt is computed.
   */
  #willHaveConnection({ config, endpoints }: PoolRuntime, index: number): boolean {
    const endpoint = endpoints[index]!;
    const { connectionsMax } = config;
    return (
      connectionsMax === 0 ||
      (endpoint.hasConnection && this.#state.parts.fleet.inflight(endpoint.slot) <= connectionsMax)
    );
  }

  #count({ poolName }: GatewayExchange, outcome: Outcome): void {
    this.#series.add(counterCell(this.#series, metrics.prefillSteps, [poolName, outcome]), 1);
  }

  #makeLeg(exchange: GatewayExchange): PrefillLeg {
    const relay = new RequestRelay(this.#state.parts.slabs, this.#join);
    return new PrefillLeg(exchange, relay, this, this.#onThrow);
  }
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}
