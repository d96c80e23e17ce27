/** Cuts a body that comes in pieces into SSE events. */
const blankLine = Buffer.from('\n\n');
const nothing = Buffer.alloc(0);

export class EventSplitter {
  /** Bytes of an unfinished event. */
  #rest = nothing;

  /** False after a stream that ended in the middle of an event. */
  get isAtBoundary() {
    return this.#rest.length === 0;
  }

  /**
   * @param {Buffer} bytes borrowed
   * @param {(event: string) => void} onEvent without the blank line that ends it
   */
  push(bytes, onEvent) {
    let rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    for (let at = rest.indexOf(blankLine); at !== -1; at = rest.indexOf(blankLine)) {
      onEvent(rest.toString('utf8', 0, at));
      rest = rest.subarray(at + blankLine.length);
    }
    // A copy: `rest` would keep the whole read alive.
    this.#rest = rest.length === 0 ? nothing : Buffer.from(rest);
  }
}
