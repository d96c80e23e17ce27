/**
 * core: what every other folder may lean on. It knows nothing of HTTP, of models or of threads.
 *
 * Read in this order: assert (what happens when our own logic is wrong), clock (the one time base), ids.
 */
export { assert, bug, bugCounts, fail, InvariantError, onBug } from './assert.ts';
export { Clock } from './clock.ts';
export { requestIdFrom, uuidV7 } from './ids.ts';
