import { type QueueFirst, type QueueTable, queueRowCount } from '../shm/index.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import { readTurn, type WaitingRoom } from './waiting-room.ts';

/**
 * How long a free place is left to another shard's first. A shard that has been woken takes 0.1 ms; one that does not take
 * the place in this time is busy, has died, or its first cannot use what is free.
 */
const patienceMs = 100;
/** Then it is passed over so long, as long as it is the same waiter. */
const ignoredMs = 1000;

/** What this shard remembers of the others in one queue. By shard. */
interface Memory {
  readonly ignoredTickets: Int32Array;
  readonly ignoredUntilMs: Float64Array;
  /** Whom a free place is being left to, and since when; -1 = to nobody. */
  leftToShard: number;
  leftToTicket: number;
  leftSinceMs: number;
}

/** Whose turn it is among the firsts of all shards. */
export class Turns {
  readonly #table: QueueTable;
  readonly #memories: (Memory | undefined)[] = Array.from({ length: queueRowCount }, () => undefined);
  readonly #seen: QueueFirst = { level: 0, flow: 0, ticket: 0 };
  readonly #best: QueueFirst = { level: 0, flow: 0, ticket: 0 };
  readonly #own: QueueFirst = { level: 0, flow: 0, ticket: 0 };

  constructor(table: QueueTable) {
    this.#table = table;
  }

  /** The shard whose first goes before all others', this shard left out; -1: nobody waits there. */
  first(room: WaitingRoom, nowMs: number): number {
    return this.#bestOf(room, null, nowMs, false);
  }

  /** The shard, this one too where `withOwn`, whose first goes before `than`, and before all others; -1: there is none. */
  before(room: WaitingRoom, than: Readonly<QueueFirst>, nowMs: number, withOwn: boolean): number {
    return this.#bestOf(room, than, nowMs, withOwn);
  }

  /**
   * As `before`, of the other shards, for the first of this one that has a free place before it. Leaves the place to them
   * for a while only.
   */
  beforeWaiting(room: WaitingRoom, exchange: GatewayExchange, nowMs: number): number {
    readTurn(exchange, this.#own);
    for (let tries = 0; tries < this.#table.shardCount; tries++) {
      const shard = this.#bestOf(room, this.#own, nowMs, false);
      if (shard < 0) break;
      const memory = this.#memoryOf(room.order.row);
      const { ticket } = this.#best;
      if (memory.leftToShard !== shard || memory.leftToTicket !== ticket) {
        memory.leftToShard = shard;
        memory.leftToTicket = ticket;
        memory.leftSinceMs = nowMs;
      }
      if (nowMs - memory.leftSinceMs < patienceMs) return shard;
      memory.ignoredTickets[shard] = ticket;
      memory.ignoredUntilMs[shard] = nowMs + ignoredMs;
    }
    this.noteFull(room);
    return -1;
  }

  /** No place is free, so none is left to anybody. */
  noteFull(room: WaitingRoom): void {
    const memory = this.#memories[room.order.row];
    if (memory !== undefined) memory.leftToShard = -1;
  }

  /** Leaves in `#best` what that shard's first is. */
  #bestOf(room: WaitingRoom, than: Readonly<QueueFirst> | null, nowMs: number, withOwn: boolean): number {
    const { order } = room;
    const memory = this.#memories[order.row];
    let best = -1;
    for (let shard = 0; shard < this.#table.shardCount; shard++) {
      if (shard === this.#table.shardIndex && !withOwn) continue;
      const seen = this.#seen;
      if (!this.#table.readFirst(order.row, shard, seen)) continue;
      if (memory !== undefined && memory.ignoredTickets[shard] === seen.ticket && nowMs < memory.ignoredUntilMs[shard]!)
        continue;
      const isBetter =
        best >= 0 ? order.isBefore(seen, this.#best, nowMs) : than === null || order.isBefore(seen, than, nowMs);
      if (!isBetter) continue;
      best = shard;
      this.#best.level = seen.level;
      this.#best.flow = seen.flow;
      this.#best.ticket = seen.ticket;
    }
    return best;
  }

  #memoryOf(row: number): Memory {
    return (this.#memories[row] ??= {
      ignoredTickets: new Int32Array(this.#table.shardCount),
      ignoredUntilMs: new Float64Array(this.#table.shardCount),
      leftToShard: -1,
      leftToTicket: 0,
      leftSinceMs: 0,
    });
  }
}
