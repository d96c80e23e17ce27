import { uuidV7 } from '../core/index.ts';
import { Api, Half, Lease, noDeadline, Phase } from '../exchange/index.ts';
import { classifyPath, isDisguised, takeFacts } from '../head/index.ts';
import { ScanState } from '../http/index.ts';
import type { ListenerEvents, Refusal } from '../listener/index.ts';
import type { BodyJobs } from './body-jobs.ts';
import type { Closer } from './closer.ts';
import { leadsToSplit, takesForms, watchesTransfer } from './disaggregation/transfer-keys.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { Gate } from './gate.ts';
import { BodyLook, type GatewayExchange } from './gateway-exchange.ts';
import { modelList } from './model-list.ts';
import { readMultipart } from './multipart-body.ts';
import type { ShardState } from './shard-state.ts';

/** Free budget below which intake pauses: what one read of the library may bring. */
const headroomBytes = 512 * 1024;
/** How far bytes that arrive after a pause may go beyond the budget before uploads are refused. */
function overdraftBytesMax(budgetBytes: number): number {
  return Math.max(16 * 1024 * 1024, budgetBytes / 4);
}

/** The walk over all open exchanges for memory is not made for every chunk. */
const reclaimPeriodMs = 20;

/** A client is kept paused for memory this long at the most; the library does not see it leave meanwhile. */
export const pausedMsMax = 5000;

export interface ConnectionCounts {
  onCount(delta: number): void;
  onRefused(listenerIndex: number, reason: 'connections_max' | 'per_address'): void;
}

/**
 * From the listener's events to a routable request: takes the head, keeps and scans the body, and hands the exchange to
 * the dispatcher as soon as routing has what it needs, which for a body with `model` first is its first read.
 *
 * No byte is sent up before the scanner has seen it. So a body that turns out to be ambiguous (a second `model`, say)
 * never reaches an endpoint whole, even when its upload had begun.
 */
export class Intake implements ListenerEvents<GatewayExchange> {
  readonly #state: ShardState;
  readonly #closer: Closer;
  readonly #dispatcher: Dispatcher;
  readonly #bodyJobs: BodyJobs;
  readonly #gate: Gate;
  readonly #connections: ConnectionCounts;
  /** When memory was last taken from those that could do without. */
  #reclaimedMs = Number.NEGATIVE_INFINITY;

  constructor(
    state: ShardState,
    closer: Closer,
    dispatcher: Dispatcher,
    bodyJobs: BodyJobs,
    gate: Gate,
    connections: ConnectionCounts,
  ) {
    this.#state = state;
    this.#closer = closer;
    this.#dispatcher = dispatcher;
    this.#bodyJobs = bodyJobs;
    this.#gate = gate;
    this.#connections = connections;
  }

  onConnectionCount(delta: number): void {
    this.#connections.onCount(delta);
  }

  onConnectionRefused(listenerIndex: number, reason: 'connections_max' | 'per_address'): void {
    this.#connections.onRefused(listenerIndex, reason);
  }

  onThrow(exchange: GatewayExchange, error: unknown): void {
    this.#closer.contain(exchange, error);
  }

  takeExchange(listenerIndex: number): GatewayExchange {
    const exchange = this.#state.takeExchange();
    exchange.listenerIndex = listenerIndex;
    exchange.runtime = this.#state.runtime;
    return exchange;
  }

