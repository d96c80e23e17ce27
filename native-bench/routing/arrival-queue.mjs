/** Requests by time: first turns, which are sorted, and later turns in a binary heap. */
export class ArrivalQueue {
  #specs;
  #at = 0;
  /** @type {{ atMs: number, spec: import('./request.mjs').Spec }[]} */
  #later = [];

  /** @param {readonly import('./request.mjs').Spec[]} specs */
  constructor(specs) {
    this.#specs = specs;
  }

  get nextMs() {
    return Math.min(this.#specs[this.#at]?.atMs ?? Infinity, this.#later[0]?.atMs ?? Infinity);
  }

  take() {
    const first = this.#specs[this.#at];
    if (first !== undefined && first.atMs <= (this.#later[0]?.atMs ?? Infinity)) {
      this.#at++;
      return first;
    }
    const heap = this.#later;
    const { spec } = heap[0];
    const last = /** @type {{ atMs: number, spec: import('./request.mjs').Spec }} */ (heap.pop());
    if (heap.length === 0) return spec;
    let hole = 0;
    for (let child = 1; child < heap.length; child = hole * 2 + 1) {
      if (child + 1 < heap.length && heap[child + 1].atMs < heap[child].atMs) child++;
      if (heap[child].atMs >= last.atMs) break;
      heap[hole] = heap[child];
      hole = child;
    }
    heap[hole] = last;
    return spec;
  }

  /** @param {number} atMs @param {import('./request.mjs').Spec} spec */
  add(atMs, spec) {
    const heap = this.#later;
    let hole = heap.push({ atMs, spec }) - 1;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if (heap[parent].atMs <= atMs) break;
      heap[hole] = heap[parent];
      hole = parent;
    }
    heap[hole] = { atMs, spec };
  }
}
