/** As many as one request can fail at in a pool: `retries.attempts` is 10 at the most. */
const countMax = 16;

/** Indexes of a pool's endpoints at which a request has failed. Most requests have none, so asking costs a comparison. */
export class TriedEndpoints {
  readonly #indexes = new Int32Array(countMax);
  #count = 0;

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  has(index: number): boolean {
    for (let at = 0; at < this.#count; at++) if (this.#indexes[at] === index) return true;
    return false;
  }

  add(index: number): void {
    if (!this.has(index) && this.#count < countMax) this.#indexes[this.#count++] = index;
  }

  clear(): void {
    this.#count = 0;
  }

  copyFrom(other: TriedEndpoints): void {
    this.#count = other.#count;
    for (let at = 0; at < other.#count; at++) this.#indexes[at] = other.#indexes[at]!;
  }
}
