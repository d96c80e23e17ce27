/**
 * One engine that serves as vLLM's v1 scheduler does: a step has a budget of tokens; running sequences take theirs first (a
 * token each, or the next piece of their prompt), then waiting ones in their order, as far as budget, places and blocks
 * allow. All of a step end together. When blocks run out the sequence that came last starts over.
 */
import { KvBlocks } from './kv-blocks.mjs';
import { stepMs } from './profiles.mjs';
import { blockName } from './request.mjs';

/**
 * A request within an engine.
 * @typedef {object} Sequence
 * @property {import('./request.mjs').Spec} spec
 * @property {number} computed tokens whose keys and values are in the cache
 * @property {number} generated tokens of the answer
 * @property {number} target tokens to compute before the next one can be generated
 * @property {number} named full blocks held
 * @property {boolean} hasPartial whether it holds a block that is not full
 * @property {number} hitTokens found in the cache when first scheduled; -1 before that
 * @property {number} scheduled tokens of the step under way
 * @property {number} lookedAt `#freed` when it was last found not to fit
 * @property {unknown} tag the caller's
 */

export class Engine {
  /** @type {Sequence[]} */
  #waiting = [];
  /** @type {Sequence[]} */
  #running = [];
  #blocks;
  #profile;
  #blockTokens;
  #nameCount;
  /** Grows when blocks are given back. */
  #freed = 0;
  #promised;
  preemptionCount = 0;
  stepCount = 0;
  /** Tokens of answers, wrong ones that were started over included. */
  generatedCount = 0;
  busyMs = 0;

  /**
   * @param {import('./profiles.mjs').Profile} profile
   * @param {{ blockTokens: number, nameCount: number, onFirstToken: (tag: any, sequence: Sequence) => void,
   *   onEnd: (tag: any, sequence: Sequence) => void }} options
   */
  constructor(profile, options) {
    this.#profile = profile;
    this.#blockTokens = options.blockTokens;
    this.#nameCount = options.nameCount;
    this.onFirstToken = options.onFirstToken;
    this.onEnd = options.onEnd;
    this.#blocks = this.#empty();
    this.#promised = new Int32Array(options.nameCount + 1);
  }

  get waitingCount() {
    return this.#waiting.length;
  }

  get runningCount() {
    return this.#running.length;
  }

  get kvUsageRatio() {
    return this.#blocks.usageRatio;
  }

  get isIdle() {
    return this.#running.length === 0 && this.#waiting.length === 0;
  }

