/**
 * How long a step of an engine takes, and what its KV cache holds:
 *
 *     ms = t0 + a * newTokens + d * sum(new_i * context_i) + c * sum(decodeContext) + b * decodeCount
 *
 * t0 reads the weights, a and d are the compute of prefill and its attention, c reads the KV cache, b is the cost of a
 * sequence. Sources: README.md.
 */

/**
 * @typedef {object} Profile
 * @property {string} name
 * @property {number} t0 ms
 * @property {number} a ms a token
 * @property {number} d ms a token and token of context
 * @property {number} c ms a token of context
 * @property {number} b ms a sequence
 * @property {number} kvTokens
 * @property {number} stepTokensMax `max_num_batched_tokens`
 * @property {number} sequencesMax `max_num_seqs`
 */

/** @type {Record<string, Profile>} */
export const profiles = {
  'qwen3-32b': {
    name: 'Qwen3-32B, TP2, H100',
    t0: 10,
    a: 0.037,
    d: 2.6e-6,
    c: 5.6e-5,
    b: 0.02,
    kvTokens: 307_328,
    stepTokensMax: 8192,
    sequencesMax: 256,
  },
  'llama-70b': {
    name: 'Llama-3.1-70B, TP4, H100',
    t0: 12,
    a: 0.0575,
    d: 1.4e-6,
    c: 3.4e-5,
    b: 0.02,
    kvTokens: 461_376,
    stepTokensMax: 8192,
    sequencesMax: 256,
  },
  'llama-8b': {
    name: 'Llama-3-8B, H100',
    t0: 6,
    a: 0.0195,
    d: 1e-6,
    c: 5.6e-5,
    b: 0.012,
    kvTokens: 500_000,
    stepTokensMax: 8192,
    sequencesMax: 256,
  },
};

/**
 * Milliseconds of one step.
 * @param {Profile} profile
 * @param {number} newTokens of prefill
 * @param {number} newTimesContext sum over prefilling sequences; the context of a chunk is what lies before its middle
 * @param {number} decodeCount
 * @param {number} decodeContext sum over decoding sequences
 */
export function stepMs(profile, newTokens, newTimesContext, decodeCount, decodeContext) {
  const { t0, a, d, c, b } = profile;
  return t0 + a * newTokens + d * newTimesContext + c * decodeContext + b * decodeCount;
}

/** Tokens a second of a step full of prefill: what routers take for the prefill rate. @param {Profile} profile */
export function prefillRate(profile) {
  const tokens = profile.stepTokensMax;
  return (tokens / stepMs(profile, tokens, (tokens * tokens) / 2, 0, 0)) * 1000;
}
