/**
 * The KV cache of one engine as vLLM keeps it: blocks with reference counts, those of count 0 in a list from the longest
 * unused to the last used, out of which new blocks are taken when no empty ones are left.
 *
 * A block is named by an integer that stands for its tokens and all before them, so a prompt is a list of names and equal
 * names are equal prefixes. Blocks not full yet have no name.
 */
export class KvBlocks {
  /** Reference count + 1; 0 = not in the cache. */
  #state;
  #next;
  #previous;
  /** Ends of the list of unused blocks: names, 0 = none. */
  #oldest = 0;
  #newest = 0;
  #unusedCount = 0;
  #emptyCount;
  #capacity;

  /**
   * @param {number} blockCount that the cache holds
   * @param {number} nameCount names are 1 to this
   */
  constructor(blockCount, nameCount) {
    this.#capacity = blockCount;
    this.#emptyCount = blockCount;
    this.#state = new Int32Array(nameCount + 1);
    this.#next = new Int32Array(nameCount + 1);
    this.#previous = new Int32Array(nameCount + 1);
  }

  get capacity() {
    return this.#capacity;
  }

  /** Blocks that can be had: empty ones, and those nobody uses. */
  get availableCount() {
    return this.#emptyCount + this.#unusedCount;
  }

  /** As vLLM's `kv_cache_usage_perc`: cached blocks that nobody uses are free. */
  get usageRatio() {
    return 1 - this.availableCount / this.#capacity;
  }

  /** @param {number} name */
  isCached(name) {
    return this.#state[name] !== 0;
  }

  /** Cached, and free to be evicted. @param {number} name */
  isUnused(name) {
    return this.#state[name] === 1;
  }

  /** Uses a cached block. @param {number} name */
  use(name) {
    if (this.#state[name] === 1) this.#unlink(name);
    this.#state[name]++;
  }

  /** Takes a block without a name; there must be one. */
  take() {
    if (this.#emptyCount > 0) {
      this.#emptyCount--;
      return;
    }
    const evicted = this.#oldest;
    this.#unlink(evicted);
    this.#state[evicted] = 0;
  }

  /** The nameless block taken before is full. When the cache has it already, that one is used instead. @param {number} name */
  name(name) {
    if (this.isCached(name)) {
      this.#emptyCount++;
      this.use(name);
    } else {
      this.#state[name] = 2;
    }
  }

  /** Gives back a nameless block. */
  drop() {
    this.#emptyCount++;
  }

  /** Gives back a named one; it stays cached until its place is needed. @param {number} name */
  give(name) {
    if (--this.#state[name] !== 1) return;
    this.#previous[name] = this.#newest;
    this.#next[name] = 0;
    if (this.#newest === 0) this.#oldest = name;
    else this.#next[this.#newest] = name;
    this.#newest = name;
    this.#unusedCount++;
  }

  /** @param {number} name */
  #unlink(name) {
    const previous = this.#previous[name];
    const next = this.#next[name];
    if (previous === 0) this.#oldest = next;
    else this.#next[previous] = next;
    if (next === 0) this.#newest = previous;
    else this.#previous[next] = previous;
    this.#unusedCount--;
  }
}
