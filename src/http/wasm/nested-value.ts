import { hashCheckpoint, hashPush, hashPushUncounted } from './prefix-hash';

/**
 * Skips one JSON value, checking its syntax: the inside of `messages`, which is nearly all of a 3 MB prompt. This file is
 * AssemblyScript (TypeScript's syntax, WebAssembly's types); src/bootstrap.mjs compiles module.ts, which names it,
 * and ../nested-value.ts is its only caller.
 *
 * Against the same grammar in JavaScript (Node 20.20, json-scanner.bench): 20,000 messages, 3 MB: 3.5 to 0.44 ms; one text
 * with escapes: 1.9 to 0.7 ms. Three things made it fast: quotes and backslashes are found first, 64 bytes at a time, and gone
 * through as a list; the seams between strings are one step; and so is what stands between the texts of two messages, where the
 * same stood there before (`Seams`).
 *
 * Memory: bytes to scan lie where the caller put them, and may be read up to 63 bytes beyond their end. A value under way keeps its state in `stateBytes` bytes:
 *
 * | Offset | Field                                                                                  |
 * | ------ | -------------------------------------------------------------------------------------- |
 * | 0      | i32 expect: what may come next                                                         |
 * | 4      | i32 token: what the last piece ended in                                                |
 * | 8      | i32 depth: brackets open, counted from the document's root                             |
 * | 12     | i32 base: depth around the value                                                       |
 * | 16     | i32 problem: 0, or why the value is not valid                                          |
 * | 20     | i32 isDone                                                                             |
 * | 24     | i32 hash: address of the state of a hash (prefix-hash.ts) the value's bytes go into, 0: none |
 * | 28     | u16 stringBytes: of the string the last piece ended in, bytes that have come, 4096 at most |
 * | 30     | u8 isEncoded: they are Base64                                                          |
 * | 32     | u8 for each depth: 1 where the bracket open there is a brace                           |
 * | 164    | i32 nextSeam: which seam is given up for a new one, times SEAM_BYTES                   |
 * | 168    | seams, SEAM_COUNT of them                                                              |
 *
 * Not checked, as by the caller: the spelling of numbers, literals and escapes, control bytes in strings.
 */
const EXPECT_VALUE: i32 = 0;
const EXPECT_FIRST_VALUE: i32 = 1;
const EXPECT_KEY: i32 = 2;
const EXPECT_FIRST_KEY: i32 = 3;
const EXPECT_COLON: i32 = 4;
const EXPECT_SEPARATOR: i32 = 5;

const TOKEN_NONE: i32 = 0;
const TOKEN_STRING: i32 = 1;
/** A string whose last byte so far is an unpaired backslash. */
const TOKEN_ESCAPE: i32 = 2;
const TOKEN_SCALAR: i32 = 3;

const PROBLEM_SYNTAX: i32 = 1;
const PROBLEM_NESTING: i32 = 2;
const PROBLEM_DEPTH: i32 = 3;

const DEPTH_MAX: i32 = 128;

/**
 * An image, a sound or a file is one long string in Base64, megabytes that become about a thousand tokens. So much of it counts as
 * prompt: at 0.27 tokens a byte, where ratios begin, 1,100 tokens.
 */
const ENCODED_COUNTED: usize = 4096;
/**
 * A string is Base64 when so many bytes of it are, and not of a few kinds only. Prose of that length has a space, and most other
 * text a byte that is no letter.
 */
const SAMPLE: usize = 64;
const SAMPLE_KINDS: u64 = 12;

/**
 * Seams between long texts, by what stands in them: user and assistant in turn have two. Offset 0: u8 length, 0 = none; then
 * u8 hits: quotes and backslashes in it; u8 elementEnd: offset behind the element of a list that ends in it, 0 = none;
 * i32 depth it begins and ends at; u32 kinds of the innermost four brackets there, before and behind it; its text.
 */
const SEAM_COUNT: usize = 4;
const SEAM_HITS: usize = 1;
const SEAM_ELEMENT_END: usize = 2;
const SEAM_DEPTH: usize = 4;
const SEAM_KINDS: usize = 8;
const SEAM_KINDS_BEHIND: usize = 12;
/** Of brackets that are open at its beginning it closes no more, so that what they are is known. */
const SEAM_RISE: i32 = 3;
const SEAM_TEXT: usize = 16;
const SEAM_TEXT_BYTES: usize = 64;
const SEAM_BYTES: usize = SEAM_TEXT + SEAM_TEXT_BYTES;
const SEAM_TURN: usize = 164;
const SEAMS: usize = 168;
/** What is shorter is a role or a name: part of a seam. */
const LONG_TEXT: usize = 24;

