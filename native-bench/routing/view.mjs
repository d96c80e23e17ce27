/**
 * What a router knows: the gateway's own prefix index, and a ledger of what it has sent where. Routers that share know the
 * same; one that does not share knows only what went through it.
 */
import { emptyLoads } from '../../dist/pick/index.js';
import { createPrefixMemory, PrefixIndex } from '../../dist/shm/index.js';
import { tokenBytes } from './prompt-keys.mjs';
import { prefillRate } from './profiles.mjs';

/** 8 MiB; twice the blocks of the largest fleet here. */
const slotCount = 2 ** 17;

/**
 * A request on its way.
 * @typedef {object} Flight
 * @property {import('./request.mjs').Spec} spec
 * @property {import('./prompt-keys.mjs').PromptKeys} keys
 * @property {number} atMs arrival
 * @property {number} router
 * @property {number} endpoint
 * @property {number} matchedTokens that the router believed to be there
 * @property {number} uncachedTokens
 * @property {boolean} hasFirstByte
 * @property {number} ttftMs
 * @property {number} hitTokens
 */

export class View {
  #profile;
  #residentTokens;
  #matched;
  index;
  /** @type {import('../../src/pick/kv/kv-policy.ts').KvLoads} */
  loads;

  /** @param {import('./profiles.mjs').Profile} profile @param {number} endpointCount */
  constructor(profile, endpointCount) {
    this.#profile = profile;
    this.#residentTokens = new Float64Array(endpointCount);
    this.#matched = new Int32Array(endpointCount);
    this.index = new PrefixIndex(createPrefixMemory(slotCount, endpointCount, profile.kvTokens * tokenBytes));
    this.loads = emptyLoads(endpointCount);
    this.loads.prefillRate.fill(prefillRate(profile));
  }

  /** Tokens of the prompt that each endpoint is believed to hold; valid until the next call. @param {import('./prompt-keys.mjs').PromptKeys} keys */
  matchedTokens(keys) {
    const matched = this.#matched.fill(0);
    this.index.lookup(keys, matched);
    for (let endpoint = 0; endpoint < matched.length; endpoint++) matched[endpoint] /= tokenBytes;
    return matched;
  }

  /**
   * @param {readonly number[]} polled last known use of each KV cache, 0..1
   * @param {readonly number[]} usedRatios of the tokens of answers a second that each can write
   */
  refresh(polled, usedRatios) {
    this.loads.usedRatio.set(usedRatios);
    for (let endpoint = 0; endpoint < polled.length; endpoint++) {
      const own = this.#residentTokens[endpoint] / this.#profile.kvTokens;
      this.loads.kvUsageRatio[endpoint] = Math.min(1, Math.max(polled[endpoint], own));
    }
  }

  /** Before it is sent, so that those who come next know of it. @param {Flight} flight */
  onDispatch({ keys, endpoint, uncachedTokens }) {
    this.index.insert(keys, endpoint);
    this.loads.pendingTokens[endpoint] += uncachedTokens;
    this.loads.inflight[endpoint]++;
    this.#residentTokens[endpoint] += uncachedTokens;
  }

  /** @param {Flight} flight */
  onFirstByte({ endpoint, uncachedTokens }) {
    this.loads.pendingTokens[endpoint] -= uncachedTokens;
  }

  /** @param {Flight} flight @param {boolean} isWhole */
  onEnd({ spec, keys, endpoint, uncachedTokens, hasFirstByte }, isWhole) {
    if (!hasFirstByte) this.loads.pendingTokens[endpoint] -= uncachedTokens;
    this.loads.inflight[endpoint]--;
    this.#residentTokens[endpoint] -= uncachedTokens;
    if (!isWhole) return;
    // Its blocks can be evicted from now on, the answer's too.
    this.index.insert(keys, endpoint);
    this.index.horizon.useUnnamed(endpoint, spec.outputTokens * tokenBytes);
  }

  /** @param {number} endpoint */
  onRestart(endpoint) {
    this.index.horizon.forget(endpoint);
  }
}
