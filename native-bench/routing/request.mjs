/**
 * One request. Its blocks are named by `chain`, which requests of one conversation share and of which this one reaches as
 * far as `chainCount`, and from there on by consecutive names from `ownName`: what nobody else will ever send.
 *
 * @typedef {object} Spec
 * @property {number} atMs arrival, or for a later turn the pause after the turn before it
 * @property {number} promptTokens
 * @property {number} outputTokens
 * @property {Int32Array} chain
 * @property {number} chainCount
 * @property {number} ownName
 * @property {readonly number[]} boundaries tokens at which prompts of the conversation end
 * @property {Spec | null} following the next turn
 */

/**
 * Name of block `index` of prompt and answer.
 * @param {Spec} spec
 * @param {number} index
 */
export function blockName(spec, index) {
  return index < spec.chainCount ? spec.chain[index] : spec.ownName + index - spec.chainCount;
}

/** Hands out names. */
export class Names {
  #next = 1;

  /** The first of `count` consecutive ones. @param {number} count */
  take(count) {
    const first = this.#next;
    this.#next += count;
    return first;
  }

  get count() {
    return this.#next - 1;
  }
}
