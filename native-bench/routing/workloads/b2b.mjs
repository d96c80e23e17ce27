/**
 * Business users of shared assistants: 150 groups with a system prompt of 6,000 tokens each, 5 users a group who ask one
 * question of 1,200 tokens again and again, answers of 1,000. From llm-d, "KV-cache wins" (2025-09-24) and the b2b-saas
 * profile of "sticky until saturated" (2026-08-17). All prompts together take 73 % of eight caches.
 */
import { arrivals, Draw } from '../draw.mjs';
import { profiles } from '../profiles.mjs';
import { Names } from '../request.mjs';

const blockTokens = 16;
const groupCount = 150;
const userCount = 5;
const systemTokens = 6000;
const questionTokens = 1200;
const outputTokens = 1000;

/** @param {{ seed: number, perSecond: number, seconds: number }} options @returns {import('./index.mjs').Workload} */
export function b2b({ seed, perSecond, seconds }) {
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
    boundaries: [],
    following: null,
  }));
  return { name: `b2b ${perSecond}/s`, profile: profiles['qwen3-32b'], blockTokens, specs, nameCount: names.count };
}
