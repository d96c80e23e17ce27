/**
 * Chained hash of a prompt's bytes, for routing by KV cache: the value of block i covers all bytes from the start to the end
 * of block i, so one look-up answers "who has this whole prefix". AssemblyScript, as nested-value.ts.
 *
 * Two 32-bit lanes of MurmurHash3's kind over words of 8 bytes; at the end of a block both are finalised, stored, and
 * carried on. Not cryptographic: a collision sends a request to the wrong endpoint, never a wrong answer; the secret that
 * keeps others from aiming at one is mixed in by the caller, afterwards, because `model` may stand behind the messages.
 *
 * State, `stateBytes` long:
 *
 * | Offset | Field                                                               |
 * | ------ | ------------------------------------------------------------------- |
 * | 0      | i32 h1, 4: i32 h2                                                   |
 * | 8      | i32 offset: bytes hashed, those of `pending` included               |
 * | 12     | i32 blockBytes: of those, bytes in the open block                   |
 * | 16     | i32 blockSize: where the open block ends                            |
 * | 20     | i32 count: blocks closed                                            |
 * | 24     | u64 pending: the bytes of a word that is not complete, 0 above them |
 * | 32     | i32 countMax: blocks there is room for; behind the last nothing is hashed |
 * | 36     | i32 uncounted: of the offset, bytes that are hashed but do not count |
 * | 40     | i32 encoded: strings in Base64, of which only so much counts        |
 * | 48     | for each closed block: i32 h1, i32 h2, i32 offset of its end, in bytes that count |
 */
const C1: u32 = 0x239b961b;
const C2: u32 = 0xab0e9789;
const C3: u32 = 0x38b34ae5;
const C4: u32 = 0xa1e38b93;
const N1: u32 = 0x561ccd1b;
const N2: u32 = 0x0bcaa747;
const PHI: u32 = 0x9e3779b1;

/** While bytes come that do not count: the offset at which they began. */
const NOT_NOW: i32 = -1;
let uncountedFrom: i32 = NOT_NOW;

const BLOCKS: usize = 48;
const BLOCK_RECORD_BYTES: usize = 12;

/** Finer where prompts usually part; from 128 KiB on at most 1.6 % of what lies before. 3 MiB of one text have 544 blocks. */
function blockSizeAt(offset: i32): i32 {
  if (offset < 0x10000) return 512;
  if (offset < 0x80000) return 2048;
  return offset < 0x100000 ? 8192 : 16384;
}

export function hashReset(state: usize, countMax: i32): void {
  store<i32>(state, 0x70656e73, 0);
  store<i32>(state, 0x746f636b, 4);
  store<i32>(state, 0, 8);
  store<i32>(state, 0, 12);
  store<i32>(state, blockSizeAt(0), 16);
  store<i32>(state, 0, 20);
  store<u64>(state, 0, 24);
  store<i32>(state, countMax, 32);
  store<i32>(state, 0, 36);
  store<i32>(state, 0, 40);
}

/** A string of which only the beginning counted is over. */
export function hashEncoded(state: usize): void {
  store<i32>(state, load<i32>(state, 40) + 1, 40);
}

/** As hashPush, of bytes that make blocks and keys like any others, but no prompt longer. */
export function hashPushUncounted(state: usize, start: usize, end: usize): void {
  uncountedFrom = load<i32>(state, 8);
  hashPush(state, start, end);
  store<i32>(state, load<i32>(state, 36) + load<i32>(state, 8) - uncountedFrom, 36);
  uncountedFrom = NOT_NOW;
}