  onHead(exchange: GatewayExchange, refusal: Refusal | null): void {
    const { clock, leases, budget } = this.#state.parts;
    const nowMs = clock.refresh();
    const { config } = exchange.runtime!;
    exchange.phase = Phase.receiving;
    exchange.startedMs = nowMs;
    exchange.requestId = uuidV7();
    leases.take(exchange, Lease.deadline);
    leases.take(exchange, Lease.logLine);
    exchange.request.become(Half.head);
    if (config.timeouts.totalMs > 0) exchange.totalDeadlineMs = nowMs + config.timeouts.totalMs;
    if (refusal !== null) {
      exchange.wantsAccessLog = true;
      this.#closer.fail(exchange, refusal.code, refusal.message);
      return;
    }
    if (!this.#gate.passHead(exchange)) return;
    let isAnswered = false;
    const isFine = this.#closer.guardFilters(exchange, (chain) => {
      const answer = chain.onRequestHead(exchange);
      if (answer === null) return;
      isAnswered = true;
      this.#closer.answer(exchange, answer);
    });
    if (!isFine || isAnswered) return;
    if (exchange.head.hasBody && budget.used() >= budget.max && !this.#reclaim()) {
      this.#closer.fail(exchange, 'saturated', 'The gateway holds as many request bytes as it may.');
      return;
    }
    this.#decideLook(exchange);
    if (!isIn(exchange, Phase.receiving)) return;
    if (exchange.head.hasBody) {
      exchange.requestDeadlineMs = nowMs + config.timeouts.requestIdleMs;
    } else {
      exchange.request.become(Half.done);
      exchange.body.isComplete = true; // Or the endpoint's connection would not count as reusable.
    }
    if (exchange.bodyLook <= BodyLook.casual && !waitsForBytes(exchange)) this.#route(exchange);
  }

  /** @hot per chunk. */
  onBody(exchange: GatewayExchange, bytes: Buffer, isLast: boolean): void {
    if (!exchange.request.isOpen || exchange.phase === Phase.answering || exchange.phase === Phase.free) return; // Late.
    const nowMs = this.#state.parts.clock.refresh();
    const { config } = exchange.runtime!;
    const { body, head } = exchange;
    // What was in one read with the piece that made us pause comes all the same; the client is not the one who is slow.
    if (!exchange.isDownstreamPaused) exchange.requestDeadlineMs = nowMs + config.timeouts.requestIdleMs;
    if (body.receivedBytes + bytes.length > config.limits.bodyBytesMax) {
      this.#closer.fail(exchange, 'body_too_large', 'The request body is larger than the gateway accepts.');
      return;
    }
    if (exchange.request.state === Half.head && bytes.length > 0) exchange.request.become(Half.body);
    const { generation } = exchange;
    this.#keep(exchange, bytes, head.contentLength - body.receivedBytes, isLast);
    if (exchange.generation !== generation || isIn(exchange, Phase.answering)) return;
    if (isLast) {
      body.isComplete = true;
      exchange.requestDeadlineMs = noDeadline;
      exchange.request.become(Half.done);
      this.#resume(exchange); // There is nothing left to hold up, and a paused client is not seen to leave.
    }
    if (exchange.bodyLook !== BodyLook.none && !this.#look(exchange, isLast)) return;
    if (!exchange.isRouted && exchange.bodyLook <= BodyLook.casual && !waitsForBytes(exchange)) this.#route(exchange);
    else if (exchange.isRouted) exchange.requestRelay.pump();
  }

  onAborted(exchange: GatewayExchange): void {
    if (exchange.isDownstreamOver) return; // We closed it ourselves.
    this.#state.parts.clock.refresh();
    exchange.isDownstreamOver = true;
    this.#closer.close(exchange, 'client_gone');
  }

  onWritable(exchange: GatewayExchange): void {
    if (exchange.isDownstreamOver || !exchange.isCommitted) return;
    const nowMs = this.#state.parts.clock.refresh();
    exchange.stalledSinceMs = 0;
    const relay = exchange.responseRelay;
    const isDrained = relay.onWritable();
    if (relay.isCutting) {
      if (exchange.isDownstreamOver) this.#closer.close(exchange, exchange.pendingCode);
    } else if (isDrained && exchange.response.isDone) {
      this.#closer.close(exchange, 'done');
    } else if (exchange.response.isOpen) {
      // While the client held the stream up the endpoint was not read: its silence starts now.
      exchange.responseDeadlineMs = nowMs + exchange.runtime!.config.timeouts.streamIdleMs;
    }
  }

  /** Memory was freed elsewhere, or the pause has lasted too long. Called by the shard's timer. */
  checkPaused(exchange: GatewayExchange, nowMs: number): void {
    const { budget } = this.#state.parts;
    if (budget.max - budget.used() >= headroomBytes || this.#reclaim()) {
      exchange.requestDeadlineMs = nowMs + exchange.runtime!.config.timeouts.requestIdleMs;
      this.#resume(exchange);
    } else if (nowMs - exchange.pausedSinceMs > pausedMsMax) {
      this.#closer.fail(exchange, 'saturated', 'The gateway holds as many request bytes as it may.');
    }
  }

  #decideLook(exchange: GatewayExchange): void {
    const { head, facts, runtime } = exchange;
    const kind = classifyPath(head.path, head.method);
    if (kind.api === Api.other && isDisguised(head.path, head.method)) {
      this.#closer.fail(exchange, 'head_invalid', 'The path is not written as the API names it.', 'disguised path');
      return;
    }
    facts.api = kind.api;
    facts.isRepeatable = kind.isRepeatable;
    const { routes } = runtime!;
    if (kind.api === Api.models) {
      const answer = modelList(head.path, routes, this.#state.parts.models);
      if (answer === null) this.#closer.fail(exchange, 'model_not_found', 'The model does not exist.');
      else if (answer !== 'ask') this.#closer.answer(exchange, answer);
      if (answer !== 'ask') return;
    }
    const watches = watchesTransfer(facts, runtime!);
    if (!kind.hasModel && !(watches && kind.api === Api.other && head.hasBody)) return;
    const chain = runtime!.chains[exchange.listenerIndex]!;
    const isForm = (head.get('content-type') ?? '').toLowerCase().startsWith('multipart/');
    const isMultipart = isForm && (!watches || takesForms(facts));
    if (!head.hasBody) {
      if (routes.needsModel) this.#closer.fail(exchange, 'body_invalid', 'The request needs a JSON body.', 'empty');
      return;
    }
    const coding = head.get('content-encoding');
    if (coding !== null && coding.toLowerCase() !== 'identity') {
      // Not to be looked into; where the model decides there is no way to route it.
      // Without a look it can only go to the default route.
      if (leadsToSplit(routes.defaultRoute, runtime!) || (routes.needsModel && routes.defaultRoute === null)) {
        this.#closer.fail(exchange, 'not_implemented', 'A content coding of the request body is not implemented.');
      }
      return;
    }
    const wantsPrompt = runtime!.picksByPrompt && !isMultipart && kind.hasModel;
    const wantsWhole =
      wantsPrompt ||
      watches ||
      runtime!.config.limits.jsonCheck === 'full' ||
      chain.needsWholeBody ||
      runtime!.pools.some((pool) => pool.readsBody);
    if (routes.needsModel || (watches && !isMultipart)) {
      exchange.bodyLook = isMultipart ? BodyLook.multipart : wantsWhole ? BodyLook.strictWhole : BodyLook.strict;
    } else if (!isMultipart) {
      const isMixed = runtime!.pools.some((pool) => pool.view.fit?.isMixed);
      exchange.bodyLook = wantsWhole || isMixed || chain.needsFacts ? BodyLook.casualWhole : BodyLook.casual;
    }
    if (exchange.bodyLook !== BodyLook.none && exchange.bodyLook !== BodyLook.multipart) {
      this.#state.takeScanner(exchange, wantsPrompt, watches);
    }
  }

  /** Copies a piece into slabs and scans it. */
  #keep(exchange: GatewayExchange, bytes: Buffer, expectedBytes: number, isLast: boolean): void {
    const { slabs, leases, budget } = this.#state.parts;
    const { body } = exchange;
    let expected = Math.max(0, expectedBytes);
    let { slabCount } = body;
    for (let from = 0; from < bytes.length && exchange.phase !== Phase.answering;) {
      if (
        body.makeRoom(slabs, expected, false) === 0 &&
        !(this.#reclaim() && body.makeRoom(slabs, expected, false) > 0)
      ) {
        // These bytes are here; the next ones can wait. But a pause does not stop what the kernel has received already,
        // up to some MB a connection, so many paused clients together still need an end.
        if (budget.used() > budget.max + overdraftBytesMax(budget.max)) {
          this.#closer.fail(exchange, 'saturated', 'The gateway holds as many request bytes as it may.');
          return;
        }
        if (!isLast) this.#pause(exchange);
        body.makeRoom(slabs, expected, true);
      }
      if (body.slabCount > slabCount) {
        leases.takeMany(Lease.bodySlab, 1);
        slabCount = body.slabCount;
      }
      const index = slabCount - 1;
      const start = body.filledBytes(index, slabs);
      const count = body.append(slabs, bytes, from);
      exchange.scanner?.push(bytes, from, from + count);
      if (exchange.runtime!.chains[exchange.listenerIndex]!.watchesRequestBody) {
        const slab = slabs.bytes(body.slab(index));
        this.#closer.guardFilters(exchange, (filters) => filters.onRequestBody(exchange, slab, start, start + count));
      }
      from += count;
      expected -= count;
    }
  }

  /** Draws the consequences of what was scanned. Returns false when the exchange has failed. */
  #look(exchange: GatewayExchange, isLast: boolean): boolean {
    const { scanner, facts, bodyLook } = exchange;
    const isStrict = bodyLook === BodyLook.strict || bodyLook === BodyLook.strictWhole;
    if (scanner !== null) {
      const scan = isLast ? scanner.finish() : scanner.state;
      if (isStrict && (scan === ScanState.invalid || scan === ScanState.notObject)) {
        const problem = scan === ScanState.notObject ? 'not an object' : scanner.problem;
        this.#closer.fail(exchange, 'body_invalid', `The request body is not a valid JSON object (${problem}).`);
        return false;
      }
      if (isLast) {
        takeFacts(facts, scanner);
        if (scan === ScanState.complete) this.#state.takePrompt(exchange);
        this.#state.giveScanner(exchange);
        const { promptTokens } = exchange.runtime!.config.accounting;
        if (promptTokens === 'exact' && scan === ScanState.complete && exchange.body.isWhole)
          this.#bodyJobs.countPrompt(exchange);
      }
    }
    facts.isComplete = isLast;
    if (exchange.isRouted) return true;
    if (isLast) {
      if (bodyLook === BodyLook.multipart) readMultipart(exchange, this.#state.parts.slabs);
      if (isStrict && exchange.runtime!.config.limits.jsonCheck === 'full') return this.#checkWhole(exchange);
      return this.#route(exchange);
    }
    if (bodyLook === BodyLook.strict && scanner!.hasModel && !waitsForBytes(exchange)) {
      takeFacts(facts, scanner!);
      return this.#route(exchange);
    }
    return true;
  }

  /** limits.json_check: full. Routes when a worker has parsed the body; nothing of it has been sent before. */
  #checkWhole(exchange: GatewayExchange): false {
    this.#bodyJobs.checkJson(exchange, (check) => {
      if (exchange.phase !== Phase.receiving) return; // It has failed meanwhile, and its reply is on the way.
      if (check === null) this.#closer.fail(exchange, 'saturated', 'The gateway cannot check the request body now.');
      else if (check.ok) this.#route(exchange);
      else
        this.#closer.fail(
          exchange,
          'body_invalid',
          `The request body is not valid JSON (${check.problem}, byte ${check.position}).`,
        );
    });
    return false;
  }

  /** Routing has what it needs. Returns false when the exchange has failed or was answered. */
  #route(exchange: GatewayExchange): boolean {
    exchange.routableMs = this.#state.parts.clock.nowMs;
    exchange.isRouted = true;
    let isAnswered = false;
    const isFine = this.#closer.guardFilters(exchange, (chain) => {
      const answer = chain.onRequestFacts(exchange);
      if (answer === null) return;
      isAnswered = true;
      this.#closer.answer(exchange, answer);
    });
    if (!isFine || isAnswered) return false;
    const { routes } = exchange.runtime!;
    const isPlain = exchange.bodyLook === BodyLook.none || exchange.facts.api === Api.other;
    const route = isPlain ? routes.defaultRoute : routes.resolve(exchange.facts.model);
    if (route === null) {
      const { model, api } = exchange.facts;
      if (api === Api.other) this.#closer.fail(exchange, 'not_found', 'Nothing is served at this path.');
      else if (model === null) this.#closer.fail(exchange, 'model_not_found', 'The request names no model.');
      else this.#closer.fail(exchange, 'model_not_found', `The model ${JSON.stringify(model)} does not exist.`);
      return false;
    }
    if (!this.#gate.passRouted(exchange, route)) return false;
    const { generation } = exchange;
    this.#dispatcher.start(exchange, route);
    return exchange.generation === generation && exchange.phase !== Phase.answering;
  }

  /**
   * Body memory is short. What is only kept for another attempt is given up, by all exchanges of the shard, this one
   * included: a request that may fail later is better than one that fails now. Returns whether there is room again.
   */
  #reclaim(): boolean {
    const { clock, budget } = this.#state.parts;
    // Nothing has changed since the last walk but what the sockets took in that time.
    if (clock.nowMs - this.#reclaimedMs < reclaimPeriodMs) return false;
    this.#reclaimedMs = clock.nowMs;
    for (const exchange of this.#state.open) {
      this.#dispatcher.giveUpReplay(exchange);
      if (budget.max - budget.used() >= headroomBytes) return true;
    }
    return false;
  }

  #pause(exchange: GatewayExchange): void {
    if (exchange.isDownstreamPaused) return;
    exchange.isDownstreamPaused = true;
    exchange.pausedSinceMs = this.#state.parts.clock.nowMs;
    exchange.requestDeadlineMs = noDeadline;
    exchange.downstream!.pause();
  }

  #resume(exchange: GatewayExchange): void {
    if (!exchange.isDownstreamPaused) return;
    exchange.isDownstreamPaused = false;
    exchange.downstream!.resume();
  }
}

/** `limits.dispatch_min_bytes`: a body in drips takes no place at an endpoint. */
function waitsForBytes({ head, body, runtime }: GatewayExchange): boolean {
  return head.hasBody && !body.isComplete && body.receivedBytes < runtime!.config.limits.dispatchMinBytes;
}

/** Asked through a call, because the compiler does not know that the calls before it may have ended the exchange. */
function isIn(exchange: GatewayExchange, phase: Phase): boolean {
  return exchange.phase === phase;
}
