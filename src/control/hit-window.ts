/**
 * The share of prompt tokens that an engine had in its prefix cache of late, from its two counters: over the last minute at
 * least, two at most. Two marks are kept, and the older is left when the younger is a minute old.
 */
const windowMs = 60_000;

interface Mark {
  readonly atMs: number;
  readonly tokens: number;
  readonly hitTokens: number;
}

export class HitWindow {
  #older: Mark | null = null;
  #younger: Mark | null = null;
  #last: Mark | null = null;

  note(atMs: number, tokens: number, hitTokens: number): void {
    const mark = { atMs, tokens, hitTokens };
    // Counters that go back are those of another life.
    if (this.#last !== null && tokens < this.#last.tokens) this.#older = this.#younger = null;
    this.#last = mark;
    if (this.#younger !== null && atMs - this.#younger.atMs < windowMs) return;
    this.#older = this.#younger ?? mark;
    this.#younger = mark;
  }

  /** Null when it was asked for nothing meanwhile. */
  get ratio(): number | null {
    const { tokens, hitTokens } = this.#last ?? { tokens: 0, hitTokens: 0 };
    const asked = tokens - (this.#older?.tokens ?? 0);
    return asked <= 0 ? null : Math.min(1, Math.max(0, (hitTokens - this.#older!.hitTokens) / asked));
  }
}
