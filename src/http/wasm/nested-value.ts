import { ENCODED_COUNTED, isEncoded, SAMPLE } from './encoded';
import { goOnAtHit, hitToGoOnAt, NO_HIT } from './hits';
import { hashCheckpoint, hashEncoded, hashPush, hashPushUncounted } from './prefix-hash';
import {
  behindObjectSeam,
  behindSeam,
  findSeam,
  learnSeam,
  LONG_TEXT,
  SEAM_ELEMENT_END,
  SEAM_HITS,
  SEAM_KINDS_BEHIND,
  SEAM_RISE,
} from './seams';

/**
 * Skips one JSON value, checking its syntax: the inside of `messages`, which is nearly all of a 3 MB prompt. This file is
 * AssemblyScript (TypeScript's syntax, WebAssembly's types); src/bootstrap.mjs compiles module.ts, which names it,
 * and ../nested-value.ts is its only caller.
 *
 * Against the same grammar in JavaScript (Node 20.20, json-scanner.bench): 20,000 messages, 3 MB: 3.5 to 0.44 ms; one text
 * with escapes: 1.9 to 0.7 ms. Three things made it fast: quotes and backslashes are found first, 64 bytes at a time, and gone
 * through as a list (hits.ts); the seams between strings are one step; and so is what stands between the texts of two messages, where the
 * same stood there before (seams.ts).
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

const SPACE: u32 = 0x20;
const QUOTE: u32 = 0x22;
const COMMA: u32 = 0x2c;
const COLON: u32 = 0x3a;

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
  let next = hitToGoOnAt();
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
        if (token == TOKEN_NONE) hashEncoded(hash);
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
      // From one text to the next as from an earlier one.
      if (isObject && isInArray && !isKey && stringBefore + stringTo - stringFrom >= LONG_TEXT) {
        // Objects in arrays in a value are three deep at least.
        const innermost = kinds + depth - SEAM_RISE;
        if (seamFrom != 0 && depth == seamDepth && seamDepthMin >= depth - SEAM_RISE) {
          const hits = (stringHit - seamHit) >> 2;
          learnSeam(state, seamFrom, stringFrom, hits, seamElementEnd, depth, seamKinds, load<u32>(innermost));
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
      // What follows in an object is mostly another string, behind one of three seams, which are taken in one step.
      if (isObject && at + 6 <= end) {
        let behind: usize = 0;
        if (isKey) behind = behindSeam(at, COLON);
        else {
          behind = behindSeam(at, COMMA);
          if (behind == 0 && isInArray) {
            behind = behindObjectSeam(at);
            // It closes a bracket too, and opens one like it.
            if (behind != 0 && depth - 1 < seamDepthMin) seamDepthMin = depth - 1;
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
  goOnAtHit(next);
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

/** - 0-9 t f n */
function startsScalar(code: u32): bool {
  return code - 0x30 < 10 || code == 0x2d || code == 0x74 || code == 0x66 || code == 0x6e;
}

/** + - . 0-9 a-z E */
function isScalarByte(code: u32): bool {
  return code - 0x30 < 10 || code - 0x61 < 26 || code == 0x2b || code == 0x2d || code == 0x2e || code == 0x45;
}
