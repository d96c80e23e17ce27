/** What became of batches and of keys (blocks of prompts) since the start; the words are label values of the metrics. */
export interface SharingCounts {
  readonly batches: { sent: number; received: number; failed: number; malformed: number };
  readonly keys: { sent: number; received: number; dropped: number; unknown: number; stale: number };
}

export function emptyCounts(): SharingCounts {
  return {
    batches: { sent: 0, received: 0, failed: 0, malformed: 0 },
    keys: { sent: 0, received: 0, dropped: 0, unknown: 0, stale: 0 },
  };
}