/** Hashes [start, end). */
export function hashPush(state: usize, start: usize, end: usize): void {
  if (load<i32>(state, 20) >= load<i32>(state, 32)) return;
  let at = start;
  let blockBytes = load<i32>(state, 12);
  let offset = load<i32>(state, 8);
  // Bytes up to the next whole word of the block.
  let pending = load<u64>(state, 24);
  while (at < end && (blockBytes & 7) != 0) {
    pending |= (<u64>load<u8>(at)) << ((<u64>(blockBytes & 7)) << 3);
    at++;
    blockBytes++;
    offset++;
    if ((blockBytes & 7) == 0) {
      mix(state, pending);
      pending = 0;
    }
  }
  let blockSize = load<i32>(state, 16);
  while (true) {
    if (blockBytes == blockSize) {
      close(state, blockBytes, offset);
      if (load<i32>(state, 20) >= load<i32>(state, 32)) return;
      blockBytes = 0;
      blockSize = load<i32>(state, 16);
    }
    if (at + 8 > end) break;
    let h1: u32 = load<u32>(state, 0);
    let h2: u32 = load<u32>(state, 4);
    const room: usize = blockSize - blockBytes;
    const stop = at + (min<usize>(room, end - at) & ~7);
    const from = at;
    for (; at < stop; at += 8) {
      h1 = lane1(h1, load<u32>(at, 0));
      h2 = lane2(h2, h1, load<u32>(at, 4));
    }
    store<u32>(state, h1, 0);
    store<u32>(state, h2, 4);
    blockBytes += <i32>(at - from);
    offset += <i32>(at - from);
  }
  while (at < end) {
    pending |= (<u64>load<u8>(at)) << ((<u64>(blockBytes & 7)) << 3);
    at++;
    blockBytes++;
    offset++;
  }
  store<i32>(state, offset, 8);
  store<i32>(state, blockBytes, 12);
  store<u64>(state, pending, 24);
}

/**
 * A place where conversations continue, the end of a message: closes the open block here, so that the next turn finds all
 * of this one. Not a block shorter than four fifths of its size: however short the messages, 3 MiB of them have no more than
 * 680 blocks, each a place in the index and a look-up; and what the next turn does not find is less than one block.
 */
export function hashCheckpoint(state: usize): void {
  const blockBytes = load<i32>(state, 12);
  if (blockBytes * 5 < load<i32>(state, 16) * 4) return;
  hashFinish(state);
}

/** Nothing follows: closes the open block whatever its size, unless it is empty. */
export function hashFinish(state: usize): void {
  const blockBytes = load<i32>(state, 12);
  if (blockBytes == 0 || load<i32>(state, 20) >= load<i32>(state, 32)) return;
  if ((blockBytes & 7) != 0) mix(state, load<u64>(state, 24));
  close(state, blockBytes, load<i32>(state, 8));
  store<i32>(state, 0, 12);
  store<u64>(state, 0, 24);
}

function lane1(h1: u32, word: u32): u32 {
  return rotl<u32>(h1 ^ (rotl<u32>(word * C1, 15) * C2), 13) * 5 + N1;
}

function lane2(h2: u32, h1: u32, word: u32): u32 {
  return rotl<u32>(h2 ^ (rotl<u32>(word * C3, 16) * C4), 17) * 5 + N2 + h1;
}

function mix(state: usize, word: u64): void {
  const h1 = lane1(load<u32>(state, 0), <u32>word);
  store<u32>(state, h1, 0);
  store<u32>(state, lane2(load<u32>(state, 4), h1, <u32>(word >> 32)), 4);
}

/** The length goes in too: a padded word and one with zeroes at its end are not the same bytes. */
function close(state: usize, blockBytes: i32, offset: i32): void {
  const h1 = load<u32>(state, 0) ^ <u32>blockBytes;
  const h2 = load<u32>(state, 4);
  const a = finalise(h1 ^ rotl<u32>(h2, 1), 0x85ebca6b, 0xc2b2ae35);
  const b = finalise(h2 ^ (h1 * PHI), 0x7feb352d, 0x846ca68b);
  const count = load<i32>(state, 20);
  const record = state + BLOCKS + <usize>count * BLOCK_RECORD_BYTES;
  store<u32>(record, a, 0);
  store<u32>(record, b, 4);
  store<i32>(record, (uncountedFrom == NOT_NOW ? offset : uncountedFrom) - load<i32>(state, 36), 8);
  store<u32>(state, a, 0);
  store<u32>(state, b, 4);
  store<i32>(state, blockSizeAt(offset), 16);
  store<i32>(state, count + 1, 20);
}

function finalise(value: u32, first: u32, second: u32): u32 {
  let hash = value;
  hash = (hash ^ (hash >>> 16)) * first;
  hash = (hash ^ (hash >>> 13)) * second;
  return hash ^ (hash >>> 16);
}
