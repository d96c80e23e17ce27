import type { Picker } from './pickers.ts';
import type { PickRequest, PoolView } from './pool-view.ts';

/** Results of `pickEndpoint` below 0. */
export const noneHealthy = -1;
export const allFull = -2;

/**
 * Pool to endpoint: screens remove, the picker chooses, the endpoint's slot is taken over all shards at once. Returns the
 * endpoint's index, whose in-flight count now includes the caller, or why there is none.
 *
 * An endpoint whose ejection is over is probed by the next request that could be sent again elsewhere, whatever the
 * picker: what it is worth is known soon, and by one request. Where keys decide, it waits for one of its own keys. A
 * request that cannot be sent again is not risked while another endpoint is well.
 */
export function pickEndpoint(view: PoolView, picker: Picker, request: PickRequest, nowMs: number): number {
  view.screen(request, nowMs);
  if (view.probationCount > 0) {
    if (view.count === 0 || (request.mayProbe && picker.keepsKeys)) view.admitProbations();
    else if (request.mayProbe) {
      for (let turn = 0; turn < view.probationCount; turn++) {
        const index = view.probations[turn]!;
        if (view.tryTake(index, request, nowMs)) return index;
      }
    }
  }
  while (view.count > 0) {
    const index = picker.choose(view, request, nowMs);
    if (view.tryTake(index, request, nowMs)) return index;
    view.drop(index); // Another shard took the last place between our look and our step.
  }
  return view.fullCount > 0 ? allFull : noneHealthy;
}
