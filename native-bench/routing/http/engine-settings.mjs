/**
 * The engines of this bench: flags of `penstock sim`, and the same engine as a profile of the simulation. Both compute a step
 * as `t0 + a * new + d * pairs + c * context + b * sequences` (src/sim/step-time.ts), so what the simulation predicts is what
 * the program has to show.
 *
 * Slow on purpose. A token of prefill takes 0.05 ms and a step at least 20, as a 70B model on two cards, so that the milliseconds
 * which two cores full of processes add are a small part of every figure.
 */
import { simDefaults } from '../../../dist/sim/index.js';

const blockTokens = 16;

/**
 * @typedef {object} EngineSettings
 * @property {number} kvTokens
 * @property {number} prefillTokensPerSecond
 * @property {number} decodeTokensPerSecond of one sequence alone
 * @property {number} stepTokensMax
 */

/** @param {number} kvTokens @returns {EngineSettings} */
export function slowEngine(kvTokens) {
  return { kvTokens, prefillTokensPerSecond: 20_000, decodeTokensPerSecond: 50, stepTokensMax: 2048 };
}

/** @param {EngineSettings} settings */
export function flagsOf({ kvTokens, prefillTokensPerSecond, decodeTokensPerSecond, stepTokensMax }) {
  const flags = {
    'kv-blocks': kvTokens / blockTokens,
    'block-size': blockTokens,
    'prefill-rate': prefillTokensPerSecond,
    'decode-rate': decodeTokensPerSecond,
    'max-batched-tokens': stepTokensMax,
  };
  return Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
}

/** @param {EngineSettings} settings @returns {import('../profiles.mjs').Profile} */
export function profileOf({ kvTokens, prefillTokensPerSecond, decodeTokensPerSecond, stepTokensMax }) {
  return {
    name: 'penstock sim',
    t0: 1000 / decodeTokensPerSecond,
    a: 1000 / prefillTokensPerSecond,
    d: simDefaults.prefillMsPerTokenPair,
    c: simDefaults.decodeMsPerContextToken,
    b: simDefaults.decodeMsPerSequence,
    kvTokens,
    stepTokensMax,
    sequencesMax: simDefaults.maxBatchSize,
  };
}
