import { EndpointState, type FleetTable, Probe } from '../shm/index.ts';
import { servesAll } from './endpoint-role.ts';
import { hashText } from './hash.ts';
import type { ModelFit, ModelWish } from './model-fit.ts';
import { Saturation } from './saturation.ts';
import type { TriedEndpoints } from './tried-endpoints.ts';

/** One endpoint as the pickers see it. */
export interface PickEndpoint {
  readonly url: string;
  /** Record in the fleet table. */
  readonly slot: number;
  readonly weight: number;
  /** Bit set of `Serves`; absent: everything. */
  readonly serves?: number;
}

/** What a request brings to a pick. */
export interface PickRequest extends ModelWish {
  /** Same key, same endpoint, for consistent_hash. */
  readonly hashKey: number;
  /** Endpoints of the pool that failed for this request. */
  readonly tried: TriedEndpoints;
  /** Row of the health table: endpoints are judged for each model. */
  readonly modelRow: number;
  /** Whether it may try an endpoint that has just been out while others are well: only what could be sent again. */
  readonly mayProbe: boolean;
  /** Bit set of `Serves`: an endpoint that serves one of these will do; absent: any. */
  readonly wants?: number;
  /** By endpoint index: 1 where its route lets it go; null = anywhere. */
  readonly fits: Uint8Array | null;
}

/** What a pool wants of its picks. */
export interface PickRule {
  /** Most exchanges in flight per endpoint over all shards; 0 = unlimited. */
  readonly inflightMax: number;
  /** From how many prompt tokens on, sent there and without a byte of their answers, an endpoint counts as full; 0 = however many. */
  readonly pendingTokensMax: number;
  /** From how many milliseconds of the endpoint's work on, those tokens make it full; 0 = however many. */
  readonly pendingPrefillMs: number;
  /** From how many completion tokens a second on an endpoint of weight 1 is full; 0 = however many. */
  readonly completionRateMax: number;
  /** From how many requests waiting in its engine on an endpoint counts as full; 0 = however many. */
  readonly waitingMax: number;
  /** From which share of its KV cache in use; 0 = whatever it is. */
  readonly kvUsageMax: number;
  /** How long the share of an endpoint that is new or back takes to grow to all; 0 = no time. */
  readonly slowStartMs: number;
}

/** No limits, and no slow start. */
export const openRule: PickRule = {
  inflightMax: 0,
  pendingTokensMax: 0,
  pendingPrefillMs: 0,
  completionRateMax: 0,
  waitingMax: 0,
  kvUsageMax: 0,
  slowStartMs: 0,
};

/** Prompt tokens that an endpoint computes in a second, by its URL. */
export interface PrefillRates {
  of(url: string): number;
}

/** Completion tokens a second for each request that an endpoint has, by its slot; 0: not known. */
export interface WritePaces {
  pace(slot: number): number;
}

/**
 * A pool during one pick: its endpoints, and the indexes the screens left over. Scratch is reused, so a pick allocates
 * nothing.
 */
export class PoolView {
  readonly endpoints: readonly PickEndpoint[];
  readonly hashes: readonly number[];
  readonly fleet: FleetTable;
  readonly #rule: PickRule;
  readonly #saturation: Saturation;
  /** Null: nobody knows, and no limit in time applies. */
  readonly #rates: PrefillRates | null;
  readonly #paces: WritePaces | null;
  /** What endpoints say of their models; null where they are not asked. */
  readonly fit: ModelFit | null;
  /** Indexes that passed the screens; the first `count` are valid. */
  readonly candidates: Int32Array;
  count = 0;
  /** Indexes of endpoints that would pass, but are on probation: one attempt at a time. */
  readonly probations: Int32Array;
  probationCount = 0;
  /** Endpoints that were left out only because they are full, or somebody probes them already. */
  fullCount = 0;
  /** By endpoint: the part of its weight it may have for now, 0.1 .. 1. Valid for candidates. */
  readonly shares: Float64Array;
  /** Bit set of `Probe`: what the attempt at the endpoint picked last is the probe of. Taken with its place. */
  probes: number = Probe.none;

  constructor(
    endpoints: readonly PickEndpoint[],
    fleet: FleetTable,
    rule: PickRule,
    fit: ModelFit | null = null,
    rates: PrefillRates | null = null,
    paces: WritePaces | null = null,
  ) {
    this.endpoints = endpoints;
    this.fit = fit;
    this.#rates = rates;
    this.#paces = paces;
    this.hashes = endpoints.map((endpoint) => hashText(endpoint.url));
    this.fleet = fleet;
    this.#rule = rule;
    this.#saturation = new Saturation(fleet, rule);
    this.candidates = new Int32Array(endpoints.length);
    this.probations = new Int32Array(endpoints.length);
    this.shares = new Float64Array(endpoints.length).fill(1);
  }

