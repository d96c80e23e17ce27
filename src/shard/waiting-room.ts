import type { GatewayExchange } from './gateway-exchange.ts';

/**
 * Exchanges that wait for a place at an endpoint of one pool, first come first served, in this shard. Places become free
 * in other shards too, so the shard's timer looks again while anybody waits.
 */
export class WaitingRoom {
  /** Follows the configuration. */
  countMax: number;
  readonly #waiting: GatewayExchange[] = [];

  constructor(countMax: number) {
    this.countMax = countMax;
  }

  get count(): number {
    return this.#waiting.length;
  }

  get hasRoom(): boolean {
    return this.#waiting.length < this.countMax;
  }

  enter(exchange: GatewayExchange): void {
    this.#waiting.push(exchange);
  }

  leave(exchange: GatewayExchange): void {
    const index = this.#waiting.indexOf(exchange);
    if (index >= 0) this.#waiting.splice(index, 1);
  }

  /** Offers places in order until `tryServe` finds none. `tryServe` makes the exchange leave when it has one. */
  offer(tryServe: (exchange: GatewayExchange) => boolean): void {
    while (this.#waiting.length > 0 && tryServe(this.#waiting[0]!));
  }
}
