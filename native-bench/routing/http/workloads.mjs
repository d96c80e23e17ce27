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
    groupCount: 24,
    userCount: 4,
    systemTokens,
    questionTokens,
    outputTokens: 32,
    boundaries: [systemTokens, systemTokens + questionTokens],
  };
}

/** b2b at a seventh: 24 assistants of 4 users, prompts of 20 KB. All of them take 73 % of four caches. @type {HttpWorkloadOf} */
export function shared({ seed, seconds }) {
  const engine = slowEngine(67_200);
  const shape = assistantShape(engine);
  return { ...assistants(shape, { seed, seconds, perSecond: 14 }), systemTokens: shape.systemTokens, engine };
}

/** Agents whose contexts grow from 10 KB to 60 KB: the later turns send back what was answered. @type {HttpWorkloadOf} */
export function conversations({ seed, seconds }) {
  const engine = slowEngine(67_200);
  const systemTokens = 1024;
  /** @type {import('../workloads/sessions.mjs').SessionShape} */
  const shape = {
    name: 'conversations',
    profile: profileOf(engine),
    systemCount: 4,
    systemTokens,
    contextMax: 14_000,
    first: (draw) => draw.logNormalOf(3000, 1500, 1000, 9000),
    turnCount: (draw) => draw.logNormalOf(7, 5, 1, 20),
    next: (draw) => draw.normalWithin(450, 250, 32, 1500),
    output: (draw) => draw.normalWithin(40, 15, 8, 80),
    pauseMs: (draw) => draw.exponential(1500),
  };
  return { ...sessions(shape, { seed, seconds, perSecond: 2 }), systemTokens, engine };
}
