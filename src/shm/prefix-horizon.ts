/**
 * Which blocks an endpoint's KV cache still holds, judged by when they were last used: LRU without lists.
 *
 * Every endpoint has an epoch, which goes on when a 64th of what the cache holds was used in it. A block keeps the epoch of
 * its last use, a ring sums the sizes of each epoch's blocks, and the horizon is the oldest epoch such that everything from
 * there to now still fits: a block is held as long as its epoch is not behind it. That is LRU's stack distance to a 64th, in
 * O(1). Sizes are in one unit of the caller's choice; blocks differ in size, because they grow with their depth in a prompt.
 *
 * Sums are advisory: threads that race past one another misjudge by a few blocks, until the ring has come round. What is asked
 * for every block is read without Atomics (prefix-index says why): a view that is a moment old is as good.
 *
 * | Word of an endpoint | Unit                                                             |
 * | ------------------- | ---------------------------------------------------------------- |
 * | 0 epoch             | 1 to 2^24 - 1, then 1 again                                      |
 * | 1 depth             | epochs from the horizon to now                                   |
 * | 2 capacity          | size                                                             |
 * | 3 ancient           | size of those within the horizon whose epoch has left the ring   |
 * | 4 tokens            | what the cache holds in tokens; 0 = not known                    |
 * | 5 arrived           | size of all that was new to it, answers too; wraps               |
 * | 6 unnamed           | of these, size of what has no name: answers; wraps               |
 * | 7 unnamed count     | how many they were; wraps                                        |
 * | 16 to 271 ring      | size of those last used in an epoch, by its lowest 8 bits        |
 */
const strideWords = 272;
const epochWord = 0;
const depthWord = 1;
const capacityWord = 2;
const ancientWord = 3;
const tokensWord = 4;
const arrivedWord = 5;
const unnamedWord = 6;
const unnamedCountWord = 7;
const ringWord = 16;
const ringEpochs = 256;

/** Epochs are 24 bits, so that an epoch and an endpoint's index fit a word. */
export const epochMask = 0xff_ffff;
const epochsPerCapacity = 64;
/** Sums of sizes are Int32. */
const capacityMax = 0x3fff_ffff;
/** Bytes of a token of text; what is seen beyond them is of something else, such as images. */
const tokenSizeMin = 1;
const tokenSizeMax = 25;

export function prefixHorizonBytes(endpointCount: number): number {
  return endpointCount * strideWords * 4;
}

