import type { Address } from '../../config/index.ts';
import type { EmptiedCause } from './publisher-track.ts';

/** What control and the thread that reads KV events say to each other. */
export interface PublisherSpec {
  readonly id: number;
  readonly address: Address;
  /** Null: it has none. */
  readonly replayAddress: Address | null;
  /** What topics begin with. */
  readonly topic: string;
}

export type ControlToReader =
  /** Exactly these are followed from now on; a publisher keeps its id, and an id its publisher. */
  | { readonly kind: 'watch'; readonly publishers: readonly PublisherSpec[] }
  /** It is known from elsewhere that their lives have ended. */
  | { readonly kind: 'forget'; readonly ids: readonly number[] };

export type ReaderToControl =
  /** Of those of which there is something new. */
  | { readonly kind: 'reports'; readonly reports: readonly PublisherReport[] }
  /** At once, before the index is asked again. */
  | { readonly kind: 'emptied'; readonly cause: EmptiedCause; readonly report: PublisherReport }
  | { readonly kind: 'said'; readonly id: number; readonly remark: Remark };

/** For the log. */
export interface Remark {
  readonly level: 'debug' | 'info' | 'warn';
  readonly message: string;
  readonly reason?: string;
}

/** One publisher; counts are since it is followed. */
export interface PublisherReport {
  readonly id: number;
  readonly isConnected: boolean;
  /** Why it is not. */
  readonly problem: string | null;
  readonly storedTokens: number;
  readonly removedTokens: number;
  /** Null when it is not known. */
  readonly fillTokens: number | null;
  readonly lowerTokens: number;
  readonly counts: KvEventCounts;
  readonly gaps: number;
  readonly missedBatches: number;
  readonly replays: { readonly complete: number; readonly failed: number };
}

/** Events by kind; `malformed` are messages. */
export interface KvEventCounts {
  readonly stored: number;
  readonly removed: number;
  readonly cleared: number;
  readonly other: number;
  readonly malformed: number;
}

export function silentReport(id: number): PublisherReport {
  return {
    id,
    isConnected: false,
    problem: null,
    storedTokens: 0,
    removedTokens: 0,
    fillTokens: null,
    lowerTokens: 0,
    counts: { stored: 0, removed: 0, cleared: 0, other: 0, malformed: 0 },
    gaps: 0,
    missedBatches: 0,
    replays: { complete: 0, failed: 0 },
  };
}
