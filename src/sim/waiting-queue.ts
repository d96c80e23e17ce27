/** Waiting sequences: lowest priority value first, then arrival order. A binary heap that can drop a member in O(log n). */
import { assert } from '../core/index.ts';
import type { Sequence } from './sequence.ts';

/** Whether `left` runs before `right`. */
export function isBefore(left: Sequence, right: Sequence): boolean {
  return left.priority !== right.priority ? left.priority < right.priority : left.order < right.order;
}

export class WaitingQueue {
  readonly #heap: Sequence[] = [];

  get count(): number {
    return this.#heap.length;
  }

  peek(): Sequence | undefined {
    return this.#heap[0];
  }

  push(sequence: Sequence): void {
    assert(sequence.queueIndex === -1, 'sequence is queued already');
    this.#heap.push(sequence);
    this.#rise(sequence, this.#heap.length - 1);
  }

  remove(sequence: Sequence): void {
    const index = sequence.queueIndex;
    assert(this.#heap[index] === sequence, 'sequence is not in this queue');
    sequence.queueIndex = -1;
    const last = this.#heap.pop()!;
    if (last === sequence) return;
    this.#sink(last, index);
    this.#rise(last, last.queueIndex);
  }

  /** In heap order, not in run order. */
  values(): Iterable<Sequence> {
    return this.#heap;
  }

  #rise(sequence: Sequence, from: number): void {
    let index = from;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = this.#heap[parentIndex]!;
      if (!isBefore(sequence, parent)) break;
      this.#place(parent, index);
      index = parentIndex;
    }
    this.#place(sequence, index);
  }

  #sink(sequence: Sequence, from: number): void {
    let index = from;
    for (;;) {
      let childIndex = index * 2 + 1;
      if (childIndex >= this.#heap.length) break;
      if (childIndex + 1 < this.#heap.length && isBefore(this.#heap[childIndex + 1]!, this.#heap[childIndex]!)) {
        childIndex++;
      }
      const child = this.#heap[childIndex]!;
      if (!isBefore(child, sequence)) break;
      this.#place(child, index);
      index = childIndex;
    }
    this.#place(sequence, index);
  }

  #place(sequence: Sequence, index: number): void {
    this.#heap[index] = sequence;
    sequence.queueIndex = index;
  }
}
