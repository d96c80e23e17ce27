import { priorityCount } from '../exchange/index.ts';
import type { PoolView } from '../pick/index.ts';
import { type QueueFirst, queuedKib, queueFirsts, queueFirstsMax, type QueueTable } from '../shm/index.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import type { QueueOrder } from './queue-order.ts';

/** Those of one flow that wait, as they came. */
interface WaitingFlow {
  readonly flow: number;
  readonly waiting: GatewayExchange[];
}

/**
 * Exchanges of this shard that wait for a place at an endpoint of one pool. What they are together, and who of them is
 * first, stands in the queue table for all shards to see. How long anybody waits is bounded by the queue's own time, so
 * nobody waits for ever.
 */
export class WaitingRoom {
  readonly order: QueueOrder;
  /** Of all shards; these follow the configuration. */
  countMax = 0;
  bytesMax = 0;
  /** What targets ask for of the pool, if not all of it: a waiter's part is its place here and 1, 0 where it has use for all. */
  #parts: readonly Uint8Array[] = [];
  #view: PoolView | null = null;
  readonly #table: QueueTable;
  /** By priority, then by flow. A flow is here as long as somebody of it waits. */
  readonly #flows: readonly Map<number, WaitingFlow>[] = Array.from({ length: priorityCount }, () => new Map());
  /** Scratch of `publish`. */
  readonly #firsts = queueFirsts();
  readonly #ranks = new Float64Array(queueFirstsMax);
  #count = 0;

  constructor(order: QueueOrder, table: QueueTable) {
    this.order = order;
    this.#table = table;
  }

  /** In this shard. */
  get count(): number {
    return this.#count;
  }

  /** The pool as it is configured from now on. Who waits already waits for a part of what it was: to others, for any. */
  follow(parts: readonly Uint8Array[], view: PoolView): void {
    this.#parts = parts;
    this.#view = view;
    for (const flows of this.#flows) {
      for (const { waiting } of flows.values())
        for (const exchange of waiting) exchange.queuePart = exchange.missingPart = 0;
    }
  }

  /** No endpoint could take anything. */
  isFull(nowMs: number): boolean {
    return this.#view?.hasRoom(nowMs, null) !== true;
  }

  /** No endpoint could take anything that one has use for who waits, in whatever shard, for a part of the pool or for a model. */
  isFullFor({ part, model }: Readonly<QueueFirst>, nowMs: number): boolean {
    const view = this.#view;
    const fits = part === 0 ? null : this.#parts[part - 1];
    if (fits === undefined || view === null) return false;
    const modelKey = view.fit?.isMixed === true ? model : 0;
    return (fits !== null || modelKey !== 0) && !view.hasRoom(nowMs, fits, modelKey);
  }

  enter(exchange: GatewayExchange, nowMs: number): void {
    const flows = this.#flows[exchange.priority]!;
    exchange.queueTicket = this.#table.drawTicket(this.order.row);
    const { flow } = exchange;
    exchange.queueFlow = flow;
    exchange.queuePart = exchange.fits === null ? 0 : this.#parts.indexOf(exchange.fits) + 1;
    exchange.queueModel = exchange.modelKey;
    const known = flows.get(flow);
    if (known !== undefined) known.waiting.push(exchange);
    else flows.set(flow, { flow, waiting: [exchange] });
    this.#count++;
    exchange.queuedKib = this.#table.note(this.order.row, exchange.priority, 1, queuedKib(bodyBytes(exchange)));
    this.publish(nowMs);
  }

  leave(exchange: GatewayExchange, nowMs: number): void {
    const flows = this.#flows[exchange.priority]!;
    const flow = flows.get(exchange.queueFlow);
    const index = flow?.waiting.indexOf(exchange) ?? -1;
    if (index < 0) return;
    flow!.waiting.splice(index, 1);
    if (flow!.waiting.length === 0) flows.delete(exchange.queueFlow);
    this.#count--;
    this.#table.note(this.order.row, exchange.priority, -1, -exchange.queuedKib);
    exchange.queuedKib = 0;
    this.publish(nowMs);
  }

