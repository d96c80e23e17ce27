/** E1 and E2: shared assistants, where affinity decides. */
import { measuresOf } from '../measures.mjs';
import * as policy from '../policies/index.mjs';
import { simulate } from '../simulation.mjs';
import { b2b } from '../workloads/index.mjs';
import { compare, measured } from './comparison.mjs';

/** @param {{ seeds: readonly number[], isQuick: boolean }} scope @returns {import('./index.mjs').Outcome} */
export function hitRate({ seeds, isQuick }) {
  const seconds = isQuick ? 150 : 600;
  const { rows, bounds } = compare(policy.policies, (seed) => b2b({ seed, perSecond: 12, seconds }), seeds);
  const own = measured(rows, policy.penstock);
  const reference = measured(rows, policy.exact);
  return {
    rows,
    bounds,
    curve: null,
    checks: [
      { what: 'hit', value: own.hit, relation: '>=', limit: 0.95 },
      { what: 'hit over that of the exact state', value: own.hit / reference.hit, relation: '>=', limit: 0.99 },
    ],
  };
}

const ttftMaxSeconds = 1;
/** A sweep is a dozen runs. */
const kneeSeedsMax = 1;
const kneePolicies = [
  policy.roundRobin,
  policy.leastRequest,
  policy.consistentHash,
  policy.sglangCli,
  policy.blend,
  policy.sticky,
  policy.lmetric,
  policy.greedy,
  policy.penstock,
  policy.exact,
];
const rates = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18];

/** @param {{ seeds: readonly number[], isQuick: boolean }} scope @returns {import('./index.mjs').Outcome} */
export function knee({ seeds, isQuick }) {
  const seconds = isQuick ? 120 : 240;
  const compared = isQuick ? [policy.roundRobin, policy.penstock] : kneePolicies;
  /** @type {{ name: string, points: [number, number][] }[]} */
  const series = [];
  const rows = compared.map(({ name, ...rest }) => {
    /** @type {[number, number][]} */
    const points = [];
    let knee = 0;
    /** @type {import('../measures.mjs').Measures | null} */
    let atKnee = null;
    for (const perSecond of isQuick ? [8, 12] : rates) {
      const found = seeds
        .slice(0, kneeSeedsMax)
        .map((seed) =>
          measuresOf(simulate({ workload: b2b({ seed, perSecond, seconds }), policy: { name, ...rest }, seed })),
        );
      const [measures] = [...found].sort((a, b) => b.ttftP90 - a.ttftP90);
      points.push([perSecond, measures.ttftP90]);
      atKnee ??= measures;
      // The worst seed counts; far behind the knee nothing more is to be learned.
      if (measures.ttftP90 <= ttftMaxSeconds && knee === (points[points.length - 2]?.[0] ?? 0)) {
        knee = perSecond;
        atKnee = measures;
      }
      if (measures.ttftP90 > 20 * ttftMaxSeconds) break;
    }
    series.push({ name, points });
    return { label: name, measures: /** @type {import('../measures.mjs').Measures} */ (atKnee), extra: { knee } };
  });
  const kneeOf = (/** @type {string} */ name) => rows.find(({ label }) => label === name)?.extra.knee ?? 0;
  const ratio = kneeOf(policy.penstock.name) / Math.max(kneeOf(policy.roundRobin.name), rates[0] - 1);
  return {
    rows,
    bounds: {},
    curve: { title: 'b2b: TTFT p90 against rate', x: 'requests/s', y: 'TTFT p90', series },
    checks: [{ what: 'knee over that of round robin', value: ratio, relation: '>=', limit: 1.6 }],
  };
}
