import { Residency, type ResidentTable } from '../shm/index.ts';
import type { LoadTimes } from './load-time.ts';
import type { ModelWish } from './model-fit.ts';
import type { PoolView } from './pool-view.ts';

/** What an attempt has to do with its model being in memory. */
export const Loading = {
  /** The model is always there, or nothing is known of it. */
  none: 0,
  /** It should have been there already. */
  warm: 1,
  /** It had to be loaded. */
  cold: 2,
} as const;
export type Loading = (typeof Loading)[keyof typeof Loading];

export interface LoadingRequest extends ModelWish {
  /** Of the present attempt. */
  loading: Loading;
}

/**
 * What it costs to send a request where its model is not in memory, and the book of what is sent where: LoRA adapters, and
 * models of servers that swap them. One for each pool and shard. `view.fit` is about the request that is picked for.
 */
export class Residents {
  readonly #view: PoolView;
  readonly #table: ResidentTable;
  readonly times: LoadTimes;

  constructor(view: PoolView, table: ResidentTable, times: LoadTimes) {
    this.#view = view;
    this.#table = table;
    this.times = times;
  }

  /** @hot per pick. What has to be in memory for the request, or 0. */
  keyOf({ modelKey }: ModelWish): number {
    return this.#view.fit?.isLoaded === true ? modelKey : 0;
  }

  /** @hot per pick and endpoint. Seconds until endpoint `index` has it in memory: 0 when it should have. */
  seconds(index: number, key: number): number {
    const { fit, endpoints } = this.#view;
    if (key === 0 || !fit!.mayLoad(index)) return 0;
    const residency = this.#table.find(endpoints[index]!.slot, key);
    if (residency === Residency.here) return 0;
    return this.loadSeconds + (residency === Residency.full ? this.times.holdSeconds : 0);
  }

  /** Of the model picked for. */
  get loadSeconds(): number {
    return this.#view.fit!.isAdapter ? this.times.adapter.seconds : this.times.model.seconds;
  }

  /** The attempt goes to endpoint `index`, right behind its pick. All shards know of it at once. */
  place(request: LoadingRequest, index: number, nowMs: number): void {
    const key = this.keyOf(request);
    request.loading = Loading.none;
    if (key === 0 || !this.#view.fit!.mayLoad(index)) return;
    const { slot } = this.#view.endpoints[index]!;
    request.loading = this.#table.find(slot, key) === Residency.here ? Loading.warm : Loading.cold;
    this.#table.use(slot, key, nowMs);
  }

  /** The first byte came `seconds` later than the prompt alone explains. */
  learn(request: LoadingRequest, seconds: number): void {
    const { fit } = this.#view;
    fit!.begin(request);
    if (request.loading === Loading.cold) (fit!.isAdapter ? this.times.adapter : this.times.model).learn(seconds);
  }

  /** Its answer is complete, `seconds` after it was sent. */
  finish(request: LoadingRequest, seconds: number): void {
    if (request.loading !== Loading.none) this.times.noteHold(seconds);
  }
}
