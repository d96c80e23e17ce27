import type { Accountant } from '../account/index.ts';
import { Lease, noDeadline, Phase, Priority } from '../exchange/index.ts';
import { type Bells, queueFirst, type QueueTable } from '../shm/index.ts';
import type { Closer } from './closer.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import { enterPool, PoolStay } from './pool-entry.ts';
import type { PoolRuntime } from './runtime.ts';
import type { ShardState } from './shard-state.ts';
import { Turns } from './turns.ts';
import { bodyBytes, type WaitingRoom } from './waiting-room.ts';

/** One that cannot use what is free, whatever that is, does not hold up more than so many looks at the others behind it. */
const passesMax = 8;
/** So many of those who wait are looked at for places in other pools, each time. */
const elsewhereMax = 32;
/** Requests given up at once for one of higher priority with a large body. */
const evictionsMax = 32;

/** Why a request leaves a queue, or does not get into it: label values of `penstock_shed_total`. */
type QueueLoss = 'queue_full' | 'queue_evicted' | 'queue_time';

/** What flow control asks of the dispatcher. */
export interface Attempts {
  /** Settles which endpoints of its pool the exchange has use for now. */
  prepare(exchange: GatewayExchange): void;
  /** 1: an attempt runs. 0: the pool is full. -1: it has no endpoint for this exchange. */
  tryServe(exchange: GatewayExchange): 1 | 0 | -1;
}

/**
 * Who may have a place at an endpoint, and who waits for one, over all shards. A place that is free goes to the first of all
 * that wait, wherever: a shard that has a free place before it and whose own first is not the first of all rings the bell
 * of the shard whose is. A newcomer takes no place that somebody waits for who goes before it.
 *
 *   newcomer ──▶ isSomebodyBefore ──no──▶ tried ──full──▶ enter ──▶ ... offer ... ──▶ tried ──▶ noteAttempt
 *                       └──────yes──────────────────────────▲
 */
export class FlowControl {
  readonly #state: ShardState;
  readonly #closer: Closer;
  readonly #attempts: Attempts;
  readonly #table: QueueTable;
  readonly #bells: Bells;
  readonly #turns: Turns;
  /** With somebody in them: also of pools that a reload has taken away, until the last one waiting there is served. */
  readonly #rooms: WaitingRoom[] = [];
  /** Places of these have come free since the last look. */
  readonly #freed: PoolRuntime[] = [];
  readonly #newcomer = queueFirst();
  /** Scratch of `#tryTarget`. */
  readonly #stayOfQueue = new PoolStay();
  #isOfferScheduled = false;
  #round = 0;

