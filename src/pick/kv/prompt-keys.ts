import { PromptPart, type PromptParts, promptOrder } from '../../http/index.ts';
import type { PrefixKeys } from '../../shm/index.ts';

/** What becomes hot together is told by the first few KiB: the system prompt and the tools of one assistant. */
const rootBytes = 4096;

/**
 * The prompt of one exchange as keys of the prefix index, from its first byte: one for each block, which stands for everything
 * up to its end. Pooled.
 *
 * Blocks were hashed while the body came, when neither the model nor the order of the parts was known; both go in here. Tools
 * and system prompt stand before the turns in what an engine caches, wherever they stand in the body, so the digest of a part
 * goes into the keys of the parts behind it, and its length into their ends.
 */
export class PromptKeys implements PrefixKeys {
  count = 0;
  lows = new Int32Array(0);
  highs = new Int32Array(0);
  ends = new Int32Array(0);
  /** Of the whole prompt, hashed or not, as far as they count. */
  byteCount = 0;
  /** Images and the like in it. */
  encodedCount = 0;
  /** What it was sealed with. */
  secret = 0;
  #chains = new Int32Array(0);
  #homeSeed = 0;

  /** What `parts` found, to be sealed before use. */
  read(parts: PromptParts): void {
    let total = 0;
    for (const part of promptOrder) total += parts.hash(part).blockCount;
    if (total > this.ends.length) this.#grow(total);
    this.count = 0;
    this.byteCount = 0;
    this.encodedCount = 0;
    const settings = parts.hash(PromptPart.settings);
    let saltLow = 0;
    let saltHigh = 0;
    if (settings.blockCount > 0) {
      saltLow = settings.low(settings.blockCount - 1);
      saltHigh = settings.high(settings.blockCount - 1);
    }
    for (const part of promptOrder) {
      const hash = parts.hash(part);
      const { blockCount } = hash;
      // Which part it is counts too: the same text is another prefix as system prompt than as first turn.
      const partLow = mix(saltLow + part);
      const partHigh = mix(saltHigh - part);
      for (let block = 0; block < blockCount; block++) {
        const at = this.count++;
        this.#chains[2 * at] = hash.low(block) ^ partLow;
        this.#chains[2 * at + 1] = hash.high(block) ^ partHigh;
        this.ends[at] = this.byteCount + hash.endOf(block);
      }
      if (blockCount > 0) {
        saltLow = mix(hash.low(blockCount - 1) ^ partLow);
        saltHigh = mix(hash.high(blockCount - 1) ^ partHigh);
      }
      this.byteCount += hash.byteCount;
      this.encodedCount += hash.encodedCount;
    }
  }

  /**
   * Makes the keys those of one model: `seed` is the hash of its name. `secret`: an Int32 that nobody outside knows, so that
   * nobody can aim at a place of the index. What a cold prompt is placed by goes without it: other gateways, and the next
   * process after this one, are to find the same home; who aims at a home meets its load.
   */
  seal(seed: number, secret: number): void {
    this.#homeSeed = seed;
    this.secret = secret;
    const sealed = mix(seed) ^ secret;
    const high = mix(sealed ^ 0x3c6ef372);
    for (let at = 0; at < this.count; at++) {
      const low = mix(this.#chains[2 * at]! ^ sealed);
      // 0 and -1 have a meaning in the index.
      this.lows[at] = low === 0 || low === -1 ? 1 : low;
      this.highs[at] = mix(this.#chains[2 * at + 1]! ^ high);
    }
  }

  /** Names the part that becomes hot together; 0 for a prompt too short to have blocks. */
  get root(): number {
    for (let at = 0; at < this.count; at++) if (this.ends[at]! >= rootBytes) return this.#homeKey(at);
    return this.count === 0 ? 0 : this.#homeKey(this.count - 1);
  }

  /** Names the first block behind `bytes`, what nobody holds when nobody holds more; the root when all is held, or nothing. */
  branch(bytes: number): number {
    if (bytes > 0) for (let at = 0; at < this.count; at++) if (this.ends[at]! > bytes) return this.#homeKey(at);
    return this.root;
  }

  #homeKey(at: number): number {
    return mix(this.#chains[2 * at]! ^ this.#homeSeed);
  }

  #grow(count: number): void {
    const room = Math.max(64, 2 ** Math.ceil(Math.log2(count)));
    this.lows = new Int32Array(room);
    this.highs = new Int32Array(room);
    this.ends = new Int32Array(room);
    this.#chains = new Int32Array(2 * room);
  }
}

/** murmur3's finaliser. */
function mix(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return hash ^ (hash >>> 16);
}
