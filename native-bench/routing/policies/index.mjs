/**
 * Who is compared. Where the gateway has the policy as a picker it is that picker's code; the rules of other routers are written
 * anew from what is published. They get signals without delay and the gateway's prefix index, so they may do better here than
 * where they come from.
 *
 * @typedef {object} Choice
 * @property {import('../request.mjs').Spec} spec
 * @property {import('../prompt-keys.mjs').PromptKeys} keys
 * @property {Int32Array} matched tokens by endpoint
 * @property {import('../view.mjs').View} view
 * @property {Int32Array} candidates
 * @property {number} count of candidates
 * @property {number} nowMs
 *
 * @typedef {object} Chooser one router's
 * @property {(choice: Choice) => number} choose
 * @property {(flight: import('../view.mjs').Flight) => void} [onDispatch]
 *
 * @typedef {object} Policy
 * @property {string} name
 * @property {(context: { endpointCount: number, engines: readonly import('../engine.mjs').Engine[],
 *   draw: import('../draw.mjs').Draw, workload: import('../workloads/index.mjs').Workload }) => Chooser} create
 */
import { consistentHash } from './consistent-hash.mjs';
import { blend, exact, leastRequest, lmetric, penstock, sticky } from './gateway.mjs';
import { greedy } from './greedy.mjs';
import { sglangCli, sglangLibrary } from './sglang.mjs';
import { powerOfTwo, random, roundRobin } from './unaware.mjs';

export { blend, consistentHash, exact, greedy, leastRequest, lmetric, penstock, powerOfTwo, random, roundRobin };
export { sglangCli, sglangLibrary, sticky };

/** In the order of the tables. @type {readonly Policy[]} */
export const policies = [
  roundRobin,
  random,
  leastRequest,
  powerOfTwo,
  consistentHash,
  sglangCli,
  sglangLibrary,
  blend,
  sticky,
  lmetric,
  greedy,
  penstock,
  exact,
];