  /** A body without a length has grown while its exchange waits. */
  weigh(exchange: GatewayExchange): void {
    const kib = queuedKib(bodyBytes(exchange));
    if (kib === exchange.queuedKib) return;
    exchange.queuedKib += this.#table.note(this.order.row, exchange.priority, 0, kib - exchange.queuedKib);
  }

  /**
   * Whose turn it is in this shard, but for those passed over in this `round`, and those who have use for nothing else than
   * one of `full`, for whom nothing is free; null: nobody's.
   */
  first(nowMs: number, round: number, full: readonly GatewayExchange[]): GatewayExchange | null {
    for (let priority = priorityCount - 1; priority >= 0; priority--) {
      let best: GatewayExchange | null = null;
      let bestRank = 0;
      for (const { flow, waiting } of this.#flows[priority]!.values()) {
        const exchange = waiting.find(
          (each) => each.passedRound !== round && !full.some((other) => wantsNoMore(each, other)),
        );
        if (exchange === undefined) continue;
        const rank = this.order.rank(flow, nowMs);
        if (best === null || rank < bestRank || (rank === bestRank && isOlder(exchange, best))) {
          best = exchange;
          bestRank = rank;
        }
      }
      if (best !== null) return best;
    }
    return null;
  }

  /** Who of that priority would be served last: the last of the flow that has had most. Null: nobody of it waits here. */
  lastOf(priority: number, nowMs: number): GatewayExchange | null {
    let worst: GatewayExchange | null = null;
    let worstRank = 0;
    for (const { flow, waiting } of this.#flows[priority]!.values()) {
      const exchange = waiting.at(-1)!;
      const rank = this.order.rank(flow, nowMs);
      if (worst === null || rank > worstRank || (rank === worstRank && isOlder(worst, exchange))) {
        worst = exchange;
        worstRank = rank;
      }
    }
    return worst;
  }

  /**
   * Says again who is first, of the flows of the highest priority that waits: those whose turns come next, in any order. What
   * flows have had changes in other shards too, so this is said again and again.
   */
  publish(nowMs: number): void {
    let count = 0;
    for (let priority = priorityCount - 1; priority >= 0 && count === 0; priority--) {
      for (const { flow, waiting } of this.#flows[priority]!.values()) {
        const rank = this.order.rank(flow, nowMs);
        const place = count < queueFirstsMax ? count++ : this.#placeAbove(rank);
        if (place < 0) continue;
        readTurn(waiting[0]!, this.#firsts[place]!);
        this.#ranks[place] = rank;
      }
    }
    this.#table.publish(this.order.row, this.#firsts, count);
  }

  /** Of the places of `publish`, all taken, that of the flow whose turn comes last, if it comes after `rank`; else -1. */
  #placeAbove(rank: number): number {
    let last = 0;
    for (let place = 1; place < queueFirstsMax; place++) if (this.#ranks[place]! > this.#ranks[last]!) last = place;
    return this.#ranks[last]! > rank ? last : -1;
  }
}

/** What the exchange's turn depends on. */
export function readTurn(exchange: GatewayExchange, out: QueueFirst): void {
  out.level = exchange.priority;
  out.flow = exchange.queueFlow;
  out.ticket = exchange.queueTicket;
  out.part = exchange.missingPart === 0 ? exchange.queuePart : exchange.missingPart;
  out.model = exchange.queueModel;
}

/** Of the body, as far as it is known: what was announced, or what has come. */
export function bodyBytes({ head, body }: GatewayExchange): number {
  return Math.max(0, head.contentLength, body.receivedBytes);
}

/** Every endpoint that would do for `exchange` would have done for `other`. */
function wantsNoMore(exchange: GatewayExchange, other: GatewayExchange): boolean {
  return (
    exchange.pool === other.pool &&
    other.tried.isEmpty &&
    exchange.fits === other.fits &&
    exchange.modelKey === other.modelKey &&
    exchange.modelRow === other.modelRow &&
    exchange.contextTokens >= other.contextTokens
  );
}

function isOlder(one: GatewayExchange, other: GatewayExchange): boolean {
  return ((one.queueTicket - other.queueTicket) | 0) < 0;
}
