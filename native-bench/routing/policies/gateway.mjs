/**
 * Policies the gateway has as pickers, run here as they are: its own score, and the rules of other routers. What is added is
 * only what they are told.
 */
import { Blend, KvScore, kvScoreDefaults, LeastRequest, Lmetric, Sticky } from '../../../dist/pick/index.js';
import { tokenBytes } from '../prompt-keys.mjs';
import { endpointHash } from './consistent-hash.mjs';

/**
 * @param {string} name
 * @param {(endpointCount: number, draw: import('../draw.mjs').Draw) => import('../../../src/pick/kv/kv-policy.ts').KvPolicy} make
 * @param {(choice: import('./index.mjs').Choice, engines: readonly import('../engine.mjs').Engine[]) => import('../../../src/pick/kv/kv-policy.ts').KvLoads} [loadsOf] what it is told of the endpoints, where not what a router knows
 * @returns {import('./index.mjs').Policy}
 */
export function gatewayPolicy(name, make, loadsOf = ({ view }) => view.loads) {
  return {
    name,
    create: ({ endpointCount, engines, draw }) => {
      const policy = make(endpointCount, draw);
      return {
        choose: (choice) => {
          const loads = loadsOf(choice, engines);
          const { spec, keys, matched, candidates, count, nowMs } = choice;
          const branch = branchOf(keys, matched);
          const request = {
            promptTokens: spec.promptTokens,
            matchedTokens: matched,
            root: keys.root,
            branch,
            loadKey: 0,
            isLoaded: false,
          };
          return policy.choose(loads, request, candidates, count, nowMs);
        },
      };
    },
  };
}

/** Key of the first block that nobody holds. @param {import('../prompt-keys.mjs').PromptKeys} keys @param {Int32Array} matched */
function branchOf(keys, matched) {
  const known = Math.max(...matched) * tokenBytes;
  if (known === 0) return keys.root;
  for (let index = 0; index < keys.count; index++) if (keys.ends[index] > known) return keys.lows[index];
  return keys.root;
}

/** @param {string} name @param {Partial<import('../../../src/pick/kv/kv-score.ts').KvScoreSettings>} [settings] @param {Parameters<typeof gatewayPolicy>[2]} [loadsOf] */
export function scored(name, settings = {}, loadsOf) {
  /** @param {number} endpointCount */
  const make = (endpointCount) => {
    const hashes = Array.from({ length: endpointCount }, (_, endpoint) => endpointHash(endpoint));
    return new KvScore(hashes, { ...kvScoreDefaults, ...settings });
  };
  return gatewayPolicy(name, make, loadsOf);
}

export const penstock = scored('penstock');

/** What knowing everything would add: the reference that regret is counted from. */
export const exact = scored('exact state', {}, ({ spec, matched, view }, engines) => {
  for (const [endpoint, engine] of engines.entries()) {
    matched[endpoint] = engine.heldTokens(spec);
    view.loads.kvUsageRatio[endpoint] = engine.kvUsageRatio;
  }
  return view.loads;
});

/** With the engines' metrics as they are this very moment. */
export const blend = gatewayPolicy(
  'llm-d blend 3/2/2',
  (endpointCount, draw) => new Blend(endpointCount, () => draw.ratio()),
  ({ view }, engines) => {
    for (const [endpoint, engine] of engines.entries()) {
      view.loads.queueDepth[endpoint] = engine.waitingCount;
      view.loads.kvUsageRatio[endpoint] = engine.kvUsageRatio;
    }
    return view.loads;
  },
);

export const sticky = gatewayPolicy(
  'sticky until saturated',
  (endpointCount, draw) => new Sticky(endpointCount, () => draw.ratio()),
);

/** Uncached tokens times load. */
export const lmetric = gatewayPolicy(
  'lmetric',
  (endpointCount, draw) => new Lmetric(endpointCount, () => draw.ratio()),
);

/** Fewest requests in flight; ties by turns. @type {import('./index.mjs').Policy} */
export const leastRequest = {
  name: 'least_request',
  create: ({ endpointCount }) => {
    const policy = new LeastRequest(endpointCount);
    return { choose: ({ candidates, count, view }) => policy.choose(view.loads, candidates, count) };
  },
};
