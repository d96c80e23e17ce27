import type { PeerLoad, PeerLoads } from '../../shm/index.ts';
import type { Directory } from './directory.ts';

/** What a gateway said of its load counts for so long; it says it five times as often. */
const lifeMs = 1000;
/** Gateways; of more the rest is not counted. */
const peersMax = 64;
/** Sums are Int32, and so may what pickers make of them be. */
const sumMax = 0x3fff_ffff;

interface Peer {
  heardMs: number;
  /** By the endpoint's id. */
  loads: Map<number, PeerLoad>;
}

/** What other gateways have where, as each said last; their sums are in shared memory for the pickers. */
export class PeerTable {
  readonly #peers = new Map<number, Peer>();
  readonly #loads: PeerLoads;
  #written = new Set<number>();
  #isChanged = false;

  constructor(loads: PeerLoads) {
    this.#loads = loads;
  }

  get count(): number {
    return this.#peers.size;
  }

  /** All that the gateway said: what it did not name it has none of. */
  hear(gateway: number, loads: Map<number, PeerLoad>, nowMs: number): void {
    const peer = this.#peers.get(gateway);
    if (peer === undefined && this.#peers.size >= peersMax) return;
    this.#peers.set(gateway, { heardMs: nowMs, loads });
    this.#isChanged = true;
  }

  /** Those that fell silent are gone; what is left is summed up, where anything has changed. */
  publish(directory: Directory, nowMs: number): void {
    for (const [gateway, { heardMs }] of this.#peers) {
      if (nowMs - heardMs <= lifeMs) continue;
      this.#peers.delete(gateway);
      this.#isChanged = true;
    }
    if (!this.#isChanged) return;
    this.#isChanged = false;
    const sums = new Map<number, PeerLoad>();
    for (const { loads } of this.#peers.values()) {
      for (const [id, load] of loads) {
        const slot = directory.byId(id)?.slot;
        if (slot === undefined) continue;
        const sum = sums.get(slot) ?? { inflight: 0, inflightTokens: 0, pendingTokens: 0 };
        sum.inflight = Math.min(sumMax, sum.inflight + load.inflight);
        sum.inflightTokens = Math.min(sumMax, sum.inflightTokens + load.inflightTokens);
        sum.pendingTokens = Math.min(sumMax, sum.pendingTokens + load.pendingTokens);
        sums.set(slot, sum);
      }
    }
    for (const slot of this.#written) if (!sums.has(slot)) this.#loads.set(slot, nothing);
    for (const [slot, sum] of sums) this.#loads.set(slot, sum);
    this.#written = new Set(sums.keys());
  }

  /** Endpoints have other slots now. */
  renew(): void {
    this.#isChanged = true;
  }
}

const nothing: PeerLoad = { inflight: 0, inflightTokens: 0, pendingTokens: 0 };
