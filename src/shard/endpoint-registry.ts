import type { FleetTable } from '../shm/index.ts';
import {
  type EndpointAddress,
  type EndpointSettings,
  Resolver,
  TurnBatch,
  UpstreamEndpoint,
} from '../upstream/index.ts';

/** One read of any upstream connection of the shard. Also the most a slow client can leave in our hands. */
const readBufferBytes = 64 * 1024;

/**
 * The shard's endpoints across configurations: an endpoint that stays keeps its connections, one that leaves closes them
 * as they fall idle.
 */
export class EndpointRegistry {
  readonly fleet: FleetTable;
  readonly #resolver: Resolver;
  readonly #readBuffer = Buffer.allocUnsafeSlow(readBufferBytes);
  readonly #turn = new TurnBatch();
  readonly #endpoints = new Map<string, UpstreamEndpoint>();

  constructor(fleet: FleetTable, nowMs: () => number) {
    this.fleet = fleet;
    this.#resolver = new Resolver(nowMs);
  }

  obtain(slot: number, address: EndpointAddress, settings: EndpointSettings): UpstreamEndpoint {
    const key = JSON.stringify([slot, address]);
    const known = this.#endpoints.get(key);
    if (known !== undefined) {
      known.revive(settings);
      return known;
    }
    const shared = { fleet: this.fleet, resolver: this.#resolver, readBuffer: this.#readBuffer, turn: this.#turn };
    const endpoint = new UpstreamEndpoint(address, slot, settings, shared);
    this.#endpoints.set(key, endpoint);
    return endpoint;
  }

  /** Everything not in `kept` has left the configuration. */
  retireExcept(kept: ReadonlySet<UpstreamEndpoint>): void {
    for (const endpoint of this.#endpoints.values()) if (!kept.has(endpoint)) endpoint.retire();
  }

  /** Closes connections that were idle for too long, and forgets retired endpoints without any. */
  sweep(nowMs: number): void {
    for (const [key, endpoint] of this.#endpoints) {
      endpoint.closeIdle(nowMs);
      if (endpoint.isRetired && endpoint.openCount === 0) this.#endpoints.delete(key);
    }
  }

  closeAll(): void {
    for (const endpoint of this.#endpoints.values()) endpoint.retire();
  }
}
