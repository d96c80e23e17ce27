/** What is sent: the simulation's generators at a size that two cores serve with time to spare. */
import { assistants, sessions } from '../workloads/index.mjs';
import { profileOf, slowEngine } from './engine-settings.mjs';

/**
 * A workload as text needs to know where the system prompt ends.
 * @typedef {import('../workloads/index.mjs').Workload & { systemTokens: number,
 *   engine: import('./engine-settings.mjs').EngineSettings }} HttpWorkload
 *
 * @typedef {(options: { seed: number, seconds: number }) => HttpWorkload} HttpWorkloadOf
 */

/** @param {import('./engine-settings.mjs').EngineSettings} engine */
function assistantShape(engine) {
  const [systemTokens, questionTokens] = [4096, 1024];
  return {
    name: 'assistants',
    profile: profileOf(engine),
    groupCount: 20,
    userCount: 3,
    systemTokens,
    questionTokens,
    outputTokens: 32,
    boundaries: [systemTokens, systemTokens + questionTokens],
  };
}

/** b2b in small: 20 assistants of 3 users, prompts of 20 KB. All of them take 73 % of four caches. @type {HttpWorkloadOf} */
export function shared({ seed, seconds }) {
  const engine = slowEngine(49_120);
  const shape = assistantShape(engine);
  return { ...assistants(shape, { seed, seconds, perSecond: 14 }), systemTokens: shape.systemTokens, engine };
}

/** As `shared`, of which the four caches hold half. @type {HttpWorkloadOf} */
export function thrash({ seed, seconds }) {
  const engine = slowEngine(18_000);
  const shape = assistantShape(engine);
  return { ...assistants(shape, { seed, seconds, perSecond: 7 }), systemTokens: shape.systemTokens, engine };
}

/** As `shared` at half the rate, and room for somebody else. @type {HttpWorkloadOf} */
export function half({ seed, seconds }) {
  const engine = slowEngine(49_120);
  const shape = assistantShape(engine);
  return { ...assistants(shape, { seed, seconds, perSecond: 7 }), systemTokens: shape.systemTokens, engine };
}

/** What somebody else asks each engine: prompts that come once. @type {HttpWorkloadOf} */
export function strangers({ seed, seconds }) {
  const engine = slowEngine(49_120);
  const shape = { ...assistantShape(engine), groupCount: 1000, userCount: 1 };
  return { ...assistants(shape, { seed, seconds, perSecond: 1.5 }), systemTokens: shape.systemTokens, engine };
}

/**
 * Conversations of seven turns in the mean, whose prompts grow from 12 KB to 50 KB: a later turn sends back what was answered, and
 * comes soon, so that a run ends soon after its last arrival.
 * @type {HttpWorkloadOf}
 */
export function conversations({ seed, seconds }) {
  const engine = slowEngine(80_000);
  const systemTokens = 1024;
  /** @type {import('../workloads/sessions.mjs').SessionShape} */
  const shape = {
    name: 'conversations',
    profile: profileOf(engine),
    systemCount: 4,
    systemTokens,
    contextMax: 14_000,
    first: (draw) => draw.logNormalOf(3000, 1500, 1000, 9000),
    turnCount: (draw) => draw.normalWithin(7, 2, 3, 10),
    next: (draw) => draw.normalWithin(450, 250, 32, 1500),
    output: (draw) => draw.normalWithin(24, 10, 8, 64),
    pauseMs: (draw) => Math.min(1500, draw.exponential(500)),
  };
  return { ...sessions(shape, { seed, seconds, perSecond: 3 }), systemTokens, engine };
}
