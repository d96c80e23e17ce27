/**
 * route: from the facts of a request to the pools that may serve it. Pure; rebuilt whole when the configuration changes.
 */
export { firstTarget, otherModel, RouteTable } from './route-table.ts';
export type { Route, Target } from './route-table.ts';