const SPACE: u32 = 0x20;
const QUOTE: u32 = 0x22;
const COMMA: u32 = 0x2c;
const COLON: u32 = 0x3a;
const BACKSLASH: u32 = 0x5c;

/**
 * Where `index` keeps the addresses of quotes and backslashes, in order; behind the last one stands NO_HIT. ../scan-memory.ts
 * leaves room for them here, behind its scratch area.
 */
const HITS: usize = 64 * 1024;
const NO_HIT: usize = 0xffffffff;
let firstHit: usize = HITS;

/**
 * To be called once for bytes [0, end) before they are scanned. Finding all hits first, and going through the list then, is
 * faster than looking for each when it is due: the processor need not wait for one to know where to look for the next.
 */
export function index(end: usize): void {
  let to = HITS;
  for (let block: usize = 0; block < end; block += 64) {
    let hits = hitsOf(block);
    if (block + 64 > end) hits &= ((<u64>1) << (<u64>(end - block))) - 1;
    if (hits == 0) continue;
    const count = <usize>popcnt(hits);
    // Four at once without asking: what is too many is written over.
    let at = to;
    do {
      store<u32>(at, <u32>block + <u32>ctz(hits), 0);
      hits &= hits - 1;
      store<u32>(at, <u32>block + <u32>ctz(hits), 4);
      hits &= hits - 1;
      store<u32>(at, <u32>block + <u32>ctz(hits), 8);
      hits &= hits - 1;
      store<u32>(at, <u32>block + <u32>ctz(hits), 12);
      hits &= hits - 1;
      at += 16;
    } while (hits != 0);
    to += count << 2;
  }
  store<u32>(to, 0xffffffff);
  firstHit = HITS;
}

