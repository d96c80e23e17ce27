/**
 * pick: from a pool to one endpoint. Screens remove, the picker chooses, and the place is taken in the fleet table, so
 * that all shards count it. Owns nothing but its pickers' turn counters; the place is given back by account.
 *
 * Read in this order: pick, pool-view (the screens), pickers, hash.
 */
export { hashText } from './hash.ts';
export { allFull, noneHealthy, pickEndpoint } from './pick.ts';
export { makePicker } from './pickers.ts';
export type { Picker, PickerContext } from './pickers.ts';
export { PoolView } from './pool-view.ts';
export { TriedEndpoints } from './tried-endpoints.ts';
export type { PickEndpoint, PickRequest, PickRule } from './pool-view.ts';
