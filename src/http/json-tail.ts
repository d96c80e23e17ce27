import { lastUsageObject, mergeUsage, parseUsage } from './usage.ts';
import type { TokenUsage } from './usage.ts';

/** Usage stands near the end of an answer; what engines write behind it (vLLM: a dozen members) is far smaller. */
const tailBytesMax = 8192;

/** Objects under that key that are looked into, from the last: each may be as long as the tail. Answers hold one or two. */
const usageObjectsMax = 16;

const empty = Buffer.alloc(0);

/**
 * Keeps the end of one JSON answer as it passes, to read its token usage afterwards; reused through `reset`.
 * When the length is known nothing is copied before the last 8 KiB.
 */
export class UsageTail {
  /** A ring: byte number `n` of the body lies at `n % tailBytesMax`. Allocated at the first use. */
  #ring: Buffer = empty;
  #seenBytes = 0;
  /** Earlier bytes are not kept. */
  #keepFrom = 0;

  reset(): void {
    this.#seenBytes = 0;
    this.#keepFrom = 0;
  }

  /** The body will be `totalBytes` long (its Content-Length); call before the first `push`. */
  expectTotal(totalBytes: number): void {
    this.#keepFrom = Math.max(0, totalBytes - tailBytesMax);
  }

  /** @hot per chunk. The next piece of the body, bytes [start, end), borrowed for the call. */
  push(bytes: Buffer, start: number, end: number): void {
    const pieceFrom = this.#seenBytes;
    this.#seenBytes += end - start;
    const from = Math.max(pieceFrom, this.#keepFrom, this.#seenBytes - tailBytesMax);
    if (from >= this.#seenBytes) return;
    if (this.#ring.length === 0) this.#ring = Buffer.allocUnsafeSlow(tailBytesMax);
    const copyStart = start + (from - pieceFrom);
    const slot = from % tailBytesMax;
    const copied = bytes.copy(this.#ring, slot, copyStart, end);
    if (copyStart + copied < end) bytes.copy(this.#ring, 0, copyStart + copied, end);
  }

  /** The usage the answer reports about itself; null when the last 8 KiB hold none. Allocates: once, at the end. */
  readUsage(): TokenUsage | null {
    const from = Math.max(this.#keepFrom, this.#seenBytes - tailBytesMax);
    const byteCount = this.#seenBytes - from;
    if (byteCount <= 0) return null;
    const slot = from % tailBytesMax;
    if (slot + byteCount <= tailBytesMax) return usageIn(this.#ring, slot, slot + byteCount);
    const upperBytes = tailBytesMax - slot;
    const tail = Buffer.allocUnsafe(byteCount);
    this.#ring.copy(tail, 0, slot, tailBytesMax);
    this.#ring.copy(tail, upperBytes, 0, byteCount - upperBytes);
    return usageIn(tail, 0, byteCount);
  }
}

function usageIn(bytes: Buffer, start: number, end: number): TokenUsage | null {
  // An object that counts nothing (`{"type":"duration"}`, a tool's own "usage") does not hide an earlier one.
  let before = end;
  for (let count = 0; count < usageObjectsMax; count++) {
    const brace = lastUsageObject(bytes, start, before);
    if (brace === -1) return null;
    const usage = parseUsage(bytes, brace, end);
    if (usage !== null) return mergeUsage(null, usage);
    before = brace;
  }
  return null;
}
