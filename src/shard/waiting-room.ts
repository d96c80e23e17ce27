import { Priority, priorityCount } from '../exchange/index.ts';
import type { GatewayExchange } from './gateway-exchange.ts';

/**
 * Exchanges that wait for a place at an endpoint of one pool, in this shard: higher priority first, and first come first
 * served within one. How long anybody waits is bounded by the queue's own time, so nobody waits for ever. Places become
 * free in other shards too, so the shard's timer looks again while anybody waits.
 */
export class WaitingRoom {
  /** Follows the configuration. */
  countMax: number;
  /** By priority. */
  readonly #waiting: readonly GatewayExchange[][] = Array.from({ length: priorityCount }, () => []);
  #count = 0;

  constructor(countMax: number) {
    this.countMax = countMax;
  }

  get count(): number {
    return this.#count;
  }

  get hasRoom(): boolean {
    return this.#count < this.countMax;
  }

  /** Who has to go when the room is full and somebody of `priority` comes: the last of the lowest below it, or null. */
  lastBelow(priority: Priority): GatewayExchange | null {
    for (let lower = Priority.low as number; lower < priority; lower++) {
      const last = this.#waiting[lower]!.at(-1);
      if (last !== undefined) return last;
    }
    return null;
  }

  enter(exchange: GatewayExchange): void {
    this.#waiting[exchange.priority]!.push(exchange);
    this.#count++;
  }

  leave(exchange: GatewayExchange): void {
    const waiting = this.#waiting[exchange.priority]!;
    const index = waiting.indexOf(exchange);
    if (index < 0) return;
    waiting.splice(index, 1);
    this.#count--;
  }

  /** Offers places in order until `tryServe` finds none. `tryServe` makes the exchange leave when it has one. */
  offer(tryServe: (exchange: GatewayExchange) => boolean): void {
    for (let priority = priorityCount - 1; priority >= 0; priority--) {
      const waiting = this.#waiting[priority]!;
      while (waiting.length > 0) if (!tryServe(waiting[0]!)) return;
    }
  }
}

/** Rooms with somebody in them: also of pools that a reload has taken away, until the last one waiting there is served. */
export class WaitedFor {
  readonly #rooms: WaitingRoom[] = [];

  get isEmpty(): boolean {
    return this.#rooms.length === 0;
  }

  add(room: WaitingRoom): void {
    if (!this.#rooms.includes(room)) this.#rooms.push(room);
  }

  offer(tryServe: (exchange: GatewayExchange) => boolean): void {
    for (let index = this.#rooms.length - 1; index >= 0; index--) {
      const room = this.#rooms[index]!;
      room.offer(tryServe);
      if (room.count === 0) this.#rooms.splice(index, 1);
    }
  }
}
