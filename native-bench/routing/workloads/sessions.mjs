/**
 * Conversations: each turn's prompt is all of the turn before, its answer, and something new. The next turn is sent a pause
 * after the answer has come, so a slow fleet gets fewer.
 */
import { arrivals, Draw } from '../draw.mjs';
import { profiles } from '../profiles.mjs';
import { Names } from '../request.mjs';

const blockTokens = 16;

/**
 * @typedef {object} SessionShape
 * @property {string} name
 * @property {import('../profiles.mjs').Profile} profile
 * @property {number} systemCount different system prompts
 * @property {number} systemTokens
 * @property {number} contextMax tokens
 * @property {(draw: Draw) => number} first tokens of the first message
 * @property {(draw: Draw) => number} turnCount
 * @property {(draw: Draw) => number} next tokens of each later message
 * @property {(draw: Draw) => number} output
 * @property {(draw: Draw) => number} pauseMs
 */

/**
 * inference-perf's interactive-chat recipe: prompts LN(4,000, 2,500) of which 1,000 are a system prompt all share, turns of
 * 50 tokens, answers of 300, four turns, 45 s between them.
 * @type {SessionShape}
 */
const chatShape = {
  name: 'chat',
  profile: profiles['llama-8b'],
  systemCount: 1,
  systemTokens: 1008,
  contextMax: 32_768,
  first: (draw) => Math.max(16, draw.logNormalOf(4000, 2500, 1024, 24_000) - 1008),
  turnCount: (draw) => draw.normalWithin(4, 2.5, 1, 20),
  next: (draw) => draw.normalWithin(50, 40, 1, 1000),
  output: (draw) => draw.normalWithin(300, 150, 1, 1000),
  pauseMs: (draw) => draw.normalWithin(45_000, 40_000, 500, 300_000),
};

/**
 * inference-perf's agentic replay: prompts of 49,100 tokens in the mean, answers of 659, 22 +- 23 turns, 13 s between them; one
 * of ten kinds of agent with a system prompt and tools of 4,000 tokens. How a context grows is not published; here it is
 * the answer and 450 tokens of tool output a turn, from a first context that gives the published mean.
 * @type {SessionShape}
 */
const agentShape = {
  name: 'agent',
  profile: profiles['qwen3-32b'],
  systemCount: 10,
  systemTokens: 4000,
  contextMax: 131_072,
  first: (draw) => draw.logNormalOf(20_000, 14_000, 1000, 80_000),
  turnCount: (draw) => draw.logNormalOf(22, 23, 1, 120),
  next: (draw) => draw.normalWithin(450, 400, 16, 4000),
  output: (draw) => draw.normalWithin(659, 300, 16, 2000),
  pauseMs: (draw) => draw.exponential(13_000),
};

/** @typedef {{ seed: number, perSecond: number, seconds: number }} SessionOptions */

/** @param {SessionOptions} options */
export const chat = (options) => sessions(chatShape, options);

/** @param {SessionOptions} options */
export const agent = (options) => sessions(agentShape, options);

/** @param {SessionShape} shape @param {SessionOptions} options @returns {import('./index.mjs').Workload} */
export function sessions(shape, { seed, perSecond, seconds }) {
  const draw = new Draw(seed);
  const names = new Names();
  const systemBlocks = shape.systemTokens / blockTokens;
  const systems = Array.from({ length: shape.systemCount }, () => names.take(systemBlocks));
  const specs = arrivals(draw, perSecond, seconds * 1000).map((atMs) => {
    const turns = [];
    const turnCount = shape.turnCount(draw);
    let tokens = shape.systemTokens + shape.first(draw);
    for (let turn = 0; turn < turnCount && tokens < shape.contextMax; turn++) {
      const outputTokens = shape.output(draw);
      turns.push({ atMs: turn === 0 ? atMs : shape.pauseMs(draw), promptTokens: tokens, outputTokens });
      tokens += outputTokens + shape.next(draw);
    }
    const last = turns[turns.length - 1];
    const blockCount = Math.ceil((last.promptTokens + last.outputTokens) / blockTokens) + 1;
    const system = systems[draw.below(systems.length)];
    const own = names.take(blockCount - systemBlocks);
    const chain = Int32Array.from({ length: blockCount }, (_, index) =>
      index < systemBlocks ? system + index : own + index - systemBlocks,
    );
    const boundaries = turns.map(({ promptTokens }) => promptTokens);
    /** @type {import('../request.mjs').Spec | null} */
    let following = null;
    for (let index = turns.length - 1; index >= 0; index--) {
      following = { ...turns[index], chain, chainCount: blockCount, ownName: 0, boundaries, following };
    }
    return /** @type {import('../request.mjs').Spec} */ (/** @type {unknown} */ (following));
  });
  const { profile } = shape;
  return { name: `${shape.name} ${perSecond}/s`, profile, blockTokens, specs, nameCount: names.count };
}
