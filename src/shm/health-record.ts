import { assert } from '../core/assert.ts';

/**
 * The layout of the health table. One record of 64 bytes for each (slot of the fleet table, row). Row 0 is the endpoint
 * itself, row 1 the models without a row of their own, the others are named by `Snapshot.modelRows`.
 *
 * | Word         | Index | Unit                       | Writer                                         |
 * | ------------ | ----- | -------------------------- | ---------------------------------------------- |
 * | failures     | 0     | faults in a row            | shards, Atomics                                |
 * | outUntil     | 1     | deciseconds of the Clock   | the shard that wins the compare-exchange       |
 * | ejections    | 2     | ejections, decays          | that same shard                                |
 * | distrust     | 3     | 1 from an ejection to the probe that went well | that same shard; the prober |
 * | prober       | 4     | shard index + 1, 0 = free  | shards, compare-exchange; control reclaims     |
 * | warmFrom     | 5     | deciseconds of the Clock   | the prober; control for an endpoint that came  |
 * | failedModels | 6     | bit set of rows (row 0)    | shards, Atomics                                |
 * | reason       | 7     | Fault of the last ejection | the shard that ejected                         |
 * | ejectedAt    | 8     | deciseconds of the Clock   | the shard that ejected                         |
 * | lastFault    | 9     | Fault                      | shards                                         |
 * | coolUntil    | 10    | deciseconds of the Clock   | shards, compare-exchange                       |
 * | answers      | 11    | good answers, wraps        | shards, Atomics                                |
 * | faults       | 12    | faults, wraps              | shards, Atomics                                |
 * | ttft         | 13    | microseconds, smoothed, 0 = none               | shards, compare-exchange   |
 * | tokenGap     | 14    | microseconds, smoothed, 0 = none: of streams   | shards, compare-exchange   |
 * | answerGap    | 15    | microseconds, smoothed, 0 = none: of answers that came whole | as tokenGap  |
 *
 * The place of the prober names the shard that holds it, so it needs no shadow row to be taken back when that shard died.
 */
export const recordShift = 4; // Words of a record: 1 << 4.
export const rowShift = 4;
/** Rows of an endpoint: itself, `other`, and 14 models by name. A pool with more judges the rest together. */
export const healthRowCount = 1 << rowShift;
export const wholeRow = 0;
export const otherRow = 1;
export const firstModelRow = 2;

/** Words of a record. */
export const Word = {
  failures: 0,
  outUntil: 1,
  ejections: 2,
  distrust: 3,
  prober: 4,
  warmFrom: 5,
  failedModels: 6,
  reason: 7,
  ejectedAt: 8,
  lastFault: 9,
  coolUntil: 10,
  answers: 11,
  faults: 12,
  ttft: 13,
  tokenGap: 14,
  answerGap: 15,
} as const;

/** First word of a record. */
export function recordAt(slot: number, row: number): number {
  assert(row >= 0 && row < healthRowCount, 'row < healthRowCount');
  return ((slot << rowShift) | row) << recordShift;
}

export function healthMemory(endpointCountMax: number): SharedArrayBuffer {
  return new SharedArrayBuffer(endpointCountMax << (rowShift + recordShift + 2));
}
