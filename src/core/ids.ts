import { randomFillSync } from 'node:crypto';

/** Random bytes are drawn 4 KiB at a time, one syscall for 400 ids, and kept as text, of which an id takes slices. */
const pool = Buffer.allocUnsafeSlow(4096);
const digitsOfId = 20;
let poolDigits = '';
let poolOffset = 0;

/** First half of the ids of one millisecond. */
let timeMs = -1;
let timeDigits = '';

/** RFC 9562 section 5.7: 48 bits of Unix milliseconds, 74 random bits. */
export function uuidV7(unixMs: number = Date.now()): string {
  if (poolOffset + digitsOfId > poolDigits.length) {
    randomFillSync(pool);
    poolDigits = pool.toString('hex');
    poolOffset = 0;
  }
  if (unixMs !== timeMs) {
    timeMs = unixMs;
    const digits = unixMs.toString(16).padStart(12, '0');
    timeDigits = `${digits.slice(0, 8)}-${digits.slice(8)}-7`;
  }
  const at = poolOffset;
  poolOffset += digitsOfId;
  const digits = poolDigits;
  // The variant is two bits of a random digit, written as 8, 9, a or b.
  const variant = '89ab'[digits.charCodeAt(at) & 3]!;
  return `${timeDigits}${digits.slice(at + 1, at + 4)}-${variant}${digits.slice(at + 4, at + 7)}-${digits.slice(at + 7, at + 19)}`;
}

/** A client's own id when it is 1 to 128 visible ASCII characters, else null. */
export function requestIdFrom(value: string): string | null {
  if (value.length === 0 || value.length > 128) return null;
  for (let index = 0; index < value.length; index++) {
    const code = value.charCodeAt(index);
    if (code < 0x21 || code > 0x7e) return null;
  }
  return value;
}