  /** @param {import('./request.mjs').Spec} spec @param {unknown} tag */
  add(spec, tag) {
    this.#waiting.push({
      spec,
      computed: 0,
      generated: 0,
      target: spec.promptTokens,
      named: 0,
      hasPartial: false,
      hitTokens: -1,
      scheduled: 0,
      lookedAt: -1,
      tag,
    });
    this.#promise(spec, 1);
  }

  /** Tokens of a prompt that are cached, or will be when those before it are computed. @param {import('./request.mjs').Spec} spec */
  heldTokens(spec) {
    const blockCount = Math.floor(spec.promptTokens / this.#blockTokens);
    let held = 0;
    while (held < blockCount) {
      const name = blockName(spec, held);
      if (!this.#blocks.isCached(name) && this.#promised[name] === 0) break;
      held++;
    }
    return held * this.#blockTokens;
  }

  /** Everything is lost; returns the tags of those that were served or waited. */
  restart() {
    const lost = [...this.#running, ...this.#waiting].map(({ tag }) => tag);
    this.#running = [];
    this.#waiting = [];
    this.#blocks = this.#empty();
    this.#promised.fill(0);
    return lost;
  }

  /** Schedules a step and returns how long it takes, in ms; 0 when there is nothing to do. */
  begin() {
    let budget = this.#profile.stepTokensMax;
    let newTokens = 0;
    let newTimesContext = 0;
    let decodeCount = 0;
    let decodeContext = 0;
    /** @param {Sequence} sequence @param {number} tokens */
    const count = (sequence, tokens) => {
      sequence.scheduled = tokens;
      budget -= tokens;
      if (tokens === 1 && sequence.generated > 0) {
        decodeCount++;
        decodeContext += sequence.computed;
      } else {
        newTokens += tokens;
        newTimesContext += tokens * (sequence.computed + tokens / 2);
      }
    };
    let hasPreempted = false;
    for (let index = 0; index < this.#running.length && budget > 0; index++) {
      const sequence = this.#running[index];
      const tokens = Math.min(budget, sequence.target - sequence.computed);
      while (index < this.#running.length && !this.#tryGrow(sequence, sequence.computed + tokens)) {
        this.#preempt();
        hasPreempted = true;
      }
      if (index < this.#running.length) count(sequence, tokens);
    }
    while (
      !hasPreempted &&
      budget > 0 &&
      this.#waiting.length > 0 &&
      this.#running.length < this.#profile.sequencesMax
    ) {
      const sequence = this.#waiting[0];
      if (sequence.lookedAt === this.#freed || !this.#tryAdmit(sequence, budget)) break;
      this.#waiting.shift();
      this.#running.push(sequence);
      count(sequence, sequence.scheduled);
    }
    if (this.#running.length === 0) return 0;
    const ms = stepMs(this.#profile, newTokens, newTimesContext, decodeCount, decodeContext);
    this.stepCount++;
    this.busyMs += ms;
    return ms;
  }

  /** The step is over: prompts that are complete have their next token. */
  end() {
    let kept = 0;
    for (let index = 0; index < this.#running.length; index++) {
      const sequence = this.#running[index];
      sequence.computed += sequence.scheduled;
      const isGenerating = sequence.scheduled > 0 && sequence.computed === sequence.target;
      sequence.scheduled = 0;
      if (isGenerating) {
        sequence.generated++;
        this.generatedCount++;
        sequence.target++;
        if (sequence.generated === 1) {
          this.#promise(sequence.spec, -1);
          this.onFirstToken(sequence.tag, sequence);
        }
      }
      if (isGenerating && sequence.generated >= sequence.spec.outputTokens) {
        this.#release(sequence);
        this.onEnd(sequence.tag, sequence);
      } else {
        this.#running[kept++] = sequence;
      }
    }
    this.#running.length = kept;
  }

  #empty() {
    return new KvBlocks(Math.floor(this.#profile.kvTokens / this.#blockTokens), this.#nameCount);
  }

  /** Prefix reuse is decided now, when it is scheduled. @param {Sequence} sequence @param {number} budget */
  #tryAdmit(sequence, budget) {
    const size = this.#blockTokens;
    // The last token is computed in any case, for its logits.
    const hitBlocksMax = Math.floor((sequence.target - 1) / size);
    let hitBlocks = 0;
    let unusedHits = 0;
    while (hitBlocks < hitBlocksMax) {
      const name = blockName(sequence.spec, hitBlocks);
      if (!this.#blocks.isCached(name)) break;
      if (this.#blocks.isUnused(name)) unusedHits++;
      hitBlocks++;
    }
    const computed = hitBlocks * size;
    const tokens = Math.min(budget, sequence.target - computed);
    if (Math.ceil((computed + tokens) / size) - hitBlocks > this.#blocks.availableCount - unusedHits) {
      sequence.lookedAt = this.#freed;
      return false;
    }
    for (let index = 0; index < hitBlocks; index++) this.#blocks.use(blockName(sequence.spec, index));
    sequence.named = hitBlocks;
    sequence.computed = computed;
    sequence.scheduled = tokens;
    this.#tryGrow(sequence, computed + tokens);
    if (sequence.hitTokens < 0) sequence.hitTokens = sequence.computed;
    return true;
  }

  /** Blocks for `tokens` in all. They can be shared at once, before they are computed. @param {Sequence} sequence @param {number} tokens */
  #tryGrow(sequence, tokens) {
    const blocks = this.#blocks;
    const full = Math.floor(tokens / this.#blockTokens);
    const wanted = Math.ceil(tokens / this.#blockTokens) - sequence.named - (sequence.hasPartial ? 1 : 0);
    if (wanted > blocks.availableCount) return false;
    for (let index = sequence.named; index < full; index++) {
      if (!sequence.hasPartial) blocks.take();
      sequence.hasPartial = false;
      blocks.name(blockName(sequence.spec, index));
    }
    sequence.named = Math.max(sequence.named, full);
    if (tokens > full * this.#blockTokens && !sequence.hasPartial) {
      blocks.take();
      sequence.hasPartial = true;
    }
    return true;
  }

  /** The last one loses its blocks and waits again, before all others; what it has generated is now part of its prompt. */
  #preempt() {
    const sequence = /** @type {Sequence} */ (this.#running.pop());
    this.#release(sequence);
    sequence.computed = 0;
    sequence.scheduled = 0;
    sequence.lookedAt = -1;
    this.#waiting.unshift(sequence);
    this.preemptionCount++;
  }

  /** The tail first, so that it is evicted first. @param {Sequence} sequence */
  #release(sequence) {
    if (sequence.hasPartial) this.#blocks.drop();
    for (let index = sequence.named - 1; index >= 0; index--) this.#blocks.give(blockName(sequence.spec, index));
    sequence.named = 0;
    sequence.hasPartial = false;
    this.#freed++;
  }

  /** @param {import('./request.mjs').Spec} spec @param {1 | -1} change */
  #promise(spec, change) {
    const blockCount = Math.floor(spec.promptTokens / this.#blockTokens);
    for (let index = 0; index < blockCount; index++) this.#promised[blockName(spec, index)] += change;
  }
}
