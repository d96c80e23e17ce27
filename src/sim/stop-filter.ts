/** Cuts a text that comes in pieces at the first stop string, which is left out. Holds back what may be the start of one. */
export class StopFilter {
  readonly #stops: readonly string[];
  /** A stop string may lie across pieces: this many characters wait for what follows. */
  readonly #heldCountMax: number;
  #held = '';
  #matched: string | null = null;

  constructor(stops: readonly string[]) {
    this.#stops = stops;
    this.#heldCountMax = Math.max(...stops.map((stop) => stop.length)) - 1;
  }

  /** The stop string that was found; nothing passes after it. */
  get matched(): string | null {
    return this.#matched;
  }

  /** What may be shown after one more piece. */
  push(piece: string): string {
    if (this.#matched !== null) return '';
    this.#held += piece;
    let cut = -1;
    for (const stop of this.#stops) {
      const at = this.#held.indexOf(stop);
      if (at !== -1 && (cut === -1 || at < cut)) {
        cut = at;
        this.#matched = stop;
      }
    }
    if (cut === -1) cut = Math.max(0, this.#held.length - this.#heldCountMax);
    const passed = this.#held.slice(0, cut);
    this.#held = this.#matched === null ? this.#held.slice(cut) : '';
    return passed;
  }

  /** What was held back, once no piece follows. */
  rest(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }
}
