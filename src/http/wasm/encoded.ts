/** Which long strings are no text: nested-value.ts counts them as less than their length. */
const BACKSLASH: u32 = 0x5c;

/**
 * An image, a sound or a file is one long string in Base64, megabytes that become about a thousand tokens. So much of it counts as
 * prompt: at 0.27 tokens a byte, where ratios begin, 1,100 tokens.
 */
export const ENCODED_COUNTED: usize = 4096;
/**
 * A string is Base64 when so many bytes of it are, and not of a few kinds only. Prose of that length has a space, and most other
 * text a byte that is no letter.
 */
export const SAMPLE: usize = 64;
const SAMPLE_KINDS: u64 = 12;

/** Whether the bytes before `to` are Base64, of either alphabet, perhaps with escaped slashes and line ends. */
export function isEncoded(to: usize): bool {
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