/** Scans [start, end). Returns the address behind the value when it ends there (isDone), else `end`, or that of a problem. */
export function skip(state: usize, start: usize, end: usize): usize {
  let expect = load<i32>(state, 0);
  let token = load<i32>(state, 4);
  let depth = load<i32>(state, 8);
  const base = load<i32>(state, 12);
  const hash = <usize>load<i32>(state, 24);
  /** Depth between the elements of a list that is hashed: the messages of a conversation. */
  const elementDepth = hash != 0 ? base + 1 : -1;
  let hashedTo = start;
  const kinds = state + 32;
  let problem: i32 = 0;
  let isDone: i32 = 0;
  let isObject: bool = load<u8>(kinds + depth) == 1;
  let at = start;
  /** The open bracket is inside an array that belongs to the value. */
  let isInArray: bool = depth - 1 > base && load<u8>(kinds + depth - 1) == 0;
  if (token == TOKEN_ESCAPE) {
    at++;
    token = TOKEN_STRING;
  }
  /** Where the content of the present string begins, or goes on, and how much of it came before. */
  let stringFrom = start;
  let stringBefore = <usize>load<u16>(state, 28);
  let wasEncoded: bool = load<u8>(state, 30) == 1;
  /** Behind the last long text in an object in an array, where the seam to the next one may begin; 0: nowhere. */
  let seamFrom: usize = 0;
  let seamHit: usize = 0;
  let seamDepth: i32 = 0;
  let seamDepthMin: i32 = 0;
  let seamKinds: u32 = 0;
  /** Behind the element that ends in it; 0: none does. */
  let seamElementEnd: usize = 0;
  /** The first hit in the present string. */
  let stringHit: usize = 0;
  /** Where the first hit from `at` on is kept. */
  let next = firstHit;
  while (<usize>load<u32>(next) < at) next += 4;

  while (at < end) {
    if (token == TOKEN_SCALAR) {
      while (at < end && isScalarByte(load<u8>(at))) at++;
      if (at == end) break;
      expect = EXPECT_SEPARATOR;
      token = TOKEN_NONE;
      if (depth == base) {
        isDone = 1;
        break;
      }
    } else if (token != TOKEN_NONE) {
      token = TOKEN_STRING;
      // From hit to hit until one is the closing quote. What follows a backslash is passed over, be it a hit or not.
      while (true) {
        const hit: usize = load<u32>(next);
        if (hit == NO_HIT) {
          if (at < end) at = end;
          break;
        }
        next += 4;
        if (load<u8>(hit) == QUOTE) {
          token = TOKEN_NONE;
          at = hit + 1;
          break;
        }
        at = hit + 2;
        if (<usize>load<u32>(next) == hit + 1) next += 4;
      }
      const stringTo = token == TOKEN_NONE ? at - 1 : end;
      if (hash != 0 && stringBefore + stringTo - stringFrom > ENCODED_COUNTED) {
        // What is too short to tell is as what came before it.
        if (stringTo - stringFrom >= SAMPLE) wasEncoded = isEncoded(stringTo);
      } else wasEncoded = false;
      if (wasEncoded) {
        const counted = stringBefore < ENCODED_COUNTED ? ENCODED_COUNTED - stringBefore : 0;
        hashPush(hash, hashedTo, stringFrom + counted);
        hashPushUncounted(hash, stringFrom + counted, stringTo);
        hashedTo = stringTo;
      }
      if (token != TOKEN_NONE) {
        // One beyond: the last byte was a backslash, and what it escapes is the first byte of the next piece.
        if (at > end) token = TOKEN_ESCAPE;
        at = end;
        break;
      }
      const isKey = expect >= EXPECT_KEY;
      expect = isKey ? EXPECT_COLON : EXPECT_SEPARATOR;
      if (depth == base) {
        isDone = 1;
        break;
      }
      // What follows in an object is mostly another string, behind one of three seams, which are taken in one step.
      if (isObject && isInArray && !isKey && stringBefore + stringTo - stringFrom >= LONG_TEXT) {
        // Objects in arrays in a value are three deep at least.
        const innermost = kinds + depth - SEAM_RISE;
        if (seamFrom != 0 && depth == seamDepth && seamDepthMin >= depth - SEAM_RISE) {
          const learnt = learnSeam(state, seamFrom, stringFrom, (stringHit - seamHit) >> 2, seamElementEnd);
          if (learnt != 0) {
            store<i32>(learnt, depth, SEAM_DEPTH);
            store<u32>(learnt, seamKinds, SEAM_KINDS);
            store<u32>(learnt, load<u32>(innermost), SEAM_KINDS_BEHIND);
          }
        }
        const seam = findSeam(state, at, end, depth, load<u32>(innermost));
        if (seam != 0) {
          store<u32>(innermost, load<u32>(seam, SEAM_KINDS_BEHIND));
          const elementBytes = <usize>load<u8>(seam, SEAM_ELEMENT_END);
          if (elementBytes != 0 && hash != 0) {
            hashPush(hash, hashedTo, at + elementBytes);
            hashCheckpoint(hash);
            hashedTo = at + elementBytes;
          }
          next += (<usize>load<u8>(seam, SEAM_HITS)) << 2;
          at += <usize>load<u8>(seam);
          expect = EXPECT_VALUE;
          token = TOKEN_STRING;
          stringFrom = at;
          stringBefore = 0;
          seamFrom = 0;
          continue;
        }
        seamFrom = at;
        seamHit = next;
        seamDepth = depth;
        seamDepthMin = depth;
        seamKinds = load<u32>(innermost);
        seamElementEnd = 0;
      }
      if (isObject && at + 6 <= end) {
        let behind: usize = 0;
        if (isKey) behind = behindSeam(at, COLON);
        else {
          behind = behindSeam(at, COMMA);
          if (behind == 0 && isInArray) {
            behind = behindObjectSeam(at);
            if (behind != 0 && depth - 1 == elementDepth) {
              hashPush(hash, hashedTo, at + 1);
              hashCheckpoint(hash);
              hashedTo = at + 1;
              // A seam has one element's end or none: of a second one nobody would know.
              if (seamElementEnd != 0) seamFrom = 0;
              seamElementEnd = at + 1;
            }
          }
        }
        if (behind != 0) {
          expect = isKey ? EXPECT_VALUE : EXPECT_KEY;
          token = TOKEN_STRING;
          at = behind;
          stringFrom = at;
          stringBefore = 0;
          next += 4;
          stringHit = next;
          continue;
        }
      }
      if (at == end) break;
    }
    const code: u32 = load<u8>(at);
    if (code == QUOTE) {
      if (expect >= EXPECT_COLON) {
        problem = PROBLEM_SYNTAX;
        break;
      }
      token = TOKEN_STRING;
      at++;
      stringFrom = at;
      stringBefore = 0;
      next += 4;
      stringHit = next;
    } else if (code == COMMA) {
      if (expect != EXPECT_SEPARATOR) {
        problem = PROBLEM_SYNTAX;
        break;
      }
      expect = isObject ? EXPECT_KEY : EXPECT_VALUE;
      at++;
    } else if (code == COLON) {
      if (expect != EXPECT_COLON) {
        problem = PROBLEM_SYNTAX;
        break;
      }
      expect = EXPECT_VALUE;
      at++;
    } else if ((code | 0x20) == 0x7b) {
      // { or [
      if (expect > EXPECT_FIRST_VALUE) {
        problem = PROBLEM_SYNTAX;
        break;
      }
      if (depth == DEPTH_MAX) {
        problem = PROBLEM_DEPTH;
        break;
      }
      depth++;
      isObject = code == 0x7b;
      store<u8>(kinds + depth, isObject ? 1 : 0);
      isInArray = depth - 1 > base && load<u8>(kinds + depth - 1) == 0;
      expect = isObject ? EXPECT_FIRST_KEY : EXPECT_FIRST_VALUE;
      at++;
    } else if ((code | 0x20) == 0x7d) {
      // } or ]
      if (
        depth == base ||
        (expect != EXPECT_SEPARATOR && expect != (isObject ? EXPECT_FIRST_KEY : EXPECT_FIRST_VALUE))
      ) {
        problem = PROBLEM_SYNTAX;
        break;
      }
      if (isObject != (code == 0x7d)) {
        problem = PROBLEM_NESTING;
        break;
      }
      depth--;
      if (depth < seamDepthMin) seamDepthMin = depth;
      isObject = load<u8>(kinds + depth) == 1;
      isInArray = depth - 1 > base && load<u8>(kinds + depth - 1) == 0;
      expect = EXPECT_SEPARATOR;
      at++;
      if (depth == elementDepth && !isObject) {
        hashPush(hash, hashedTo, at);
        hashCheckpoint(hash);
        hashedTo = at;
        if (seamElementEnd != 0) seamFrom = 0;
        seamElementEnd = at;
      }
      if (depth == base) {
        isDone = 1;
        break;
      }
    } else if (code > SPACE) {
      if (expect > EXPECT_FIRST_VALUE || !startsScalar(code)) {
        problem = PROBLEM_SYNTAX;
        break;
      }
      token = TOKEN_SCALAR;
    } else if (code == SPACE || code == 0x0a || code == 0x0d || code == 0x09) {
      at++;
    } else {
      problem = PROBLEM_SYNTAX;
      break;
    }
  }

  if (hash != 0) hashPush(hash, hashedTo, at);
  firstHit = next;
  store<i32>(state, expect, 0);
  store<i32>(state, token, 4);
  store<i32>(state, depth, 8);
  store<i32>(state, problem, 16);
  store<i32>(state, isDone, 20);
  const isInString = token == TOKEN_STRING || token == TOKEN_ESCAPE;
  store<u16>(state, isInString ? <u16>min<usize>(stringBefore + end - stringFrom, ENCODED_COUNTED) : 0, 28);
  store<u8>(state, isInString && wasEncoded ? 1 : 0, 30);
  return at;
}

