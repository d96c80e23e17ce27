/**
 * route: from the facts of a request to the pools, and the endpoints in them, that may serve it. Pure; rebuilt whole when the
 * configuration changes.
 *
 * Read in this order: route-table, fits.
 */
export { firstTarget, otherModel, RouteTable } from './route-table.ts';
export type { Route, Target } from './route-table.ts';
