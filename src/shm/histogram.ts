/**
 * Log-linear histogram: a bucket for each integer below 32, then 32 buckets in every power of two up to 2^42 (51 days in
 * microseconds, 4 TiB in bytes). A bucket is at most 3.2 % wide, merging is adding arrays, and there is nothing to
 * configure, so every histogram of every thread has the same shape.
 *
 * Counts are Float64: a Uint32 would wrap after half a day of 100 000 tokens a second, and costs the same.
 */
const mantissaBits = 5;
const mantissaCount = 1 << mantissaBits;
const exponentEnd = 42;
/** Values from here on are counted as just below it. */
export const valueEnd = 2 ** exponentEnd;
const int32End = 2 ** 32;

export const bucketCount = (exponentEnd - mantissaBits + 1) * mantissaCount;

/**
 * @hot per chunk. Fractions are cut off; below 0 and NaN count as 0, beyond 2^42 as the last bucket: a bad clock reading
 * must not stop a shard.
 */
export function bucketIndex(value: number): number {
  if (value < int32End) {
    if (!(value >= mantissaCount)) return value >= 1 ? value | 0 : 0;
    const shift = 31 - mantissaBits - Math.clz32(value);
    return (shift << mantissaBits) + (value >>> shift);
  }
  // clz32 sees 32 bits: drop 16 by division, and add them to the exponent again.
  if (value < valueEnd) return bucketIndex(Math.floor(value / 65536)) + 16 * mantissaCount;
  return value >= valueEnd ? bucketCount - 1 : 0;
}

/** The largest integer that falls into the bucket. */
export function bucketUpperBound(index: number): number {
  if (index < mantissaCount) return index;
  const shift = (index >> mantissaBits) - 1;
  return (mantissaCount + (index & (mantissaCount - 1)) + 1) * 2 ** shift - 1;
}

/** The value (upper bound of its bucket) that `ratio` (0..1) of all recorded values do not exceed; 0 when there are none. */
export function percentile(counts: Float64Array, ratio: number): number {
  let total = 0;
  for (const count of counts) total += count;
  if (total === 0) return 0;
  const wanted = Math.max(1, Math.ceil(ratio * total));
  let seen = 0;
  for (let index = 0; index < counts.length; index++) {
    seen += counts[index]!;
    if (seen >= wanted) return bucketUpperBound(index);
  }
  return bucketUpperBound(counts.length - 1);
}
