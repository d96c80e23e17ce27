import { countTokens, setMergeCacheSize } from 'gpt-tokenizer/encoding/o200k_base';

/**
 * Token counts by byte-pair encoding, in bounded time.
 *
 * The encoder's time grows with the square of a run that its pattern keeps in one piece: 100 KB of the letter a take 5 s. So a
 * run without white space, or of only white space, is cut every 256 characters, which makes 1 MB of it 20 ms. It leaves
 * prose and code exact, and adds 0.1 % to base64 and Chinese and 0.4 % to JSON without a single space.
 */
export const runCharsMax = 256;
/**
 * Text is encoded in slices of about this many characters, to look at the clock between them. A slice ends before a space that
 * follows something else, where a token cannot straddle the cut (no alternative of the o200k pattern goes on into a
 * space), so the count stays exact; text without such a place is cut at the double.
 */
const sliceCharsWanted = 32 * 1024;

/** Entries of the encoder's cache of merged words; its default of 100 000 would be tens of megabytes a thread. */
const mergeCacheEntriesMax = 1000;
setMergeCacheSize(mergeCacheEntriesMax);

/** `<|endoftext|>` in a prompt is text like any other; the library would throw. */
const plainText = { disallowedSpecial: new Set<string>() };

const isWhiteAscii = new Uint8Array(128);
for (const code of [0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20]) isWhiteAscii[code] = 1;
const whiteBeyondAscii = /\s/;

/** Tokens of `text` in o200k_base, or -1 when `deadlineMs` (of performance.now) went by. */
export function countTextTokens(text: string, deadlineMs: number): number {
  let tokens = 0;
  let sliceStart = 0;
  let runStart = 0;
  let wasWhite = false;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    const isWhite = code < 128 ? isWhiteAscii[code] === 1 : whiteBeyondAscii.test(text[index]!);
    if (isWhite !== wasWhite) {
      wasWhite = isWhite;
      runStart = index;
    }
    const sliceChars = index - sliceStart;
    const isSliceEnd =
      sliceChars >= sliceCharsWanted && ((code === 0x20 && runStart === index) || sliceChars >= sliceCharsWanted * 2);
    if ((!isSliceEnd && index - runStart < runCharsMax) || isLowSurrogate(code)) continue;
    tokens += countTokens(text.slice(sliceStart, index), plainText);
    if (performance.now() > deadlineMs) return -1;
    sliceStart = index;
    runStart = index;
  }
  return tokens + countTokens(text.slice(sliceStart), plainText);
}

/** The second half of a pair must not be cut off; the cut comes one character later. */
function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff;
}
