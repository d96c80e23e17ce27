/**
 * What is run. A case is one workload and several variants of the gateway, which take turns over the same requests; seeds
 * differ from round to round.
 */
import { conversations, half, shared, strangers, thrash } from './workloads.mjs';

/**
 * @typedef {object} Variant
 * @property {string} name
 * @property {import('./prediction.mjs').Picker} picker
 * @property {number} shards
 * @property {number} [gateways] 1 without it; each request goes to one at random
 * @property {boolean} [isSharing] through a store
 * @property {boolean} [kvEvents] follows the KV events of the engines
 *
 * @typedef {object} Disturbance what is killed, with SIGKILL
 * @property {'engine' | 'gateway'} who
 * @property {number} atShare of the arrivals
 *
 * @typedef {object} HttpCase
 * @property {string} name
 * @property {string} title
 * @property {import('./workloads.mjs').HttpWorkloadOf} workload
 * @property {readonly Variant[]} variants
 * @property {number} seconds of arrivals in a run
 * @property {number} rounds
 * @property {Disturbance | null} disturbance
 * @property {import('./workloads.mjs').HttpWorkloadOf} [beside] what somebody else asks each engine meanwhile, past the gateway; the
 *   prediction knows nothing of it
 * @property {boolean} isDefault run when none is named: all of those take less than eight minutes
 */

export const endpointCount = 4;

/** @param {import('./prediction.mjs').Picker} picker @param {number} [shards] @returns {Variant} */
function variant(picker, shards = 1) {
  return { name: shards === 1 ? picker : `${picker}, ${shards} shards`, picker, shards };
}

/** @param {number} gateways @param {boolean} isSharing @returns {Variant} */
function several(gateways, isSharing) {
  return {
    name: `kv_aware, ${gateways} ${isSharing ? 'sharing' : 'alone'}`,
    picker: 'kv_aware',
    shards: 1,
    gateways,
    isSharing,
  };
}

const [kv, roundRobin] = [variant('kv_aware'), variant('round_robin')];
const withEvents = { ...kv, name: 'kv_aware, KV events', kvEvents: true };

/** @type {readonly HttpCase[]} */
export const httpCases = [
  {
    name: 'shared',
    title: '20 assistants of 3 users, prompts of 5,120 tokens, 14 requests a second',
    workload: shared,
    variants: [
      kv,
      variant('kv_aware', 2),
      variant('kv_aware', 4),
      roundRobin,
      variant('least_load'),
      variant('random'),
    ],
    seconds: 19,
    rounds: 3,
    disturbance: null,
    isDefault: true,
  },
  {
    name: 'conversations',
    title: 'conversations of 7 turns, prompts of up to 14,000 tokens, 3 new ones a second',
    workload: conversations,
    variants: [kv, roundRobin],
    seconds: 8,
    rounds: 3,
    disturbance: null,
    isDefault: false,
  },
  {
    name: 'gateways',
    title: 'as shared; through one gateway, two and four, which share what they learn or do not',
    workload: shared,
    variants: [kv, several(2, true), several(4, true), several(4, false)],
    seconds: 12,
    rounds: 1,
    disturbance: null,
    isDefault: false,
  },
  {
    name: 'thrash',
    title: 'as shared at half the rate, caches hold half of the prompts',
    workload: thrash,
    variants: [kv, withEvents, roundRobin],
    seconds: 14,
    rounds: 2,
    disturbance: null,
    isDefault: false,
  },
  {
    name: 'neighbour',
    title: 'as shared at half the rate; somebody else asks each engine 1.5 prompts a second that come once',
    workload: half,
    variants: [kv, withEvents],
    seconds: 18,
    rounds: 2,
    disturbance: null,
    beside: strangers,
    isDefault: false,
  },
  {
    name: 'engine-killed',
    title: 'as shared; one engine is killed, and comes back without its cache',
    workload: shared,
    variants: [kv],
    seconds: 18,
    rounds: 1,
    disturbance: { who: 'engine', atShare: 0.4 },
    isDefault: true,
  },
  {
    name: 'gateway-killed',
    title: 'as shared; the gateway process is killed, and its supervisor starts another',
    workload: shared,
    variants: [variant('kv_aware', 2)],
    seconds: 18,
    rounds: 1,
    disturbance: { who: 'gateway', atShare: 0.4 },
    isDefault: true,
  },
];

/** Shows that it works, proves nothing. @type {readonly HttpCase[]} */
export const quickCases = httpCases.map((one) => ({
  ...one,
  variants: one.variants.filter(({ name }) =>
    ['kv_aware', 'kv_aware, 2 shards', 'kv_aware, 2 sharing', 'round_robin'].includes(name),
  ),
  // Longer than an answer takes, where somebody is killed in the middle.
  seconds: one.disturbance === null ? 2 : 5,
  rounds: 1,
}));
