import { isUtf8 } from 'node:buffer';
import { hexDigitValue } from './bytes.ts';

const space = 0x20;
const quote = 0x22;
const backslash = 0x5c;

/**
 * Bytes of a string that are looked at one by one before memchr takes over. A native call costs as much as about 20 steps of
 * the loop (24 against 1.3 ns a byte, Node 20.20), and most strings of a chat body are role names and keys.
 */
const steppedBytes = 24;

/**
 * @hot per chunk. The offset of the quote that ends the string whose content goes on at `at`, or -1 when [at, end) does not
 * hold it. `at` must not lie behind an unpaired backslash; on -1, `endsEscaped` tells whether `end` does.
 */
export function stringEnd(bytes: Buffer, at: number, end: number): number {
  let from = at;
  for (;;) {
    const steppedEnd = from + steppedBytes < end ? from + steppedBytes : end;
    while (from < steppedEnd) {
      const code = bytes[from]!;
      if (code === quote) return from;
      from += code === backslash ? 2 : 1;
    }
    if (from >= end) return -1;
    const found = bytes.indexOf(quote, from);
    if (found === -1 || found >= end) return -1;
    if (!endsEscaped(bytes, from, found)) return found;
    // Behind an escaped quote another is likely near: step again.
    from = found + 1;
  }
}

/** Whether an odd run of backslashes stands before `end`; `start` must not lie behind an unpaired one. */
export function endsEscaped(bytes: Buffer, start: number, end: number): boolean {
  let at = end;
  while (at > start && bytes[at - 1] === backslash) at--;
  return ((end - at) & 1) === 1;
}

/** Offset of the first byte from `start` on that is no white space; `end` when there is none. */
export function afterWhitespace(bytes: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end && bytes[at]! <= space) at++;
  return at;
}

export function hasBackslash(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at] === backslash) return true;
  return false;
}

/** What a character escape stands for, 0 for a byte that makes none. */
const escapes = new Uint8Array(256);
for (const [char, meaning] of ['""', '\\\\', '//', 'b\b', 'f\f', 'n\n', 'r\r', 't\t'] as const) {
  escapes[char!.charCodeAt(0)] = meaning!.charCodeAt(0);
}
/** Stands for any character beyond ASCII that was escaped; no byte of UTF-8. */
const beyondAscii = 0xff;

/**
 * The ASCII text of a short JSON string whose content is bytes [start, end), written to `into`, which is as long. Returns its
 * length, or -1 when a control byte or an escape is wrong. Allocates nothing: a hostile body can hold a million escaped keys,
 * and 3 MB of them took 280 ms through JSON.parse, 60 ms by this (Node 20.20).
 */
export function decodeAscii(bytes: Buffer, start: number, end: number, into: Buffer): number {
  let length = 0;
  for (let at = start; at < end; at++) {
    let code = bytes[at]!;
    if (code < space) return -1;
    if (code === backslash) {
      if (++at === end) return -1;
      code = bytes[at]!;
      if (code === 0x75) {
        if (at + 4 >= end) return -1;
        code = 0;
        for (let digits = 4; digits > 0; digits--) {
          const digit = hexDigitValue[bytes[++at]!]!;
          if (digit === 255) return -1;
          code = code * 16 + digit;
        }
        if (code > 0x7f) code = beyondAscii;
      } else {
        code = escapes[code]!;
        if (code === 0) return -1;
      }
    }
    into[length++] = code;
  }
  return length;
}

/**
 * The text of a JSON string whose content is bytes [start, end), or null when a control byte or an escape is wrong, or the bytes
 * are no UTF-8: lenient readers put U+FFFD there, which makes one name of many, strict ones refuse the document.
 */
export function decodeString(bytes: Buffer, start: number, end: number): string | null {
  for (let at = start; at < end; at++) if (bytes[at]! < space) return null;
  const text = bytes.toString('utf8', start, end);
  if (text.includes('\ufffd') && !isUtf8(bytes.subarray(start, end))) return null;
  if (!hasBackslash(bytes, start, end)) return text;
  try {
    const decoded: unknown = JSON.parse(`"${text}"`);
    return typeof decoded === 'string' ? decoded : null;
  } catch {
    return null;
  }
}
