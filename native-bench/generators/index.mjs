/** The closed-loop generators, which have to agree. wrk is the one that is reported; the others are there to check it. */
import { runH2load } from './h2load.mjs';
import { runLoadRequests } from './load-requests.mjs';
import { runWrk } from './wrk.mjs';

export const generatorNames = /** @type {const} */ (['wrk', 'h2load', 'load']);
const generators = { wrk: runWrk, h2load: runH2load, load: runLoadRequests };

/**
 * @param {import('../types.d.ts').GeneratorName} name
 * @param {import('../types.d.ts').RequestLoad} load
 */
export function runGenerator(name, load) {
  return generators[name](load);
}
