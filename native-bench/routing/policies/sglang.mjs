/**
 * The cache-aware policy of sglang's router: a tree of prompts whose deepest matching node names one endpoint, the last that
 * touched it. Unbalanced requests in flight, or a match below the threshold: to the fewest in flight. Its tree holds 2^26
 * characters, more than any run here sends, so nothing leaves it.
 */
import { leastInflight } from './unaware.mjs';
import { tokenBytes } from '../prompt-keys.mjs';

/** @param {string} name @param {number} threshold @param {number} balanceAbs @param {number} balanceRel @returns {import('./index.mjs').Policy} */
function sglang(name, threshold, balanceAbs, balanceRel) {
  return {
    name,
    create: () => {
      /** @type {Map<number, number>} */
      const lastToucher = new Map();
      let turn = 0;
      return {
        choose: ({ spec, keys, candidates, count, view }) => {
          const { inflight } = view.loads;
          let most = 0;
          let fewest = Number.POSITIVE_INFINITY;
          for (let index = 0; index < count; index++) {
            most = Math.max(most, inflight[candidates[index]]);
            fewest = Math.min(fewest, inflight[candidates[index]]);
          }
          const idlest = leastInflight(view, candidates, count, turn++);
          if (most - fewest > balanceAbs && most > balanceRel * fewest) return idlest;
          let depth = 0;
          while (depth < keys.count && lastToucher.has(nameOf(keys, depth))) depth++;
          if (depth === 0) return idlest;
          const matched = keys.ends[depth - 1] / tokenBytes / spec.promptTokens;
          const owner = lastToucher.get(nameOf(keys, depth - 1)) ?? idlest;
          return matched > threshold && candidates.subarray(0, count).includes(owner) ? owner : idlest;
        },
        onDispatch: ({ keys, endpoint }) => {
          for (let depth = 0; depth < keys.count; depth++) lastToucher.set(nameOf(keys, depth), endpoint);
        },
      };
    },
  };
}

/** Both halves of a key in a safe integer. @param {import('../prompt-keys.mjs').PromptKeys} keys @param {number} index */
function nameOf(keys, index) {
  return (keys.lows[index] >>> 0) * 0x20_0000 + (keys.highs[index] & 0x1f_ffff);
}

/** The defaults of its command line. */
export const sglangCli = sglang('sglang 0.3/64/1.5', 0.3, 64, 1.5);
/** The defaults of its library. */
export const sglangLibrary = sglang('sglang 0.5/32/1.1', 0.5, 32, 1.1);
