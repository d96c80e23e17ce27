/**
 * Keys of a prompt as the gateway's chained hash gives them: a block of 512 bytes up to 64 KiB, of 2 KiB up to 512 KiB, of
 * 8 KiB behind, and one more wherever a message ends. A token is 4 bytes. A block's name stands for all before it, so it is
 * the hash.
 */
import { mixPair } from '../../dist/pick/index.js';
import { blockName } from './request.mjs';

export const tokenBytes = 4;
/** First part of a prompt, in tokens: about 4 KiB, by which it is placed when nobody knows it. */
const rootTokens = 1024;

/**
 * @typedef {object} PromptKeys
 * @property {number} count
 * @property {Int32Array} lows
 * @property {Int32Array} highs
 * @property {Int32Array} ends bytes
 * @property {number} root
 */

/**
 * @param {import('./request.mjs').Spec} spec
 * @param {number} blockTokens
 * @returns {PromptKeys}
 */
export function keysOf(spec, blockTokens) {
  const ends = new Set();
  for (let end = blockSize(0); end <= spec.promptTokens; end += blockSize(end)) ends.add(end);
  for (const boundary of spec.boundaries) {
    const end = Math.floor(boundary / blockTokens) * blockTokens;
    if (boundary <= spec.promptTokens && end > 0) ends.add(end);
  }
  const sorted = Int32Array.from(ends).sort();
  const count = sorted.length;
  const keys = {
    count,
    lows: new Int32Array(count),
    highs: new Int32Array(count),
    ends: new Int32Array(count),
    root: 0,
  };
  for (let index = 0; index < count; index++) {
    const name = blockName(spec, sorted[index] / blockTokens - 1);
    const low = mixPair(name, 0x5bd1e995) | 0;
    keys.lows[index] = low === 0 || low === -1 ? 1 : low;
    keys.highs[index] = mixPair(name, 0x27d4eb2f);
    keys.ends[index] = sorted[index] * tokenBytes;
    if (sorted[index] <= rootTokens) keys.root = low;
  }
  return keys;
}

/** Tokens of the block that begins at token `at`. @param {number} at */
function blockSize(at) {
  const bytes = at * tokenBytes;
  if (bytes < 65_536) return 512 / tokenBytes;
  return (bytes < 524_288 ? 2048 : 8192) / tokenBytes;
}
