/** The same prompt over and over: one after another (the job behind a published hit rate of 87.4 %), or all at once. */
import { profiles } from '../profiles.mjs';
import { Names } from '../request.mjs';

const blockTokens = 16;

/**
 * @param {string} name
 * @param {import('../profiles.mjs').Profile} profile
 * @param {{ count: number, promptTokens: (index: number) => number, outputTokens: number, gapMs: number, startMs?: number }} options
 * @returns {import('./index.mjs').Workload}
 */
export function repeated(name, profile, { count, promptTokens, outputTokens, gapMs, startMs = 0 }) {
  const names = new Names();
  const chainCount = Math.floor(promptTokens(0) / blockTokens);
  const first = names.take(chainCount);
  const chain = Int32Array.from({ length: chainCount }, (_, index) => first + index);
  const specs = Array.from({ length: count }, (_, index) => ({
    atMs: startMs + index * gapMs,
    promptTokens: promptTokens(index),
    outputTokens,
    chain,
    chainCount,
    ownName: names.take(Math.ceil(outputTokens / blockTokens) + 2),
    boundaries: [],
    following: null,
  }));
  return { name, profile, blockTokens, specs, nameCount: names.count };
}

/**
 * Someone repeated a prompt of 159 tokens thirty times, one after another, over three endpoints: 29 x 144 / 4,776 tokens
 * are 87.4 %, and round robin has 81.4 %.
 */
export function thirtyTimes() {
  // 159.2 in the mean, and nine full blocks in each.
  const promptTokens = (/** @type {number} */ index) => (index % 5 === 4 ? 160 : 159);
  return repeated('30 x one prompt', profiles['llama-8b'], { count: 30, promptTokens, outputTokens: 50, gapMs: 2000 });
}

/** 500 cold prompts of 30,000 tokens within a second. */
export function stampede() {
  return repeated('stampede', profiles['qwen3-32b'], {
    count: 500,
    promptTokens: () => 30_000,
    outputTokens: 100,
    gapMs: 2,
  });
}
