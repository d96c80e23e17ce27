/**
 * Quotes and backslashes of what is scanned, found before anything else is done with it: nested-value.ts goes by the list of them.
 * AssemblyScript, as all of this folder.
 */
const QUOTE: u32 = 0x22;
const BACKSLASH: u32 = 0x5c;

/**
 * Where `index` keeps the addresses of quotes and backslashes, in order; behind the last one stands NO_HIT. ../scan-memory.ts
 * leaves room for them here, behind its scratch area.
 */
const HITS: usize = 64 * 1024;
export const NO_HIT: usize = 0xffffffff;
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

/** Where the first hit is kept that was not gone past. */
export function hitToGoOnAt(): usize {
  return firstHit;
}

export function goOnAtHit(hit: usize): void {
  firstHit = hit;
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
