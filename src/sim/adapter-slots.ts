/**
 * The LoRA adapters in the engine's memory, at most `max_loras`: one that is asked for takes the place of the one not used for
 * longest that nobody runs with, as vLLM's `LRUCacheWorkerLoRAManager` does. While all places run, requests for another one
 * wait, and those behind them go first.
 */
export class AdapterSlots {
  readonly #countMax: number;
  /** Least recently used first. */
  readonly #loaded = new Set<string>();
  /** So far. */
  loadCount = 0;

  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  get loaded(): Iterable<string> {
    return this.#loaded;
  }

  /** For a sequence that is admitted now. `running`: adapters of those that run. True: it has to be loaded. Null: there is no place. */
  tryUse(adapter: string, running: ReadonlySet<string>): boolean | null {
    const isLoaded = this.#loaded.delete(adapter);
    if (!isLoaded && this.#loaded.size >= this.#countMax) {
      const idle = this.#firstIdle(running);
      if (idle === null) return null;
      this.#loaded.delete(idle);
    }
    this.#loaded.add(adapter);
    if (!isLoaded) this.loadCount++;
    return !isLoaded;
  }

  forget(adapter: string): void {
    this.#loaded.delete(adapter);
  }

  #firstIdle(running: ReadonlySet<string>): string | null {
    for (const adapter of this.#loaded) if (!running.has(adapter)) return adapter;
    return null;
  }
}
