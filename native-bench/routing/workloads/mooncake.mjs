/**
 * Traces like Mooncake's (FAST'25), drawn from their published statistics; the traces are not in here. Each request draws its
 * length, and how much of it an earlier request had; then it continues the recent request that fits best. What a cache
 * without end would hit is computed by the bounds, and held against the published figure by a test.
 */
import { arrivals, Draw } from '../draw.mjs';
import { profiles } from '../profiles.mjs';
import { Names } from '../request.mjs';

/** Shared in multiples of 512 tokens, as the trace has it. Blocks of 64, a quarter of the work; of these lengths it is 0.5 %. */
const blockTokens = 64;
const sharedUnit = 512 / blockTokens;
const candidateCount = 24;
/** System prompts that conversations start with, as far as they share any. */
const systemCount = 30;
const systemUnits = 40;

/**
 * @typedef {object} TraceShape
 * @property {string} name
 * @property {number} kvTokens
 * @property {number} perSecond of the trace
 * @property {(draw: Draw, isHit: boolean) => number} prompt
 * @property {(draw: Draw) => number} output
 * @property {(draw: Draw) => number} hitRatio
 * @property {number} ageMs mean time since the request that is continued
 * @property {boolean} isBranching whether one request is continued by several
 */

/**
 * Conversation: prompts 12,035 / 6,909 / 27,367 / 85,401 (mean, p50, p90, p99), answers 343 / 350 / 597; 43.2 % of requests hit less
 * than 0.2, 21.8 % more than 0.8; 37.4 % of tokens.
 * @type {TraceShape}
 */
const conversation = {
  name: 'Mooncake-like conversation',
  kvTokens: 1_500_000,
  perSecond: 12_031 / 3537,
  prompt: (draw) => draw.logNormal(6909, 1.074, 64, 126_000),
  output: (draw) => draw.normalWithin(343, 200, 1, 2000),
  hitRatio: (draw) => {
    const which = draw.ratio();
    if (which < 0.432) return draw.ratio() * 0.18;
    return which < 0.782 ? 0.2 + draw.ratio() * 0.6 : 0.8 + draw.ratio() * 0.19;
  },
  ageMs: 120_000,
  isBranching: false,
};

/**
 * Synthetic: 15,325 / 11,587 / 38,615 / 191,000, answers 149 / 69 / 389; 55.4 % hit nothing, 44.3 % more than 0.8; 65.1 % of tokens,
 * so those that hit are much the longer ones.
 * @type {TraceShape}
 */
const synthetic = {
  name: 'Mooncake-like synthetic',
  kvTokens: profiles['qwen3-32b'].kvTokens,
  perSecond: 3993 / 1022,
  prompt: (draw, isHit) => draw.logNormal(isHit ? 24_000 : 6500, isHit ? 0.7 : 0.85, 64, 191_000),
  output: (draw) => draw.logNormal(69, 1.35, 1, 2000),
  hitRatio: (draw) => (draw.ratio() < 0.554 ? 0 : 0.94 + draw.ratio() * 0.05),
  ageMs: 90_000,
  isBranching: true,
};

/** @typedef {{ seed: number, speed: number, seconds: number }} TraceOptions `speed`: arrivals against those of the trace. */

/** @param {TraceOptions} options */
export const mooncakeConversation = (options) => trace(conversation, options);

/** @param {TraceOptions} options */
export const mooncakeSynthetic = (options) => trace(synthetic, options);

/** @param {TraceShape} shape @param {TraceOptions} options @returns {import('./index.mjs').Workload} */
function trace(shape, { seed, speed, seconds }) {
  const draw = new Draw(seed);
  const names = new Names();
  const systems = Array.from({ length: systemCount }, () =>
    Array.from({ length: systemUnits * sharedUnit }, () => names.take(1)),
  );
  /** @type {import('../request.mjs').Spec[]} */
  const specs = [];
  const open = new Set();
  for (const atMs of arrivals(draw, shape.perSecond * speed, seconds * 1000)) {
    const ratio = shape.hitRatio(draw);
    let promptTokens = shape.prompt(draw, ratio > 0);
    const parent = ratio < 0.2 ? null : closest(specs, open, atMs, shape.ageMs / speed, ratio * promptTokens, draw);
    // A continued request that is too short shortens this one: what it shares of itself is drawn, its length gives way.
    if (parent !== null)
      promptTokens = Math.min(promptTokens, Math.floor((parent.promptTokens + parent.outputTokens) / ratio));
    const wanted = Math.floor((ratio * promptTokens) / blockTokens / sharedUnit) * sharedUnit;
    // A few system prompts are everybody's.
    const source = parent === null ? systems[Math.floor(draw.ratio() ** 2 * systemCount)] : parent.chain;
    const shared = Math.min(wanted, source.length);
    const outputTokens = shape.output(draw);
    const count = Math.ceil((promptTokens + outputTokens) / blockTokens) + 1;
    const own = names.take(count - shared);
    const chain = Int32Array.from({ length: count }, (_, index) =>
      index < shared ? source[index] : own + index - shared,
    );
    const spec = {
      atMs,
      promptTokens,
      outputTokens,
      chain,
      chainCount: count,
      ownName: 0,
      boundaries: [],
      following: null,
    };
    if (parent !== null && !shape.isBranching) open.delete(parent);
    open.add(spec);
    specs.push(spec);
  }
  const profile = { ...profiles['qwen3-32b'], kvTokens: shape.kvTokens };
  return { name: `${shape.name} x${speed}`, profile, blockTokens, specs, nameCount: names.count };
}

/**
 * Of a few requests about as old as `ageMs`, the one that comes nearest to `tokens` from above, else the longest.
 * @param {readonly import('../request.mjs').Spec[]} specs
 * @param {ReadonlySet<import('../request.mjs').Spec>} open
 * @param {number} nowMs
 * @param {number} ageMs
 * @param {number} tokens
 * @param {Draw} draw
 */
function closest(specs, open, nowMs, ageMs, tokens, draw) {
  /** @type {import('../request.mjs').Spec | null} */
  let best = null;
  let bestTokens = 0;
  for (let count = 0; count < candidateCount; count++) {
    const spec = specs[firstAfter(specs, nowMs - draw.exponential(ageMs))];
    if (spec === undefined || !open.has(spec)) continue;
    const has = spec.promptTokens + spec.outputTokens;
    if (best === null || (has >= tokens ? bestTokens < tokens || has < bestTokens : has > bestTokens)) {
      best = spec;
      bestTokens = has;
    }
  }
  return best;
}

/** @param {readonly import('../request.mjs').Spec[]} specs @param {number} atMs */
function firstAfter(specs, atMs) {
  let low = 0;
  let high = specs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (specs[middle].atMs < atMs) low = middle + 1;
    else high = middle;
  }
  return low;
}
