/** E7 and E8: the same score in several routers, each with a random part of the requests. */
import { meanOf, measuresOf } from '../measures.mjs';
import { penstock } from '../policies/index.mjs';
import { scored } from '../policies/gateway.mjs';
import { oneRouter } from '../routers.mjs';
import { simulate } from '../simulation.mjs';
import { agent, b2b } from '../workloads/index.mjs';

/** Each is fifteen kinds of routers. */
const seedsMax = 2;
const withoutHomes = scored('penstock without homes', { homeSlack: 0, coldRatio: 0 });

/** @param {{ seeds: readonly number[], isQuick: boolean }} scope @returns {import('./index.mjs').Outcome} */
export function sharing({ seeds, isQuick }) {
  /** @type {[string, import('../routers.mjs').RouterOptions, import('../policies/index.mjs').Policy][]} */
  const cases = [['1 router', oneRouter, penstock]];
  for (const count of isQuick ? [4] : [2, 4, 8, 16]) {
    cases.push([`${count} with one index and ledger`, { count, sharing: 'shared', lagMs: 0 }, penstock]);
  }
  for (const count of isQuick ? [4] : [4, 8, 16]) {
    cases.push([`${count} private, no homes`, { count, sharing: 'private', lagMs: 0 }, withoutHomes]);
    cases.push([`${count} private`, { count, sharing: 'private', lagMs: 0 }, penstock]);
  }
  for (const lagMs of isQuick ? [250] : [50, 250, 1000, 10_000]) {
    cases.push([`4 synced after ${lagMs} ms`, { count: 4, sharing: 'synced', lagMs }, penstock]);
  }
  const workloads = {
    b2b: (/** @type {number} */ seed) => b2b({ seed, perSecond: 12, seconds: isQuick ? 120 : 300 }),
    agent: (/** @type {number} */ seed) => agent({ seed, perSecond: 0.16, seconds: isQuick ? 120 : 300 }),
  };
  /** @type {import('./index.mjs').Row[]} */
  const rows = [];
  /** @type {import('./index.mjs').Check[]} */
  const checks = [];
  for (const [name, workloadOf] of Object.entries(workloads)) {
    const found = cases.map(([label, routers, policy]) => {
      const all = seeds
        .slice(0, seedsMax)
        .map((seed) => measuresOf(simulate({ workload: workloadOf(seed), policy, seed, routers })));
      return { label, measures: meanOf(all) };
    });
    const one = found[0].measures.hit;
    const hitOf = (/** @type {string} */ start) =>
      found.filter(({ label }) => label.startsWith(start)).map(({ measures }) => measures.hit);
    const shared = Math.min(
      ...found.filter(({ label }) => label.includes('one index')).map(({ measures }) => measures.hit),
    );
    checks.push({
      what: `${name}: hit of routers with one index over one router`,
      value: shared / one,
      relation: '>=',
      limit: 0.99,
    });
    checks.push({
      what: `${name}: hit synced after 250 ms over one router`,
      value: hitOf('4 synced after 250')[0] / one,
      relation: '>=',
      limit: 0.98,
    });
    const limit = name === 'b2b' ? 0.93 : 0.8;
    checks.push({
      what: `${name}: hit of 4 private with homes`,
      value: found.find(({ label }) => label === '4 private')?.measures.hit ?? 0,
      relation: '>=',
      limit,
    });
    for (const { label, measures } of found) rows.push({ label: `${name}: ${label}`, measures, extra: {} });
  }
  return { rows, checks, bounds: {}, curve: null };
}