export class PrefixHorizon {
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
  }

  /** Called once, by whoever made the memory. `capacity`: what the cache of each endpoint holds. */
  reset(capacity: number, firstEpoch = 1): void {
    for (let at = 0; at < this.#words.length; at += strideWords) {
      Atomics.store(this.#words, at + epochWord, firstEpoch);
      Atomics.store(this.#words, at + capacityWord, capacity);
    }
  }

  setCapacity(endpoint: number, capacity: number): void {
    Atomics.store(this.#words, endpoint * strideWords + capacityWord, capacity);
  }

  /** What the cache holds in tokens, of which each takes `tokenSize` until `fit` knows better. */
  setTokens(endpoint: number, tokens: number, tokenSize: number): void {
    const whole = Math.min(capacityMax, Math.round(tokens));
    if (Atomics.exchange(this.#words, endpoint * strideWords + tokensWord, whole) !== whole)
      this.fit(endpoint, tokenSize);
  }

  /** Text, and how it is written, decides how large a token is: `\u` escapes take six times what Latin letters take. */
  fit(endpoint: number, tokenSize: number): void {
    const tokens = Atomics.load(this.#words, endpoint * strideWords + tokensWord);
    const size = Math.min(tokenSizeMax, Math.max(tokenSizeMin, tokenSize));
    if (tokens > 0) this.setCapacity(endpoint, Math.min(capacityMax, Math.round(tokens * size)));
  }

  capacity(endpoint: number): number {
    return Atomics.load(this.#words, endpoint * strideWords + capacityWord);
  }

  /** What the cache holds in tokens; 0 when nobody has said so. */
  tokens(endpoint: number): number {
    return Atomics.load(this.#words, endpoint * strideWords + tokensWord);
  }

  /** Size of all that was new to the endpoint, by `use` and `useUnnamed`, modulo 2^32: differences of it mean something. */
  arrivedSize(endpoint: number): number {
    return Atomics.load(this.#words, endpoint * strideWords + arrivedWord);
  }

  /** Of it, what came by `useUnnamed`, modulo 2^32. */
  unnamedSize(endpoint: number): number {
    return Atomics.load(this.#words, endpoint * strideWords + unnamedWord);
  }

  /** How many times, modulo 2^32. */
  unnamedCount(endpoint: number): number {
    return Atomics.load(this.#words, endpoint * strideWords + unnamedCountWord);
  }

  /** Size of what the cache is believed to hold. */
  heldSize(endpoint: number): number {
    const at = endpoint * strideWords;
    const epoch = Atomics.load(this.#words, at + epochWord);
    const depth = Atomics.load(this.#words, at + depthWord);
    let sum = Atomics.load(this.#words, at + ancientWord);
    for (let age = 0; age <= depth && age < ringEpochs; age++) sum += this.#ringSize(at, epoch - age);
    return sum;
  }

  /** @hot per block. Whether a block last used in `epoch` is still held. */
  isHeld(endpoint: number, epoch: number): boolean {
    const at = endpoint * strideWords;
    const age = (this.#words[at + epochWord]! - epoch) & epochMask;
    return age <= this.#words[at + depthWord]!;
  }

  /** Epochs since `epoch`. */
  age(endpoint: number, epoch: number): number {
    return (this.#words[endpoint * strideWords + epochWord]! - epoch) & epochMask;
  }

  /**
   * @hot per block. A block of `size`, the same each time, is used now; `lastEpoch` is that of its last use, -1 for a block
   * the endpoint did not hold. Returns the epoch to keep with it.
   */
  use(endpoint: number, lastEpoch: number, size: number): number {
    const words = this.#words;
    const at = endpoint * strideWords;
    const epoch = words[at + epochWord]!;
    if (lastEpoch >= 0) {
      const age = (epoch - lastEpoch) & epochMask;
      if (age === 0) return epoch;
      if (age < ringEpochs) Atomics.sub(words, at + ringWord + (lastEpoch & (ringEpochs - 1)), size);
      else Atomics.sub(words, at + ancientWord, size);
    } else Atomics.add(words, at + arrivedWord, size);
    this.#add(at, epoch, size);
    return epoch;
  }

  /** Something that nobody will look for came into the cache, such as an answer: it pushes others out. */
  useUnnamed(endpoint: number, size: number): void {
    const at = endpoint * strideWords;
    Atomics.add(this.#words, at + arrivedWord, size);
    Atomics.add(this.#words, at + unnamedWord, size);
    Atomics.add(this.#words, at + unnamedCountWord, 1);
    this.pushOut(endpoint, size);
  }

  /** As `useUnnamed`, of what others sent there: it is none of what `arrivedSize` counts. */
  pushOut(endpoint: number, size: number): void {
    const at = endpoint * strideWords;
    const stepSize = this.#epochSize(at);
    // What is more than the cache holds has nothing left to push out.
    const most = Atomics.load(this.#words, at + capacityWord) + stepSize;
    for (let left = Math.min(size, most); left > 0; left -= stepSize) {
      this.#add(at, Atomics.load(this.#words, at + epochWord), Math.min(left, stepSize));
    }
  }

  /** The endpoint holds nothing of what it held: it was restarted, or has cleared its cache. */
  forget(endpoint: number): void {
    const words = this.#words;
    const at = endpoint * strideWords;
    // The horizon first: between the two steps nothing is held, instead of everything.
    Atomics.store(words, at + depthWord, 0);
    let epoch = Atomics.load(words, at + epochWord);
    for (;;) {
      const seen = Atomics.compareExchange(words, at + epochWord, epoch, following(epoch));
      if (seen === epoch) break;
      epoch = seen; // Another thread has begun an epoch: what was used before is to be two behind.
    }
    Atomics.store(words, at + ancientWord, 0);
    for (let index = 0; index < ringEpochs; index++) Atomics.store(words, at + ringWord + index, 0);
  }

  /** The endpoint holds no more than `size`: those used longest ago are gone. */
  trim(endpoint: number, size: number): void {
    const words = this.#words;
    const at = endpoint * strideWords;
    const epoch = Atomics.load(words, at + epochWord);
    const depth = Atomics.load(words, at + depthWord);
    let held = 0;
    let age = 0;
    for (; age <= depth && age < ringEpochs; age++) {
      held += this.#ringSize(at, epoch - age);
      if (held > size) break;
    }
    if (held + Atomics.load(words, at + ancientWord) <= size) return;
    Atomics.store(words, at + ancientWord, 0);
    if (age > 0) Atomics.store(words, at + depthWord, Math.min(depth, age - 1));
    else this.forget(endpoint);
  }

  #epochSize(at: number): number {
    return Math.max(1, Math.floor(this.#words[at + capacityWord]! / epochsPerCapacity));
  }

  #ringSize(at: number, epoch: number): number {
    return Math.max(0, Atomics.load(this.#words, at + ringWord + (epoch & (ringEpochs - 1))));
  }

  #add(at: number, epoch: number, size: number): void {
    const before = Atomics.add(this.#words, at + ringWord + (epoch & (ringEpochs - 1)), size);
    if (before + size >= this.#epochSize(at)) this.#goOn(at, epoch);
  }

  /** The next epoch begins, for the one thread that gets there first, and the horizon follows. */
  #goOn(at: number, epoch: number): void {
    const words = this.#words;
    const next = following(epoch);
    if (Atomics.compareExchange(words, at + epochWord, epoch, next) !== epoch) return;
    const depthBefore = Atomics.load(words, at + depthWord);
    const depth = depthBefore + 1;
    const leaving = Atomics.exchange(words, at + ringWord + (next & (ringEpochs - 1)), 0);
    let ancient = Atomics.load(words, at + ancientWord);
    if (depth >= ringEpochs) ancient = Math.max(0, ancient) + Math.max(0, leaving);
    const capacity = Atomics.load(words, at + capacityWord);
    let held = 0;
    let age = 0;
    for (; age <= depth && age < ringEpochs; age++) {
      held += this.#ringSize(at, next - age);
      if (held > capacity) break;
    }
    // Everything in the ring fits: so do those older than it, or they go all at once, because nothing orders them.
    const isDeep = held <= capacity && depth >= ringEpochs;
    const keepsAncient = isDeep && held + ancient <= capacity;
    Atomics.store(words, at + ancientWord, keepsAncient ? ancient : 0);
    const depthNow = keepsAncient ? depth : Math.max(0, Math.min(depth, age - 1));
    // Not over what another thread has made of it since: what was forgotten meanwhile would be back.
    Atomics.compareExchange(words, at + depthWord, depthBefore, depthNow);
  }
}

/** 0 is no epoch: a word of 0 is none. */
function following(epoch: number): number {
  return epoch === epochMask ? 1 : epoch + 1;
}