/** From the end of a text, `},{"role":"user","content":"` and the like, that was scanned once, from the same state to the same. */
function findSeam(state: usize, at: usize, end: usize, depth: i32, kinds: u32): usize {
  let seam = state + SEAMS;
  for (let left = SEAM_COUNT; left > 0; left--) {
    const length = <usize>load<u8>(seam);
    if (
      length != 0 &&
      at + length <= end &&
      load<i32>(seam, SEAM_DEPTH) == depth &&
      load<u32>(seam, SEAM_KINDS) == kinds &&
      areSame(at, seam + SEAM_TEXT, length)
    ) {
      return seam;
    }
    seam += SEAM_BYTES;
  }
  return 0;
}

/** Bytes [from, to) led from behind one text to the next. The seam, or 0 when it is none worth keeping. */
function learnSeam(state: usize, from: usize, to: usize, hits: usize, elementEnd: usize): usize {
  const length = to - from;
  if (length < 16 || length > SEAM_TEXT_BYTES) return 0;
  const turn = load<i32>(state, SEAM_TURN);
  store<i32>(state, turn == <i32>((SEAM_COUNT - 1) * SEAM_BYTES) ? 0 : turn + <i32>SEAM_BYTES, SEAM_TURN);
  const seam = state + SEAMS + <usize>turn;
  store<u8>(seam, <u8>length);
  store<u8>(seam, <u8>hits, SEAM_HITS);
  store<u8>(seam, elementEnd == 0 ? 0 : <u8>(elementEnd - from), SEAM_ELEMENT_END);
  memory.copy(seam + SEAM_TEXT, from, length);
  return seam;
}

