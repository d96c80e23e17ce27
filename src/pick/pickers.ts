import { LeastRequest } from './baselines/least-request.ts';
import { mixPair } from './hash.ts';
import { type Comparison, emptyLoads } from './kv/kv-policy.ts';
import { Participants } from './participants.ts';
import type { PickRequest, PoolView } from './pool-view.ts';

/** Chooses among `view.candidates` (at least one) and returns an endpoint index. Knows no health and no limits. */
export interface Picker {
  /** A key has its endpoint: no other may take the request because it wants to be tried, or is still warming up. */
  readonly keepsKeys: boolean;
  /** What the last choice compared; null where it compared nothing by endpoint. */
  readonly comparison: Comparison | null;
  choose(view: PoolView, request: PickRequest, nowMs: number): number;
}

export interface PickerContext {
  /** [0, 1). */
  readonly random: () => number;
  readonly shardIndex: number;
}

/**
 * Smooth weighted round robin (nginx's): each turn every candidate gains its weight, the richest is chosen and pays the
 * total. Per shard; shards start at different endpoints, so that N shards do not all begin with the first.
 */
class RoundRobin implements Picker {
  readonly keepsKeys = false;
  readonly comparison = null;
  readonly #credit: number[] = [];
  readonly #start: number;

  constructor(start: number) {
    this.#start = start;
  }

  choose(view: PoolView): number {
    const size = view.endpoints.length;
    while (this.#credit.length < size) this.#credit.push(0);
    let total = 0;
    let best = -1;
    for (let turn = 0; turn < view.count; turn++) {
      const index = view.candidates[(turn + this.#start) % view.count]!;
      const weight = shareOf(view, index);
      total += weight;
      const credit = (this.#credit[index]! += weight);
      if (best < 0 || credit > this.#credit[best]!) best = index;
    }
    this.#credit[best]! -= total;
    return best;
  }
}

class WeightedRandom implements Picker {
  readonly keepsKeys = false;
  readonly comparison = null;
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  choose(view: PoolView): number {
    let total = 0;
    for (let turn = 0; turn < view.count; turn++) total += shareOf(view, view.candidates[turn]!);
    let point = this.#random() * total;
    for (let turn = 0; turn < view.count; turn++) {
      const index = view.candidates[turn]!;
      point -= shareOf(view, index);
      if (point < 0) return index;
    }
    return view.candidates[view.count - 1]!;
  }
}

/**
 * Power of two choices on the load that all shards share: of two candidates drawn at random the one with fewer tokens in
 * flight per weight. With private counts N shards would pile onto the same endpoint; with shared ones they act as one.
 */
class LeastLoad implements Picker {
  readonly keepsKeys = false;
  readonly comparison = null;
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  choose(view: PoolView): number {
    if (view.count === 1) return view.candidates[0]!;
    const first = Math.floor(this.#random() * view.count);
    let second = Math.floor(this.#random() * (view.count - 1));
    if (second >= first) second++;
    const one = view.candidates[first]!;
    const other = view.candidates[second]!;
    // By load alone an endpoint that is just back, and has none, would get everything at once.
    const isOneCold = this.#standsBack(view, one);
    if (isOneCold !== this.#standsBack(view, other)) return isOneCold ? other : one;
    return load(view, one) <= load(view, other) ? one : other;
  }

  #standsBack(view: PoolView, index: number): boolean {
    const share = view.shares[index]!;
    return share < 1 && this.#random() >= share;
  }
}

/** Fewest requests in flight over all shards; unlike two drawn at random it looks at all, and finds the one that is idle. */
class LeastRequests implements Picker {
  readonly keepsKeys = false;
  readonly comparison: LeastRequest;
  readonly #participants: Participants;
  readonly #loads: { readonly inflight: Float64Array; readonly weight: Float64Array };

  constructor(endpointCount: number, random: () => number) {
    this.comparison = new LeastRequest(endpointCount);
    this.#participants = new Participants(random);
    this.#loads = emptyLoads(endpointCount);
  }

  choose(view: PoolView): number {
    const { inflight, weight } = this.#loads;
    for (let turn = 0; turn < view.count; turn++) {
      const index = view.candidates[turn]!;
      const endpoint = view.endpoints[index]!;
      inflight[index] = view.inflight(endpoint.slot);
      weight[index] = endpoint.weight;
    }
    this.#participants.draw(view);
    this.comparison.scores.fill(Number.NaN);
    return this.comparison.choose(this.#loads, this.#participants.list, this.#participants.count);
  }
}

/** The weight, as far as a slow start allows it. */
function shareOf(view: PoolView, index: number): number {
  return view.endpoints[index]!.weight * view.shares[index]!;
}

/** Tokens decide; requests without an estimate still count, and break ties. */
function load(view: PoolView, index: number): number {
  const { slot, weight } = view.endpoints[index]!;
  return (view.inflightTokens(slot) + view.inflight(slot)) / weight;
}

/** A key's endpoint takes at most this much more than the mean before its next choice is used. */
const loadBound = 1.25;

/**
 * Weighted rendezvous hashing with bounded load: each key ranks the endpoints, and takes the best that is not far above
 * the mean in flight. An endpoint that comes or goes moves only its own keys. One
 * that is just back has all of them at once: with a share that grows they would move twice.
 */
class ConsistentHash implements Picker {
  readonly keepsKeys = true;
  readonly comparison = null;

  choose(view: PoolView, request: PickRequest): number {
    let inflight = 1;
    for (let turn = 0; turn < view.count; turn++)
      inflight += view.inflight(view.endpoints[view.candidates[turn]!]!.slot);
    const bound = Math.ceil((inflight / view.count) * loadBound);
    let best = -1;
    let bestScore = Number.NEGATIVE_INFINITY;
    let bestAny = -1;
    let bestAnyScore = Number.NEGATIVE_INFINITY;
    for (let turn = 0; turn < view.count; turn++) {
      const index = view.candidates[turn]!;
      const endpoint = view.endpoints[index]!;
      const unit = (mixPair(request.hashKey, view.hashes[index]!) + 0.5) / 0x1_0000_0000;
      const score = endpoint.weight / -Math.log(unit);
      if (score > bestAnyScore) {
        bestAny = index;
        bestAnyScore = score;
      }
      if (score > bestScore && view.inflight(endpoint.slot) < bound) {
        best = index;
        bestScore = score;
      }
    }
    return best < 0 ? bestAny : best;
  }
}

/** Those that go by prompts (kv/kv-policies) pick by load where there is no prefix index, and requests that have no prompt. */
export function makePicker(name: string, endpointCount: number, context: PickerContext): Picker {
  switch (name) {
    case 'round_robin':
      return new RoundRobin(context.shardIndex);
    case 'random':
      return new WeightedRandom(context.random);
    case 'least_request':
      return new LeastRequests(endpointCount, context.random);
    case 'consistent_hash':
      return new ConsistentHash();
    default:
      return new LeastLoad(context.random);
  }
}
