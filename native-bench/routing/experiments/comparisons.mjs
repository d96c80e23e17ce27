/** E3 to E6, E14 and E15: one workload each, all policies. */
import * as policy from '../policies/index.mjs';
import {
  agent,
  azure,
  chat,
  mooncakeConversation,
  mooncakeSynthetic,
  thirtyTimes as thirty,
} from '../workloads/index.mjs';
import { compare, measured, regretOf } from './comparison.mjs';

/** @typedef {{ seeds: readonly number[], isQuick: boolean }} Scope */

/** @param {Scope} scope @returns {import('./index.mjs').Outcome} */
export function conversation({ seeds, isQuick }) {
  const seconds = isQuick ? 200 : 600;
  const found = compare(policy.policies, (seed) => mooncakeConversation({ seed, speed: 1.4, seconds }), seeds);
  const { own, reference, roundRobin, sglang } = means(found.rows);
  return {
    ...found,
    curve: null,
    checks: [
      { what: 'TTFT mean over round robin', value: own / roundRobin, relation: '<=', limit: 0.25 },
      { what: 'TTFT mean over sglang', value: own / sglang, relation: '<=', limit: 0.5 },
      { what: 'regret of the TTFT mean', value: regretOf(own, reference, roundRobin), relation: '<=', limit: 0.03 },
    ],
  };
}

/** @param {Scope} scope @returns {import('./index.mjs').Outcome} */
export function synthetic({ seeds, isQuick }) {
  const seconds = isQuick ? 200 : 600;
  const found = compare(policy.policies, (seed) => mooncakeSynthetic({ seed, speed: 1.6, seconds }), seeds);
  const { own, roundRobin, sglang } = means(found.rows);
  const p99 = measured(found.rows, policy.penstock).ttftP99;
  return {
    ...found,
    curve: null,
    checks: [
      { what: 'TTFT mean over round robin', value: own / roundRobin, relation: '<=', limit: 0.07 },
      { what: 'TTFT mean over sglang', value: own / sglang, relation: '<=', limit: 0.8 },
      { what: 'TTFT p99, s', value: p99, relation: '<=', limit: 6 },
    ],
  };
}

/** @param {Scope} scope @returns {import('./index.mjs').Outcome} */
export function agents({ seeds, isQuick }) {
  const seconds = isQuick ? 150 : 400;
  const found = compare(policy.policies, (seed) => agent({ seed, perSecond: 0.16, seconds }), seeds);
  const { own, roundRobin, sglang } = means(found.rows);
  return {
    ...found,
    curve: null,
    checks: [
      { what: 'hit', value: measured(found.rows, policy.penstock).hit, relation: '>=', limit: 0.91 },
      { what: 'TTFT mean over round robin', value: own / roundRobin, relation: '<=', limit: 0.11 },
      { what: 'TTFT mean over sglang', value: own / sglang, relation: '<=', limit: 0.5 },
    ],
  };
}

/** @param {Scope} scope @returns {import('./index.mjs').Outcome} */
export function chatLowLoad({ seeds, isQuick }) {
  const seconds = isQuick ? 60 : 120;
  const found = compare(policy.policies, (seed) => chat({ seed, perSecond: 10, seconds }), seeds);
  const own = measured(found.rows, policy.penstock);
  const reference = measured(found.rows, policy.exact);
  const roundRobin = measured(found.rows, policy.roundRobin);
  return {
    ...found,
    curve: null,
    checks: [
      { what: 'hit over that of the exact state', value: own.hit / reference.hit, relation: '>=', limit: 0.98 },
      { what: 'TTFT p50 over round robin', value: own.ttftP50 / roundRobin.ttftP50, relation: '<=', limit: 1 },
    ],
  };
}

/** @param {Scope} scope @returns {import('./index.mjs').Outcome} */
export function unshared({ seeds, isQuick }) {
  const seconds = isQuick ? 30 : 120;
  const found = compare(policy.policies, (seed) => azure('code', { seed, perSecond: 60, seconds }), seeds);
  const own = measured(found.rows, policy.penstock);
  const leastRequest = measured(found.rows, policy.leastRequest);
  return {
    ...found,
    curve: null,
    checks: [
      {
        what: 'TTFT mean over least_request',
        value: own.ttftMean / leastRequest.ttftMean,
        relation: '<=',
        limit: 1.05,
      },
      { what: 'TTFT p99 over least_request', value: own.ttftP99 / leastRequest.ttftP99, relation: '<=', limit: 1.05 },
    ],
  };
}

/** The first tenth is measured too: it is the whole point. @returns {import('./index.mjs').Outcome} */
export function thirtyTimes() {
  const options = { endpointCount: 3, warmShare: 0 };
  const { rows } = compare([policy.roundRobin, policy.penstock], () => thirty(), [1], options);
  const own = measured(rows, policy.penstock).hit;
  const roundRobin = measured(rows, policy.roundRobin).hit;
  return {
    rows,
    bounds: {},
    curve: null,
    checks: [
      { what: 'hit, difference to 87.4 %', value: Math.abs(own - 4176 / 4776), relation: '<=', limit: 0.0005 },
      {
        what: 'hit of round robin, difference to 81.4 %',
        value: Math.abs(roundRobin - 3888 / 4776),
        relation: '<=',
        limit: 0.0005,
      },
    ],
  };
}

/** TTFT means. @param {readonly import('./index.mjs').Row[]} rows */
function means(rows) {
  return {
    own: measured(rows, policy.penstock).ttftMean,
    reference: measured(rows, policy.exact).ttftMean,
    roundRobin: measured(rows, policy.roundRobin).ttftMean,
    sglang: measured(rows, policy.sglangCli).ttftMean,
  };
}