/** `length` is 16 at least. */
function areSame(one: usize, other: usize, length: usize): bool {
  for (let at: usize = 0; at + 16 < length; at += 16) {
    if (!i8x16.all_true(i8x16.eq(v128.load(one + at), v128.load(other + at)))) return false;
  }
  const last = length - 16;
  return i8x16.all_true(i8x16.eq(v128.load(one + last), v128.load(other + last)));
}

/** Behind `<code>"` or `<code> "`; 0 when that is not what stands at `at`. */
function behindSeam(at: usize, code: u32): usize {
  if (load<u8>(at) != code) return 0;
  const next = load<u8>(at, 1) == SPACE ? at + 2 : at + 1;
  return load<u8>(next) == QUOTE ? next + 1 : 0;
}

/** Behind `},{"` or `}, {"`; 0 when that is not what stands at `at`. */
function behindObjectSeam(at: usize): usize {
  if (load<u16>(at) != 0x2c7d) return 0;
  const next = load<u8>(at, 2) == SPACE ? at + 3 : at + 2;
  return load<u16>(next) == 0x227b ? next + 2 : 0;
}

/** A bit for each of 64 bytes: quotes and backslashes. */
function hitsOf(block: usize): u64 {
  const quotes = i8x16.splat(<i8>QUOTE);
  const backslashes = i8x16.splat(<i8>BACKSLASH);
  const a = v128.load(block, 0);
  const b = v128.load(block, 16);
  const c = v128.load(block, 32);
  const d = v128.load(block, 48);
  const hitsA = v128.or(i8x16.eq(a, quotes), i8x16.eq(a, backslashes));
  const hitsB = v128.or(i8x16.eq(b, quotes), i8x16.eq(b, backslashes));
  const hitsC = v128.or(i8x16.eq(c, quotes), i8x16.eq(c, backslashes));
  const hitsD = v128.or(i8x16.eq(d, quotes), i8x16.eq(d, backslashes));
  if (!v128.any_true(v128.or(v128.or(hitsA, hitsB), v128.or(hitsC, hitsD)))) return 0;
  const low: u64 = <u32>(i8x16.bitmask(hitsA) | (i8x16.bitmask(hitsB) << 16));
  const high: u64 = <u32>(i8x16.bitmask(hitsC) | (i8x16.bitmask(hitsD) << 16));
  return low | (high << 32);
}

/** Whether the bytes before `to` are Base64, of either alphabet, perhaps with escaped slashes and line ends. */
function isEncoded(to: usize): bool {
  let kinds: u64 = 0;
  for (let at = to - SAMPLE; at < to; at++) {
    const code: u32 = load<u8>(at);
    const isLetter = (code | 0x20) - 0x61 < 26;
    if (
      !isLetter &&
      code - 0x30 >= 10 &&
      code != 0x2b &&
      code != 0x2f &&
      code != 0x3d &&
      code != 0x2d &&
      code != 0x5f
    ) {
      if (code != BACKSLASH) return false;
    }
    kinds |= (<u64>1) << (<u64>(code & 63));
  }
  return popcnt(kinds) >= SAMPLE_KINDS;
}

/** - 0-9 t f n */
function startsScalar(code: u32): bool {
  return code - 0x30 < 10 || code == 0x2d || code == 0x74 || code == 0x66 || code == 0x6e;
}

/** + - . 0-9 a-z E */
function isScalarByte(code: u32): bool {
  return code - 0x30 < 10 || code - 0x61 < 26 || code == 0x2b || code == 0x2d || code == 0x2e || code == 0x45;
}