  /** Screens: healthy, not out for its answers, weighted, allowed by the route, not tried before, with the model, below its limit. */
  screen(request: PickRequest, nowMs: number): void {
    const { fleet } = this;
    const { slowStartMs } = this.#rule;
    const { modelRow, fits, wants = servesAll } = request;
    this.count = 0;
    this.probationCount = 0;
    this.fullCount = 0;
    this.fit?.begin(request);
    for (let index = 0; index < this.endpoints.length; index++) {
      const { slot, weight, serves = servesAll } = this.endpoints[index]!;
      if ((serves & wants) === 0 || weight <= 0 || fleet.state(slot) !== EndpointState.healthy) continue;
      if (fits !== null && fits[index] === 0) continue;
      if (fleet.health.isOut(slot, modelRow, nowMs)) continue;
      if (request.tried.has(index)) continue;
      if (this.fit?.admits(index) === false) continue;
      if (this.#isFull(index, nowMs)) this.fullCount++;
      else if (!fleet.health.isDistrusted(slot, modelRow)) {
        this.shares[index] = fleet.health.share(slot, modelRow, nowMs, slowStartMs);
        this.candidates[this.count++] = index;
      } else if (fleet.health.isBeingProbed(slot, modelRow)) this.fullCount++;
      else this.probations[this.probationCount++] = index;
    }
  }

  /** Requests at the endpoint, of other gateways too. Limits go by the fleet table alone: what others have is a little old. */
  inflight(slot: number): number {
    return this.fleet.inflight(slot) + this.fleet.peers.inflight(slot);
  }

  /** As `inflight`: tokens reserved for them. */
  inflightTokens(slot: number): number {
    return this.fleet.inflightTokens(slot) + this.fleet.peers.inflightTokens(slot);
  }

  /** As `inflight`: prompt tokens that wait there to be computed. */
  pendingTokens(slot: number): number {
    return this.fleet.pendingTokens(slot) + this.fleet.peers.pendingTokens(slot);
  }

  /**
   * Tokens are looked at here and added when the attempt begins, in the same turn: as many shards as look at the same instant may
   * each send one prompt more. Whoever finds less than the maximum may go, however large: nobody waits behind more than that,
   * a prompt that is larger than the maximum is served too, and what is free is free for all who wait.
   */
  #isFull(index: number, nowMs: number): boolean {
    const { fleet } = this;
    const { slot } = this.endpoints[index]!;
    const { inflightMax, pendingTokensMax, pendingPrefillMs, completionRateMax } = this.#rule;
    return (
      (inflightMax > 0 && fleet.inflight(slot) >= inflightMax) ||
      (pendingTokensMax > 0 && fleet.pendingTokens(slot) >= pendingTokensMax) ||
      (pendingPrefillMs > 0 && this.#pendingMs(index) >= pendingPrefillMs) ||
      (completionRateMax > 0 && this.#completionRate(index) >= completionRateMax) ||
      this.#saturation.isReached(slot, nowMs)
    );
  }

  /** How long the endpoint takes for the prompts that wait there, by what was learned of it. */
  #pendingMs(index: number): number {
    const { url, slot } = this.endpoints[index]!;
    return this.#rates === null ? 0 : (this.fleet.pendingTokens(slot) / this.#rates.of(url)) * 1000;
  }

  /**
   * What the endpoint writes with the requests that it has now, were it of weight 1. Rates as they are measured come seconds late,
   * in which everybody would be let in; the pace of one changes slowly.
   */
  #completionRate(index: number): number {
    const { slot, weight } = this.endpoints[index]!;
    return this.#paces === null ? 0 : (this.fleet.inflight(slot) * this.#paces.pace(slot)) / weight;
  }

  /** Whether any endpoint, or any that `fits` and has the model, could take another request, whatever that is. Moves `fit`. */
  hasRoom(nowMs: number, fits: Uint8Array | null, modelKey: number = 0): boolean {
    const { fleet } = this;
    const fit = modelKey === 0 ? null : this.fit;
    fit?.begin({ modelKey, contextTokens: 0 });
    for (let index = 0; index < this.endpoints.length; index++) {
      const { slot, weight } = this.endpoints[index]!;
      if (weight <= 0 || (fits !== null && fits[index] === 0) || fit?.admits(index) === false) continue;
      if (fleet.state(slot) !== EndpointState.healthy || fleet.isEjected(slot, nowMs)) continue;
      if (!this.#isFull(index, nowMs)) return true;
    }
    return false;
  }

  /** Endpoints on probation are candidates like any other. */
  admitProbations(): void {
    for (let turn = 0; turn < this.probationCount; turn++) {
      const index = this.probations[turn]!;
      this.shares[index] = 1;
      this.candidates[this.count++] = index;
    }
    this.probationCount = 0;
  }

  /** Takes the endpoint's place, over all shards at once, and its probe if there is one to be made. False: another was faster. */
  tryTake(index: number, request: PickRequest, nowMs: number): boolean {
    const { slot } = this.endpoints[index]!;
    this.probes = Probe.none;
    if (this.fleet.tryTakeInflight(slot, this.#rule.inflightMax)) {
      const probes = this.fleet.health.tryTakeProbes(slot, request.modelRow, nowMs);
      if (probes >= 0) {
        this.probes = probes;
        return true;
      }
      this.fleet.giveInflight(slot);
    }
    this.fullCount++;
    return false;
  }

  /** The candidate is none any more. */
  drop(index: number): void {
    let kept = 0;
    for (let turn = 0; turn < this.count; turn++) {
      const candidate = this.candidates[turn]!;
      if (candidate !== index) this.candidates[kept++] = candidate;
    }
    this.count = kept;
  }
}
