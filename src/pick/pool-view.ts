import type { FleetTable } from '../shm/index.ts';
import { hashText } from './hash.ts';

/** One endpoint as the pickers see it. */
export interface PickEndpoint {
  readonly url: string;
  /** Record in the fleet table. */
  readonly slot: number;
  readonly weight: number;
}

/** What a request brings to a pick. */
export interface PickRequest {
  /** Same key, same endpoint, for consistent_hash. */
  readonly hashKey: number;
  /** Bit set of endpoint indexes that already failed for this request (the first 32; later ones are not remembered). */
  readonly triedSet: number;
}

/**
 * A pool during one pick: its endpoints, and the indexes the screens left over. Scratch is reused, so a pick allocates
 * nothing.
 */
export class PoolView {
  readonly endpoints: readonly PickEndpoint[];
  readonly hashes: readonly number[];
  readonly fleet: FleetTable;
  /** Most exchanges in flight per endpoint over all shards; 0 = unlimited. */
  readonly inflightMax: number;
  /** Indexes that passed the screens; the first `count` are valid. */
  readonly candidates: Int32Array;
  count = 0;
  /** Endpoints that were left out only because they are full. */
  fullCount = 0;

  constructor(endpoints: readonly PickEndpoint[], fleet: FleetTable, inflightMax: number) {
    this.endpoints = endpoints;
    this.hashes = endpoints.map((endpoint) => hashText(endpoint.url));
    this.fleet = fleet;
    this.inflightMax = inflightMax;
    this.candidates = new Int32Array(endpoints.length);
  }

  /** Screens: healthy, not ejected, weighted, not tried before, below its limit. */
  screen(request: PickRequest, nowMs: number): void {
    this.count = 0;
    this.fullCount = 0;
    for (let index = 0; index < this.endpoints.length; index++) {
      const endpoint = this.endpoints[index]!;
      if (endpoint.weight <= 0 || !this.fleet.isPickable(endpoint.slot, nowMs)) continue;
      if (index < 32 && (request.triedSet & (1 << index)) !== 0) continue;
      if (this.inflightMax > 0 && this.fleet.inflight(endpoint.slot) >= this.inflightMax) this.fullCount++;
      else this.candidates[this.count++] = index;
    }
  }
}
