/** Policies side by side on one workload, over several seeds. */
import { boundsOf } from '../bounds.mjs';
import { meanOf, measuresOf } from '../measures.mjs';
import { exact } from '../policies/index.mjs';
import { simulate } from '../simulation.mjs';

/**
 * @param {readonly import('../policies/index.mjs').Policy[]} policies
 * @param {(seed: number) => import('../workloads/index.mjs').Workload} workloadOf
 * @param {readonly number[]} seeds
 * @param {Partial<import('../simulation.mjs').RunOptions> & { warmShare?: number }} [options]
 * @returns {{ rows: import('./index.mjs').Row[], bounds: Record<string, number> }}
 */
export function compare(policies, workloadOf, seeds, options = {}) {
  /** @type {Record<string, number>} */
  const bounds = { infinite: 0, pooled: 0 };
  const rows = policies.map((policy) => {
    const all = seeds.map((seed) => {
      const workload = workloadOf(seed);
      const run = simulate({ workload, policy, seed, ...options });
      if (policy === exact) {
        const found = boundsOf(
          run.flights.map(({ spec }) => spec),
          workload,
          options.endpointCount ?? 8,
        );
        bounds.infinite += found.infinite / seeds.length;
        bounds.pooled += found.pooled / seeds.length;
      }
      return measuresOf(run, options.warmShare);
    });
    return { label: policy.name, measures: meanOf(all), extra: {} };
  });
  return { rows, bounds };
}

/** The measures of one policy. @param {readonly import('./index.mjs').Row[]} rows @param {import('../policies/index.mjs').Policy} policy */
export function measured(rows, policy) {
  const row = rows.find(({ label }) => label === policy.name);
  if (row === undefined) throw new Error(`${policy.name} was not run`);
  return row.measures;
}

/**
 * How much of what knowing everything gains over round robin is lost: 0 as good, 1 no better than round robin.
 * @param {number} value
 * @param {number} reference
 * @param {number} roundRobin
 */
export function regretOf(value, reference, roundRobin) {
  return (value - reference) / (roundRobin - reference);
}
