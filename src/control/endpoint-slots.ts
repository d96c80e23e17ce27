import type { Config } from '../config/index.ts';
import type { Snapshot } from '../shard/protocol.ts';
import { EndpointState } from '../shm/index.ts';
import type { FleetTable } from '../shm/index.ts';
import type { ProbeTarget } from './probe-client.ts';

/**
 * Which slot of the fleet table is which endpoint. An endpoint is the pair of pool name and URL: while a reload keeps
 * both, it keeps its slot, and with it its load, its health and its ejection.
 *
 *   plan ──▶ commit    endpoints no longer named drain; their slots are freed when nothing is in flight there
 *        └─▶ rollback  endpoints named for the first time are given back
 */
export interface SlotPlan {
  /** [poolIndex][endpointIndex], as in `Snapshot`. */
  readonly endpointSlots: readonly (readonly number[])[];
  /** Keys claimed by this plan, in no use before. */
  readonly added: readonly string[];
  /** Slots of these and of `revived`: endpoints that did not serve until now. */
  readonly addedSlots: readonly number[];
  /** Keys that were draining and are named again. */
  readonly revived: readonly string[];
}

/** One that left the configuration and is not done yet. */
export interface DrainingEndpoint {
  readonly slot: number;
  readonly pool: string;
  readonly url: string;
}

interface Entry {
  readonly slot: number;
  readonly pool: string;
  readonly url: string;
  isDraining: boolean;
}

export class EndpointSlots {
  readonly #fleet: FleetTable;
  readonly #entries = new Map<string, Entry>();

  constructor(fleet: FleetTable) {
    this.#fleet = fleet;
  }

  /** Slots still held by endpoints that left the configuration. */
  get drainingCount(): number {
    let count = 0;
    for (const entry of this.#entries.values()) if (entry.isDraining) count++;
    return count;
  }

  get draining(): DrainingEndpoint[] {
    return [...this.#entries.values()].filter(({ isDraining }) => isDraining);
  }

  /** Null when the fleet table has no room: too many endpoints, with those that still drain. */
  plan(config: Config): SlotPlan | null {
    this.releaseDrained();
    const added: string[] = [];
    const revived: string[] = [];
    const addedSlots: number[] = [];
    const endpointSlots: number[][] = [];
    for (const pool of config.pools) {
      const slots: number[] = [];
      for (const endpoint of pool.endpoints) {
        const key = keyOf(pool.name, endpoint.url);
        let entry = this.#entries.get(key);
        if (entry === undefined) {
          const slot = this.#fleet.claim();
          if (slot === -1) {
            this.rollback({ endpointSlots, added, addedSlots, revived });
            return null;
          }
          entry = { slot, pool: pool.name, url: endpoint.url, isDraining: false };
          this.#entries.set(key, entry);
          added.push(key);
          addedSlots.push(slot);
        } else if (entry.isDraining) {
          entry.isDraining = false;
          revived.push(key);
          addedSlots.push(entry.slot);
        }
        this.#fleet.setWeight(entry.slot, endpoint.weight);
        slots.push(entry.slot);
      }
      endpointSlots.push(slots);
    }
    return { endpointSlots, added, addedSlots, revived };
  }

  /** The plan's configuration is in force: every endpoint it does not name drains. */
  commit(plan: SlotPlan): void {
    const named = new Set(plan.endpointSlots.flat());
    for (const entry of this.#entries.values()) {
      if (named.has(entry.slot) || entry.isDraining) continue;
      this.#drain(entry);
    }
    this.releaseDrained();
  }

  /** The plan's configuration was refused. Weights it changed are set again by the plan of the one that stays. */
  rollback(plan: SlotPlan): void {
    for (const key of [...plan.added, ...plan.revived]) {
      const entry = this.#entries.get(key);
      if (entry !== undefined) this.#drain(entry);
    }
    this.releaseDrained();
  }

  /** Frees the slots of drained endpoints that nothing holds any more; call it now and then while `drainingCount` > 0. */
  releaseDrained(): void {
    for (const [key, entry] of this.#entries) {
      if (entry.isDraining && this.#fleet.release(entry.slot)) this.#entries.delete(key);
    }
  }

  #drain(entry: Entry): void {
    entry.isDraining = true;
    this.#fleet.setState(entry.slot, EndpointState.draining);
  }
}

function keyOf(poolName: string, url: string): string {
  return `${poolName}\n${url}`;
}

/** Every endpoint of a snapshot with its slot. */
export function probeTargetsOf({ config, endpointSlots }: Snapshot): ProbeTarget[] {
  return config.pools.flatMap((pool, poolIndex) =>
    pool.endpoints.map((endpoint, index) => ({ slot: endpointSlots[poolIndex]![index]!, pool, endpoint })),
  );
}
