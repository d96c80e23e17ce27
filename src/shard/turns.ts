import {
  type Heartbeats,
  isTicketBefore,
  type QueueFirst,
  queueFirst,
  queueFirsts,
  queueRowCount,
  type QueueTable,
} from '../shm/index.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import { readTurn, type WaitingRoom } from './waiting-room.ts';

/**
 * How long a free place is left to another shard's first. A shard that has been woken takes 0.1 ms. One whose timer has run
 * twice since has looked, and its first cannot use what is free; one whose timer does not run is blocked, or waits for a
 * processor.
 */
const looksMax = 2;
const patienceMs = 500;
/** Then those it had to look at are passed over for so long; and a shard that is blocked, until its timer runs again. */
const ignoredMs = 1000;

/** What this shard remembers of the others in one queue. By shard. */
interface Memory {
  /** The newest of the firsts that it looked at for nothing. */
  readonly ignoredTickets: Int32Array;
  readonly ignoredUntilMs: Float64Array;
  /** The beat at which it was seen to be blocked; -1 = it was not. */
  readonly blockedAtBeats: Int32Array;
  /** Whom a free place is being left to, and since when; -1 = to nobody. */
  leftToShard: number;
  leftToTicket: number;
  leftSinceMs: number;
  leftAtBeat: number;
}

/** Whose turn it is among the firsts of all shards, those left out that have no use for what may be free. */
export class Turns {
  readonly #table: QueueTable;
  readonly #heartbeats: Heartbeats;
  readonly #memories: (Memory | undefined)[] = Array.from({ length: queueRowCount }, () => undefined);
  readonly #seen = queueFirsts();
  readonly #best = queueFirst();
  readonly #own = queueFirst();

  constructor(table: QueueTable, heartbeats: Heartbeats) {
    this.#table = table;
    this.#heartbeats = heartbeats;
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
        memory.leftAtBeat = this.#heartbeats.read(shard);
      }
      const hasLooked = ((this.#heartbeats.read(shard) - memory.leftAtBeat) | 0) >= looksMax;
      if (!hasLooked && nowMs - memory.leftSinceMs < patienceMs) return shard;
      if (hasLooked) {
        memory.ignoredTickets[shard] = this.#newestOf(room.order.row, shard, ticket);
        memory.ignoredUntilMs[shard] = nowMs + ignoredMs;
      } else memory.blockedAtBeats[shard] = this.#heartbeats.read(shard);
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
      const count = this.#table.readFirsts(order.row, shard, this.#seen);
      if (count === 0 || memory?.blockedAtBeats[shard] === this.#heartbeats.read(shard)) continue;
      const ignored = memory !== undefined && nowMs < memory.ignoredUntilMs[shard]!;
      for (let index = 0; index < count; index++) {
        const seen = this.#seen[index]!;
        if (ignored && !isTicketBefore(memory.ignoredTickets[shard]!, seen.ticket)) continue;
        const rival = best >= 0 ? this.#best : than;
        if (rival !== null && !order.isBefore(seen, rival, nowMs)) continue;
        if (room.isFullFor(seen, nowMs)) continue;
        best = shard;
        this.#best.level = seen.level;
        this.#best.flow = seen.flow;
        this.#best.ticket = seen.ticket;
      }
    }
    return best;
  }

  /** Ticket of the one of that shard's firsts that came last. A shard that has looked has looked at all of them. */
  #newestOf(row: number, shard: number, ticket: number): number {
    let newest = ticket;
    for (let left = this.#table.readFirsts(row, shard, this.#seen); left > 0; left--) {
      const seen = this.#seen[left - 1]!.ticket;
      if (isTicketBefore(newest, seen)) newest = seen;
    }
    return newest;
  }

  #memoryOf(row: number): Memory {
    return (this.#memories[row] ??= {
      ignoredTickets: new Int32Array(this.#table.shardCount),
      ignoredUntilMs: new Float64Array(this.#table.shardCount),
      blockedAtBeats: new Int32Array(this.#table.shardCount).fill(-1),
      leftToShard: -1,
      leftToTicket: 0,
      leftSinceMs: 0,
      leftAtBeat: 0,
    });
  }
}
