/**
 * Totals that every shard changes, each beside rows in which a shard alone says what part of a total is its own. The sum of
 * the rows is what is really held; a total that stays above it has lost a release, and would starve what it bounds for ever.
 */
export interface SharedCounts {
  /** Number of totals. */
  readonly countCount: number;
  /**
   * Fills `out` (one a total) with the total less the sum of its rows. A take or a give that is half done while this reads
   * shows here for a moment: only what stays is lost.
   */
  readSurplus(out: Int32Array): void;
  /** Control: `surplus` off the total, however it changes meanwhile. */
  takeOff(index: number, surplus: number): void;
  /** For the log. */
  describeCount(index: number): Record<string, string | number>;
}
