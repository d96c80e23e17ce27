import { randomFillSync } from 'node:crypto';

/** Random bytes are drawn 4 KiB at a time: one syscall for 400 ids. */
const pool = new Uint8Array(4096);
let poolOffset = pool.length;

const hex: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** RFC 9562 section 5.7: 48 bits of Unix milliseconds, 74 random bits. */
export function uuidV7(unixMs: number = Date.now()): string {
  if (poolOffset + 10 > pool.length) {
    randomFillSync(pool);
    poolOffset = 0;
  }
  const at = poolOffset;
  poolOffset += 10;
  const high = Math.floor(unixMs / 0x10000);
  const low = unixMs % 0x10000;
  return (
    hex[(high >>> 24) & 255]! +
    hex[(high >>> 16) & 255]! +
    hex[(high >>> 8) & 255]! +
    hex[high & 255]! +
    '-' +
    hex[(low >>> 8) & 255]! +
    hex[low & 255]! +
    '-' +
    hex[0x70 | (pool[at]! & 15)]! +
    hex[pool[at + 1]!]! +
    '-' +
    hex[0x80 | (pool[at + 2]! & 63)]! +
    hex[pool[at + 3]!]! +
    '-' +
    hex[pool[at + 4]!]! +
    hex[pool[at + 5]!]! +
    hex[pool[at + 6]!]! +
    hex[pool[at + 7]!]! +
    hex[pool[at + 8]!]! +
    hex[pool[at + 9]!]!
  );
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
