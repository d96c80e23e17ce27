/**
 * What keys of prompts are made with, 31 bits: the same in all threads, and in all gateways that share. Control changes it when
 * it finds that others have agreed on another; what was sealed before then meets nothing any more.
 */
export class PromptSecret {
  readonly #word: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#word = new Int32Array(memory);
  }

  get value(): number {
    return Atomics.load(this.#word, 0);
  }

  /** Control's. */
  set(value: number): void {
    Atomics.store(this.#word, 0, value);
  }
}