  constructor(state: ShardState, closer: Closer, attempts: Attempts) {
    this.#state = state;
    this.#closer = closer;
    this.#attempts = attempts;
    this.#table = state.parts.queues;
    this.#bells = state.parts.bells;
    this.#turns = new Turns(this.#table, state.parts.heartbeats);
    closer.onPlaceFree = (pool) => this.#onPlaceFree(pool);
    this.#bells.listen(this.#table.shardIndex, () => {
      state.parts.clock.refresh();
      this.offerAll();
    });
  }

  stop(): void {
    this.#bells.stop();
  }

  /** Whether a request that comes now has to wait though there may be a place: somebody waits whose turn is before its own. */
  isSomebodyBefore(exchange: GatewayExchange): boolean {
    const room = exchange.pool!.waitingRoom;
    const { row } = room.order;
    if (exchange.hasTurn || this.#table.requests(row) === 0) return false;
    const newcomer = this.#newcomer;
    newcomer.level = exchange.priority;
    newcomer.flow = exchange.flow;
    newcomer.ticket = this.#table.drawTicket(row);
    const { nowMs } = this.#state.parts.clock;
    return this.#turns.before(room, newcomer, nowMs, true) >= 0;
  }

  /** Whether there is any endpoint for it, if only one that is full. */
  hasEndpoint(exchange: GatewayExchange): boolean {
    const { view } = exchange.pool!;
    view.screen(exchange, this.#state.parts.clock.nowMs);
    return view.count + view.probationCount + view.fullCount > 0;
  }

  /** The exchange has a place: it was a turn of its flow. Another attempt for it in the same pool is not another turn. */
  noteAttempt(exchange: GatewayExchange): void {
    if (exchange.hasTurn) return;
    exchange.hasTurn = true;
    const { order } = exchange.pool!.waitingRoom;
    exchange.chargedTokens = order.charge(exchange.flow, exchange.reservedTokens, this.#state.parts.clock.nowMs);
  }

  /** Waits for a place in its pool, or fails. */
  enter(exchange: GatewayExchange): void {
    const { leases, clock, accountant } = this.#state.parts;
    const pool = exchange.pool!;
    const room = pool.waitingRoom;
    const { nowMs } = clock;
    const deadlineMs = Math.min(nowMs + pool.config.queue.waitMs, ownDeadlineMs(exchange, pool));
    if (deadlineMs <= nowMs || !this.#makeRoom(room, exchange)) {
      this.#noteLoss(
        exchange,
        accountant,
        pool.config.queue.waitMs > 0 && deadlineMs <= nowMs ? 'queue_time' : 'queue_full',
      );
      this.#closer.fail(exchange, 'saturated', 'Every upstream endpoint is at its limit.');
      return;
    }
    exchange.phase = Phase.queued;
    exchange.queuedSinceMs = nowMs;
    exchange.queueDeadlineMs = deadlineMs;
    exchange.responseDeadlineMs = noDeadline; // Of an earlier attempt.
    room.enter(exchange, nowMs);
    if (!this.#rooms.includes(room)) this.#rooms.push(room);
    exchange.queuePool = pool;
    leases.take(exchange, Lease.queuePlace);
    accountant.noteQueue(exchange, pool.config.name, 1, 0);
    this.#onPlaceFree(pool); // What it had to leave to somebody, that one may have no use for.
  }

  /** Its time in the queue is over. */
  onLate(exchange: GatewayExchange): void {
    this.#noteLoss(exchange, this.#state.parts.accountant, 'queue_time');
    this.#closer.fail(exchange, 'saturated', 'No upstream endpoint had room in time.');
  }

  /** Looks again for all that wait here. The shard's timer and bell: places come free in other shards too. */
  offerAll(): void {
    const { nowMs } = this.#state.parts.clock;
    for (let index = this.#rooms.length - 1; index >= 0; index--) {
      const room = this.#rooms[index]!;
      this.#giveUpAsked(room);
      room.publish(nowMs);
      this.#offer(room);
      this.#offerElsewhere(room);
      if (room.count === 0) this.#rooms.splice(index, 1);
    }
  }

  #onPlaceFree(pool: PoolRuntime): void {
    if (this.#freed.includes(pool) || this.#table.requests(pool.waitingRoom.order.row) === 0) return;
    this.#freed.push(pool);
    if (this.#isOfferScheduled) return;
    this.#isOfferScheduled = true;
    setImmediate(() => {
      this.#isOfferScheduled = false;
      this.#state.parts.clock.refresh();
      for (const freed of this.#freed.splice(0)) {
        const { waitingRoom } = freed;
        if (this.#offer(waitingRoom)) this.#yield(freed, this.#turns.first(waitingRoom, this.#state.parts.clock.nowMs));
      }
    });
  }

  /** Gives places to those whose turn it is, as long as there are any. True: nobody here has use for what is left. */
  #offer(room: WaitingRoom): boolean {
    const { nowMs } = this.#state.parts.clock;
    const round = ++this.#round;
    const full: GatewayExchange[] = []; // Who found all that they have use for full.
    for (let passes = 0; passes < passesMax;) {
      const exchange = room.first(nowMs, round, full);
      if (exchange === null) return true;
      const { view, split } = exchange.pool!;
      // Those behind it may be allowed elsewhere, or need no place of the kind that is missing.
      const isFullForAll = exchange.fits === null && split === null;
      this.#attempts.prepare(exchange);
      view.screen(exchange, nowMs);
      const hasEndpoint = view.count + view.probationCount > 0;
      const isFree = hasEndpoint && hasConnection(exchange.pool!);
      let isFull = !isFree && (hasEndpoint || view.fullCount > 0);
      if (isFull && (hasEndpoint ? isFullForAll : room.isFull(nowMs))) {
        this.#turns.noteFull(room);
        return false;
      }
      if (isFree) {
        const shard = this.#turns.beforeWaiting(room, exchange, nowMs);
        if (shard >= 0) {
          this.#yield(exchange.pool!, shard);
          return false;
        }
        const found = this.#attempts.tryServe(exchange);
        if (found > 0) continue;
        isFull = found === 0;
        if (isFull && isFullForAll) return false;
      }
      if (isFull && split === null) full.push(exchange);
      exchange.passedRound = round; // There is nothing for it; there may be for those behind it.
      passes++;
    }
    return false;
  }

  /**
   * Those that wait here would also take a place in the pool of another target that was full when they came. There they are
   * newcomers: who waits in that pool's own queue goes before them. They keep their place in this one until they have another.
   */
  #offerElsewhere(room: WaitingRoom): void {
    const { nowMs } = this.#state.parts.clock;
    const round = ++this.#round;
    for (let looks = 0; looks < elsewhereMax; looks++) {
      const exchange = room.first(nowMs, round, []);
      if (exchange === null) return;
      exchange.passedRound = round;
      const { targets } = exchange.route!;
      const own = exchange.targetIndex;
      for (let index = 0; index < targets.length; index++) {
        if (index === own || (exchange.fullTargets & (1 << index)) === 0) continue;
        const { poolIndex, fits } = targets[index]!;
        if (!exchange.runtime!.pools[poolIndex]!.view.hasRoom(nowMs, fits)) continue;
        if (this.#tryTarget(exchange, index)) break;
      }
    }
  }

  /** Whether the exchange, which waits for another target, has a place at this one. */
  #tryTarget(exchange: GatewayExchange, targetIndex: number): boolean {
    const { parts } = this.#state;
    const own = exchange.targetIndex;
    this.#stayOfQueue.keep(exchange);
    enterPool(exchange, targetIndex, parts);
    if (!this.isSomebodyBefore(exchange) && this.#attempts.tryServe(exchange) > 0) return true;
    enterPool(exchange, own, parts);
    this.#stayOfQueue.restore(exchange);
    return false;
  }

  /** The next place of the pool is another shard's, if anybody waits there. */
  #yield(pool: PoolRuntime, shard: number): void {
    if (shard < 0) return;
    if (pool.config.connectionsMax > 0) for (const endpoint of pool.endpoints) endpoint.yieldIdle();
    this.#bells.ring(shard);
  }

  /** Whether one more may wait, which may cost one of lower priority its place. */
  #makeRoom(room: WaitingRoom, exchange: GatewayExchange): boolean {
    const { row } = room.order;
    const table = this.#table;
    const waiting = table.requests(row);
    if (room.countMax === 0) return false;
    if (room.bytesMax > 0 && waiting > 0) {
      const overKib = table.kib(row) + Math.ceil((bodyBytes(exchange) - room.bytesMax) / 1024);
      if (overKib > 0 && !this.#makeBytes(room, exchange, overKib)) return false;
    }
    return table.requests(row) < room.countMax || this.#evictBelow(room, exchange.priority) >= 0;
  }

  #makeBytes(room: WaitingRoom, exchange: GatewayExchange, neededKib: number): boolean {
    if (this.#table.kibBelow(room.order.row, exchange.priority) < neededKib) return false;
    let leftKib = neededKib;
    for (let count = 0; leftKib > 0; count++) {
      const kib = count < evictionsMax ? this.#evictBelow(room, exchange.priority) : -1;
      if (kib < 0) return false;
      leftKib -= kib;
    }
    return true;
  }

  /**
   * Gives up one of the lowest priority below `priority`, here or, where none of it waits here, in another shard, which does
   * so in its next turn. Returns what its body is, in KiB, or -1: there is none.
   */
  #evictBelow(room: WaitingRoom, priority: number): number {
    const { row } = room.order;
    for (let level = 0; level < priority; level++) {
      const own = room.lastOf(level, this.#state.parts.clock.nowMs);
      if (own !== null) {
        const kib = own.queuedKib;
        this.#evict(own);
        return kib;
      }
      const shard = this.#table.askEviction(row, level);
      if (shard < 0) continue;
      this.#bells.ring(shard);
      return this.#table.kibEach(row, shard, level);
    }
    return -1;
  }

  /** What others asked for, as far as the queue is too full still: who was meant may have been served meanwhile. */
  #giveUpAsked(room: WaitingRoom): void {
    const { row } = room.order;
    for (let level = 0; level < Priority.high; level++) {
      for (let left = this.#table.takeEvictions(row, level); left > 0; left--) {
        const isOver =
          this.#table.requests(row) > room.countMax ||
          (room.bytesMax > 0 && this.#table.kib(row) * 1024 > room.bytesMax);
        const last = isOver ? room.lastOf(level, this.#state.parts.clock.nowMs) : null;
        if (last === null) break;
        this.#evict(last);
      }
    }
  }

  #evict(exchange: GatewayExchange): void {
    const { accountant, random } = this.#state.parts;
    this.#noteLoss(exchange, accountant, 'queue_evicted');
    // Spread out, so that those given up together do not come back together.
    exchange.retryAfterSeconds = 1 + Math.floor(random() * 3);
    this.#closer.fail(exchange, 'shed', 'The queue is needed for requests of higher priority.', 'queue_evicted');
  }

  #noteLoss(exchange: GatewayExchange, accountant: Accountant, reason: QueueLoss): void {
    accountant.noteShed(exchange, reason);
  }
}

/** Whether an endpoint that the screens left over has a connection to spare: one that this shard keeps, or one more. */
function hasConnection({ config, view, endpoints }: PoolRuntime): boolean {
  if (config.connectionsMax === 0) return true;
  for (let turn = 0; turn < view.count; turn++) if (endpoints[view.candidates[turn]!]!.hasConnection) return true;
  for (let turn = 0; turn < view.probationCount; turn++)
    if (endpoints[view.probations[turn]!]!.hasConnection) return true;
  return false;
}

/** Until when the client has use for an answer, by its own word. */
function ownDeadlineMs(exchange: GatewayExchange, pool: PoolRuntime): number {
  const written = exchange.head.get(pool.config.queue.waitHeader);
  return written !== null && /^\d{1,9}$/.test(written) ? exchange.startedMs + Number(written) : noDeadline;
}
