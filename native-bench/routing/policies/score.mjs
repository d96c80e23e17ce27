/** The gateway's own score, the very code it runs; and the same with the engines' true state in place of what a router knows. */
import { KvScore, kvScoreDefaults } from '../../../dist/pick/index.js';
import { tokenBytes } from '../prompt-keys.mjs';
import { endpointHash } from './consistent-hash.mjs';

/** @param {string} name @param {Partial<import('../../../src/pick/kv/kv-score.ts').KvScoreSettings>} settings @param {boolean} isExact @returns {import('./index.mjs').Policy} */
export function scored(name, settings = {}, isExact = false) {
  return {
    name,
    create: ({ endpointCount, engines }) => {
      const hashes = Array.from({ length: endpointCount }, (_, endpoint) => endpointHash(endpoint));
      const score = new KvScore(hashes, { ...kvScoreDefaults, ...settings });
      return {
        choose: ({ spec, keys, matched, candidates, count, view, nowMs }) => {
          if (isExact) {
            for (let endpoint = 0; endpoint < endpointCount; endpoint++) {
              matched[endpoint] = engines[endpoint].heldTokens(spec);
              view.loads.kvUsageRatio[endpoint] = engines[endpoint].kvUsageRatio;
            }
          }
          const branch = branchOf(keys, matched);
          const request = { promptTokens: spec.promptTokens, matchedTokens: matched, root: keys.root, branch };
          return score.choose(view.loads, request, candidates, count, nowMs);
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

export const penstock = scored('penstock');
/** What knowing everything would add: the reference that regret is counted from. */
export const exact = scored('exact state', {}, true);
