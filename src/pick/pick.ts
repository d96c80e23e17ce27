import type { Picker } from './pickers.ts';
import type { PickRequest, PoolView } from './pool-view.ts';

/** Results of `pickEndpoint` below 0. */
export const noneHealthy = -1;
export const allFull = -2;

/**
 * Pool to endpoint: screens remove, the picker chooses, the endpoint's slot is taken over all shards at once. Returns the
 * endpoint's index, whose in-flight count now includes the caller, or why there is none.
 */
export function pickEndpoint(view: PoolView, picker: Picker, request: PickRequest, nowMs: number): number {
  view.screen(request, nowMs);
  while (view.count > 0) {
    const index = picker.choose(view, request);
    if (view.fleet.tryTakeInflight(view.endpoints[index]!.slot, view.inflightMax)) return index;
    // Another shard took the last place between our look and our step.
    view.fullCount++;
    let kept = 0;
    for (let turn = 0; turn < view.count; turn++) {
      const candidate = view.candidates[turn]!;
      if (candidate !== index) view.candidates[kept++] = candidate;
    }
    view.count = kept;
  }
  return view.fullCount > 0 ? allFull : noneHealthy;
}
