import { metrics } from '../../account/metrics.ts';
import type { Sharing } from './sharing.ts';

/** `sharing` of `GET /status`. */
export interface SharingStatus {
  readonly up: boolean;
  /** Other gateways, heard of within a second. */
  readonly peers: number;
  /** Of the last batch sent; null before the first. */
  readonly lag_ms: number | null;
}

export function sharingStatus(sharing: Sharing | null): SharingStatus | null {
  if (sharing === null) return null;
  const { isUp, peerCount, lagMs } = sharing;
  return { up: isUp, peers: peerCount, lag_ms: lagMs === null ? null : Math.round(lagMs * 10) / 10 };
}

/** What of it is no series. */
export function addSharing(
  sharing: Sharing | null,
  add: (metric: { readonly id: number }, labels: readonly string[], total: number) => void,
): void {
  if (sharing === null) return;
  add(metrics.sharingUp, [], sharing.isUp ? 1 : 0);
  add(metrics.sharingPeers, [], sharing.peerCount);
  const { batches, keys } = sharing.counts;
  for (const [event, count] of Object.entries(batches)) add(metrics.sharingBatches, [event], count);
  for (const [event, count] of Object.entries({ ...keys, lost: sharing.lostCount }))
    add(metrics.sharingKeys, [event], count);
}
