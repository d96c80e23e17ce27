/**
 * Business users of shared assistants: groups with a system prompt each, and users who ask one question again and again.
 * `b2b` has 150 groups of 5 with 6,000 tokens, questions of 1,200 and answers of 1,000. From llm-d, "KV-cache wins" (2025-09-24)
 * and the b2b-saas profile of "sticky until saturated" (2026-08-17). All prompts together take 73 % of eight caches.
 */
import { arrivals, Draw } from '../draw.mjs';
import { profiles } from '../profiles.mjs';
import { Names } from '../request.mjs';

const blockTokens = 16;

/**
 * Tokens are multiples of a block.
 * @typedef {object} AssistantShape
 * @property {string} name
 * @property {import('../profiles.mjs').Profile} profile
 * @property {number} groupCount
 * @property {number} userCount of each group
 * @property {number} systemTokens
 * @property {number} questionTokens
 * @property {number} outputTokens
 * @property {readonly number[]} boundaries tokens at which a message ends
 */

/** @type {AssistantShape} */
const b2bShape = {
  name: 'b2b',
  profile: profiles['qwen3-32b'],
  groupCount: 150,
  userCount: 5,
  systemTokens: 6000,
  questionTokens: 1200,
  outputTokens: 1000,
  boundaries: [],
};

/** @typedef {{ seed: number, perSecond: number, seconds: number }} AssistantOptions */

/** @param {AssistantOptions} options */
export const b2b = (options) => assistants(b2bShape, options);

/** @param {AssistantShape} shape @param {AssistantOptions} options @returns {import('./index.mjs').Workload} */
export function assistants(shape, { seed, perSecond, seconds }) {
  const { name, profile, groupCount, userCount, systemTokens, questionTokens, outputTokens, boundaries } = shape;
  const draw = new Draw(seed);
  const names = new Names();
  const promptTokens = systemTokens + questionTokens;
  const chains = Array.from({ length: groupCount }, () => {
    const system = names.take(systemTokens / blockTokens);
    return Array.from({ length: userCount }, () => {
      const question = names.take(questionTokens / blockTokens);
      return Int32Array.from({ length: promptTokens / blockTokens }, (_, index) =>
        index < systemTokens / blockTokens ? system + index : question + index - systemTokens / blockTokens,
      );
    });
  }).flat();
  const specs = arrivals(draw, perSecond, seconds * 1000).map((atMs) => ({
    atMs,
    promptTokens,
    outputTokens,
    chain: chains[draw.below(chains.length)],
    chainCount: promptTokens / blockTokens,
    ownName: names.take(Math.ceil(outputTokens / blockTokens) + 1),
    boundaries,
    following: null,
  }));
  return { name: `${name} ${perSecond}/s`, profile, blockTokens, specs, nameCount: names.count };
}
