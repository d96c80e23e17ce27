/** E12 and E13: an endpoint restarts under load; everybody sends the same cold prompt at once. */
import { quantile } from '../../stats.mjs';
import { meanOf, measuresOf } from '../measures.mjs';
import * as policy from '../policies/index.mjs';
import { simulate } from '../simulation.mjs';
import { b2b, stampede as stampedeWorkload } from '../workloads/index.mjs';

const restartAtMs = 200_000;
const downMs = 5000;
/** Of a window, in ms. */
const windowMs = 5000;
const recoveredFactor = 1.5;

/** @param {{ seeds: readonly number[], isQuick: boolean }} scope @returns {import('./index.mjs').Outcome} */
export function restart({ seeds, isQuick }) {
  const rows = [policy.leastRequest, policy.sglangCli, policy.blend, policy.penstock].map((each) => {
    const all = seeds.slice(0, isQuick ? 1 : seeds.length).map((seed) => {
      const workload = b2b({ seed, perSecond: 10, seconds: 300 });
      const run = simulate({ workload, policy: each, seed, restart: { endpoint: 3, atMs: restartAtMs, downMs } });
      return { measures: measuresOf(run), ...aftermath(run.flights) };
    });
    const mean = (/** @type {'recoverySeconds' | 'worstP90' | 'usualP90'} */ name) =>
      all.reduce((sum, one) => sum + one[name], 0) / all.length;
    return {
      label: each.name,
      measures: meanOf(all.map(({ measures }) => measures)),
      extra: { usualP90: mean('usualP90'), worstP90: mean('worstP90'), recoverySeconds: mean('recoverySeconds') },
    };
  });
  const own = rows[rows.length - 1].extra;
  return {
    rows,
    bounds: {},
    curve: null,
    checks: [
      {
        what: 'seconds from the restart until TTFT p90 is back',
        value: own.recoverySeconds,
        relation: '<=',
        limit: 10,
      },
    ],
  };
}

/** Arrivals in windows of 5 s after the restart, against those of the 50 s before. @param {readonly import('../view.mjs').Flight[]} flights */
function aftermath(flights) {
  const p90 = (/** @type {number} */ from, /** @type {number} */ to) =>
    quantile(
      flights.filter(({ atMs, ttftMs }) => atMs >= from && atMs < to && ttftMs >= 0).map(({ ttftMs }) => ttftMs / 1000),
      0.9,
    );
  const usualP90 = p90(restartAtMs - 50_000, restartAtMs);
  let worstP90 = 0;
  let recoveredMs = 0;
  for (let at = 0; at < 80_000; at += windowMs) {
    const now = p90(restartAtMs + at, restartAtMs + at + windowMs);
    worstP90 = Math.max(worstP90, now);
    // A prompt of this length that is computed without a queue takes 0.33 s: nothing is amiss below that.
    if (now > Math.max(usualP90 * recoveredFactor, 0.4)) recoveredMs = at + windowMs;
  }
  return { usualP90, worstP90, recoverySeconds: recoveredMs / 1000 };
}

/** @returns {import('./index.mjs').Outcome} */
export function stampede() {
  const compared = [
    policy.leastRequest,
    policy.sglangCli,
    policy.blend,
    policy.sticky,
    policy.lmetric,
    policy.greedy,
    policy.penstock,
  ];
  const rows = compared.map((each) => {
    const run = simulate({ workload: stampedeWorkload(), policy: each, seed: 1 });
    const copies = new Set(run.flights.filter(({ hitTokens }) => hitTokens < 15_000).map(({ endpoint }) => endpoint))
      .size;
    const used = run.dispatchCounts.filter((count) => count > 0);
    const busiest = Math.max(...used) / (run.flights.length / used.length);
    return { label: each.name, measures: measuresOf(run, 0), extra: { copies, busiest } };
  });
  const own = rows[rows.length - 1].extra;
  return {
    rows,
    bounds: {},
    curve: null,
    checks: [
      { what: 'endpoints that compute the prefix', value: own.copies, relation: '<=', limit: 3 },
      {
        what: 'requests of the busiest endpoint over the mean of those that serve it',
        value: own.busiest,
        relation: '<=',
        limit: 1.3,
      },
    ],
  };
}
