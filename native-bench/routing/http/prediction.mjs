/** What the simulation says of the same requests, of the same engines, and of the rule that a picker of the gateway follows. */
import { measuresOf } from '../measures.mjs';
import * as policies from '../policies/index.mjs';
import { simulate } from '../simulation.mjs';
import { quantile } from '../../stats.mjs';

/** The simulation's name of each picker's rule. */
const policyOf = {
  kv_aware: policies.penstock,
  round_robin: policies.roundRobin,
  least_load: policies.powerOfTwo,
  random: policies.random,
};

/**
 * Where a cold prompt goes is drawn by its hash, and so the busiest endpoint is luck. In the program ports and a secret decide,
 * here the names of blocks; so a prediction is the median over several namings.
 */
const namingCount = 9;

/** @typedef {keyof typeof policyOf} Picker */
/** @typedef {{ median: number, low: number, high: number }} Predicted of all namings */

/**
 * @param {import('./workloads.mjs').HttpWorkload} workload
 * @param {Picker} picker
 * @param {number} endpointCount
 * @param {number} seed
 * @param {Partial<import('../simulation.mjs').RunOptions>} [options]
 * @returns {import('../measures.mjs').Measures[]} by naming
 */
export function predict(workload, picker, endpointCount, seed, options = {}) {
  const policy = policyOf[picker];
  return Array.from({ length: namingCount }, (_, naming) =>
    measuresOf(
      simulate({
        workload: renamed(workload, naming),
        policy,
        seed: seed * namingCount + naming,
        endpointCount,
        ...options,
      }),
    ),
  );
}

/** @param {readonly import('../measures.mjs').Measures[]} all @param {'hit' | 'ttftP50' | 'ttftP90' | 'ttftP99'} measure @returns {Predicted} */
export function predictedOf(all, measure) {
  const values = all.map((one) => one[measure]);
  return { median: quantile(values, 0.5), low: Math.min(...values), high: Math.max(...values) };
}

/** The same requests with other names of the blocks that they share. @param {import('./workloads.mjs').HttpWorkload} workload @param {number} naming */
function renamed(workload, naming) {
  if (naming === 0) return workload;
  let count = 0;
  for (const { chain } of workload.specs) for (const name of chain) count = Math.max(count, name);
  const shift = Math.floor((count * naming) / namingCount);
  /** @type {Map<Int32Array, Int32Array>} */
  const renamedChains = new Map();
  /** @param {import('../request.mjs').Spec} spec @returns {import('../request.mjs').Spec} */
  const rename = (spec) => {
    let chain = renamedChains.get(spec.chain);
    if (chain === undefined) {
      chain = spec.chain.map((name) => ((name - 1 + shift) % count) + 1);
      renamedChains.set(spec.chain, chain);
    }
    return { ...spec, chain, following: spec.following === null ? null : rename(spec.following) };
  };
  return { ...workload, specs: workload.specs.map(rename) };
}
