import type { FleetTable } from '../shm/index.ts';
import { UpstreamConnection, type UpstreamUser } from './connection.ts';
import type { UpstreamHeadOptions } from './request-head-writer.ts';
import type { Resolver } from './resolver.ts';
import type { TurnBatch } from './turn-batch.ts';

/** Where an endpoint is, resolved from the configuration once per load. */
export interface EndpointAddress {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly tls: { readonly serverName: string; readonly verifies: boolean; readonly ca: string | null } | null;
}

/** What of an endpoint may change with a reload while its connections stay. */
export interface EndpointSettings {
  /** Over all shards; 0 = unlimited. */
  readonly connectionsMax: number;
  readonly keepaliveIdleMs: number;
  readonly head: UpstreamHeadOptions;
  /** Called once for a connection that carried bytes behind a response, or while it was idle; it is closed. */
  readonly onStrayBytes: () => void;
}

/**
 * One endpoint as one shard uses it: its kept-alive connections, most recently used first, so that the surplus grows old
 * and is closed. The number of connections is shared with the other shards through the fleet table.
 */
export class UpstreamEndpoint {
  readonly address: EndpointAddress;
  /** The endpoint's record in the fleet table. */
  readonly slot: number;
  readonly resolver: Resolver;
  settings: EndpointSettings;
  readonly #fleet: FleetTable;
  readonly #readBuffer: Buffer;
  readonly #turn: TurnBatch;
  readonly #idle: UpstreamConnection[] = [];
  #openCount = 0;
  #isRetired = false;

  constructor(
    address: EndpointAddress,
    slot: number,
    settings: EndpointSettings,
    shared: {
      readonly fleet: FleetTable;
      readonly resolver: Resolver;
      readonly readBuffer: Buffer;
      readonly turn: TurnBatch;
    },
  ) {
    this.address = address;
    this.slot = slot;
    this.settings = settings;
    this.resolver = shared.resolver;
    this.#fleet = shared.fleet;
    this.#readBuffer = shared.readBuffer;
    this.#turn = shared.turn;
  }

  /** Connections of this shard, idle ones included. */
  get openCount(): number {
    return this.#openCount;
  }

  get idleCount(): number {
    return this.#idle.length;
  }

  /** False after `retire`: connections close when their exchange ends. */
  get keepsConnections(): boolean {
    return !this.#isRetired && this.settings.keepaliveIdleMs > 0;
  }

  /** Whether `acquire` would have one just now. */
  get hasConnection(): boolean {
    const { connectionsMax } = this.settings;
    return connectionsMax === 0 || this.#idle.length > 0 || this.#fleet.connections(this.slot) < connectionsMax;
  }

  /** Returns a connection for `user`, kept alive or new, which will be ready later; null when the endpoint is at `connectionsMax`. */
  acquire(user: UpstreamUser): UpstreamConnection | null {
    const idle = this.#idle.pop();
    if (idle !== undefined) {
      idle.reuse(user);
      return idle;
    }
    if (!this.#fleet.tryTakeConnection(this.slot, this.settings.connectionsMax)) return null;
    this.#openCount++;
    return new UpstreamConnection(this, this.#readBuffer, this.#turn, user);
  }

  /** Closes connections that were idle for longer than allowed: before the endpoint does it under a request. */
  closeIdle(nowMs: number): void {
    const oldestMs = nowMs - this.settings.keepaliveIdleMs;
    // The oldest are at the front. `destroy` takes the connection out of the list.
    while (this.#idle.length > 0 && this.#idle[0]!.idleSinceMs <= oldestMs) this.#idle[0]!.destroy();
  }

  /** Another shard is to have the next place: an idle connection of this one must not be what it lacks. */
  yieldIdle(): void {
    const { connectionsMax } = this.settings;
    if (connectionsMax === 0 || this.#fleet.connections(this.slot) < connectionsMax) return;
    this.#idle[0]?.destroy();
  }

  /** The endpoint left the configuration: idle connections close now, busy ones when their exchange ends. */
  retire(): void {
    this.#isRetired = true;
    while (this.#idle.length > 0) this.#idle[0]!.destroy();
  }

  get isRetired(): boolean {
    return this.#isRetired;
  }

  /** Back in the configuration before its last connection had closed. */
  revive(settings: EndpointSettings): void {
    this.#isRetired = false;
    this.settings = settings;
  }

  // Called by the endpoint's connections only.

  onConnectionIdle(connection: UpstreamConnection): void {
    this.#idle.push(connection);
  }

  onConnectionClosed(connection: UpstreamConnection, wasIdle: boolean): void {
    if (wasIdle) this.#idle.splice(this.#idle.indexOf(connection), 1);
    this.#openCount--;
    this.#fleet.giveConnection(this.slot);
  }
}
