/**
 * The gateway's `sglang` picker, but with the tree of sglang's router in place of the prefix index: its deepest matching node
 * names one endpoint, the last that touched it. The tree holds 2^26 characters, more than any run here sends, so nothing
 * leaves it.
 */
import { Sglang } from '../../../dist/pick/index.js';
import { tokenBytes } from '../prompt-keys.mjs';

/** @param {string} name @param {import('../../../src/pick/baselines/sglang.ts').SglangSettings} [settings] @returns {import('./index.mjs').Policy} */
function sglang(name, settings) {
  return {
    name,
    create: ({ endpointCount }) => {
      const policy = new Sglang(endpointCount, settings);
      /** @type {Map<number, number>} */
      const lastToucher = new Map();
      const matchedTokens = new Int32Array(endpointCount);
      return {
        choose: ({ spec, keys, candidates, count, view }) => {
          matchedTokens.fill(0);
          let depth = 0;
          while (depth < keys.count && lastToucher.has(nameOf(keys, depth))) depth++;
          if (depth > 0) {
            const owner = /** @type {number} */ (lastToucher.get(nameOf(keys, depth - 1)));
            matchedTokens[owner] = keys.ends[depth - 1] / tokenBytes;
          }
          const request = {
            promptTokens: spec.promptTokens,
            matchedTokens,
            root: keys.root,
            branch: keys.root,
            loadKey: 0,
            isLoaded: false,
          };
          return policy.choose(view.loads, request, candidates, count);
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

/** The defaults of its command line, which the picker has. */
export const sglangCli = sglang('sglang 0.3/64/1.5');
/** The defaults of its library. */
export const sglangLibrary = sglang('sglang 0.5/32/1.1', { cacheThreshold: 0.5, balanceAbs: 32, balanceRel: 1.1 });
