/** What stands between the strings of a document: nested-value.ts takes it in one step where it can. */
const SPACE: u32 = 0x20;
const QUOTE: u32 = 0x22;

/**
 * Seams between long texts, by what stands in them: user and assistant in turn have two. Offset 0: u8 length, 0 = none; then
 * u8 hits: quotes and backslashes in it; u8 elementEnd: offset behind the element of a list that ends in it, 0 = none;
 * i32 depth it begins and ends at; u32 kinds of the innermost four brackets there, before and behind it; its text.
 */
const SEAM_COUNT: usize = 4;
export const SEAM_HITS: usize = 1;
export const SEAM_ELEMENT_END: usize = 2;
const SEAM_DEPTH: usize = 4;
const SEAM_KINDS: usize = 8;
export const SEAM_KINDS_BEHIND: usize = 12;
/** Of brackets that are open at its beginning it closes no more, so that what they are is known. */
export const SEAM_RISE: i32 = 3;
const SEAM_TEXT: usize = 16;
const SEAM_TEXT_BYTES: usize = 64;
const SEAM_BYTES: usize = SEAM_TEXT + SEAM_TEXT_BYTES;
const SEAM_TURN: usize = 164;
const SEAMS: usize = 168;
/** What is shorter is a role or a name: part of a seam. */
export const LONG_TEXT: usize = 24;

/** From the end of a text, `},{"role":"user","content":"` and the like, that was scanned once, from the same state to the same. */
export function findSeam(state: usize, at: usize, end: usize, depth: i32, kinds: u32): usize {
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

/**
 * Bytes [from, to) led from behind one text to the next, both `depth` deep; `hits` quotes and backslashes are in them. Kept for
 * next time, if they are of a length worth it.
 */
export function learnSeam(
  state: usize,
  from: usize,
  to: usize,
  hits: usize,
  elementEnd: usize,
  depth: i32,
  kinds: u32,
  kindsBehind: u32,
): void {
  const length = to - from;
  if (length < 16 || length > SEAM_TEXT_BYTES) return;
  const turn = load<i32>(state, SEAM_TURN);
  store<i32>(state, turn == <i32>((SEAM_COUNT - 1) * SEAM_BYTES) ? 0 : turn + <i32>SEAM_BYTES, SEAM_TURN);
  const seam = state + SEAMS + <usize>turn;
  store<u8>(seam, <u8>length);
  store<u8>(seam, <u8>hits, SEAM_HITS);
  store<u8>(seam, elementEnd == 0 ? 0 : <u8>(elementEnd - from), SEAM_ELEMENT_END);
  store<i32>(seam, depth, SEAM_DEPTH);
  store<u32>(seam, kinds, SEAM_KINDS);
  store<u32>(seam, kindsBehind, SEAM_KINDS_BEHIND);
  memory.copy(seam + SEAM_TEXT, from, length);
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
export function behindSeam(at: usize, code: u32): usize {
  if (load<u8>(at) != code) return 0;
  const next = load<u8>(at, 1) == SPACE ? at + 2 : at + 1;
  return load<u8>(next) == QUOTE ? next + 1 : 0;
}

/** Behind `},{"` or `}, {"`; 0 when that is not what stands at `at`. */
export function behindObjectSeam(at: usize): usize {
  if (load<u16>(at) != 0x2c7d) return 0;
  const next = load<u8>(at, 2) == SPACE ? at + 3 : at + 2;
  return load<u16>(next) == 0x227b ? next + 2 : 0;
}
