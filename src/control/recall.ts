import { connect } from 'node:net';
import type { Clock } from '../core/index.ts';
import type { Snapshot } from '../shard/protocol.ts';
import { EndpointState, Fault, wholeRow } from '../shm/index.ts';
import type { FleetTable } from '../shm/index.ts';

/**
 * Calls back endpoints that were ejected because nobody listened, as soon as somebody does. Only a listening socket can say
 * that, so it is asked: a connect every half second, closed at once. When everything was down and comes back, full service
 * is a matter of a second and not of what is left of a period that grew while it was down.
 *
 * One that goes up and down is left to its periods: where the pool has others, only the first ejection is cut short.
 */
export interface RecallOptions {
  readonly fleet: FleetTable;
  readonly clock: Clock;
  readonly snapshot: () => Snapshot;
  readonly onRecall: (pool: string, url: string) => void;
}

const periodMs = 500;
const connectTimeoutMs = 1000;
/** Of a pool with a thousand dead endpoints, so many are asked at once. */
const askedAtOnceMax = 64;

export class Recall {
  readonly #options: RecallOptions;
  readonly #asked = new Set<number>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: RecallOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#look(), periodMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { fleet, clock, snapshot } = this.#options;
    const nowMs = clock.refresh();
    const { config, endpointSlots } = snapshot();
    for (const [poolIndex, pool] of config.pools.entries()) {
      const slots = endpointSlots[poolIndex]!;
      const isOut = (slot: number): boolean =>
        fleet.state(slot) !== EndpointState.healthy || fleet.health.isOut(slot, wholeRow, nowMs);
      const isAllOut = slots.every(isOut);
      for (const [index, slot] of slots.entries()) {
        if (fleet.health.reason(slot) !== Fault.connect || !fleet.health.isOut(slot, wholeRow, nowMs)) continue;
        if (!isAllOut && fleet.health.ejections(slot) > 1) continue;
        const { host, port, url } = pool.endpoints[index]!;
        if (this.#asked.has(slot) || this.#asked.size >= askedAtOnceMax) continue;
        this.#ask(slot, host, port, () => this.#options.onRecall(pool.name, url));
      }
    }
  }

  #ask(slot: number, host: string, port: number, onRecall: () => void): void {
    const { fleet, clock } = this.#options;
    this.#asked.add(slot);
    const socket = connect({ host, port });
    socket.setTimeout(connectTimeoutMs, () => socket.destroy());
    socket.on('connect', () => {
      if (fleet.health.recall(slot, clock.refresh())) onRecall();
      socket.destroy();
    });
    socket.on('error', () => socket.destroy()); // Still down.
    socket.on('close', () => this.#asked.delete(slot));
    socket.unref();
  }
}
