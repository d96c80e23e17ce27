import type { BatchTally } from './event-batch.ts';

/**
 * What is known of one publisher's cache, by the sequence numbers of its batches. They begin at 0 in each of its lives, and a
 * publisher that drops some does not say so. So a number that is skipped is a gap, to be filled by a replay where one can be had;
 * and a number that was there before is of another life, whose cache began empty.
 *
 *              number in turn: counted
 *             ┌──────┐
 *             │      ▼
 *          following ──── gap, or a connection anew ───▶ replaying ──── its end ───▶ following
 *             ▲                                            │   ▲
 *             │ no replay to be had: the fill is unknown   │   └─ what comes meanwhile waits
 *             └────────────────────────────────────────────┘
 *
 * The fill is known from a life's beginning, or from a clear on, for as long as no batch is missed.
 */
export type EmptiedCause = 'cleared' | 'restarted';

export interface TrackListener {
  /** The cache holds nothing of what it held. */
  readonly onEmptied: (cause: EmptiedCause) => void;
  /** Wants the batches from `first` on. Returns false when there is no replay to be had. */
  readonly tryReplay: (first: number) => boolean;
  /** Wants no more of the replay. */
  readonly endReplay: () => void;
}

/** Batches that come in while a replay runs; vLLM publishes some 50 a second. */
const heldBatchesMax = 16_384;

interface Held {
  readonly sequence: number;
  readonly tally: BatchTally;
}

export class PublisherTrack {
  readonly #listener: TrackListener;
  /** Number of the last batch counted; -1 when none of this life is known. */
  #last = -1;
  #lastTimestamp = NaN;
  #fillTokens: number | null = null;
  #lowerTokens = 0;
  #isReplaying = false;
  /** What is replayed happened before this gateway began to look. */
  #isHistory = false;
  #replayedCount = 0;
  #held: Held[] = [];
  /** Since the start; of batches that are no history. */
  storedTokens = 0;
  removedTokens = 0;
  readonly counts = { stored: 0, removed: 0, cleared: 0, other: 0 };
  gapCount = 0;
  /** Batches that are lost for good. */
  missedCount = 0;

  constructor(listener: TrackListener) {
    this.#listener = listener;
  }

  /** What the device's cache holds; null when it is not known. */
  get fillTokens(): number | null {
    return this.#isReplaying ? null : this.#fillTokens;
  }

  /** What the tiers behind it hold, as far as is known. */
  get lowerTokens(): number {
    return this.#lowerTokens;
  }

  get isReplaying(): boolean {
    return this.#isReplaying;
  }

  /** The subscription is in force, for the first time or again: what was published before it is asked for. */
  onConnected(): void {
    // From the last one on, not the one behind it: whether that is the batch that was counted tells one life from another.
    this.#startReplay(Math.max(0, this.#last));
  }

  /** It is known from elsewhere that the publisher's life has ended, and what it held. */
  forgetLife(): void {
    this.#last = -1;
    this.#lastTimestamp = NaN;
    this.#fillTokens = null;
    this.#lowerTokens = 0;
  }

  /** A batch as it is published. The tally is the track's from now on. */
  live(sequence: number, tally: BatchTally): void {
    if (this.#isReplaying) {
      if (this.#held.length < heldBatchesMax) this.#held.push({ sequence, tally });
      else this.#loseReplay(sequence, tally);
      return;
    }
    this.#take(sequence, tally, true);
  }

  /** A batch that was asked for. */
  replayed(sequence: number, tally: BatchTally): void {
    if (!this.#isReplaying) return;
    this.#replayedCount++;
    if (sequence === this.#last && this.#replayedCount === 1) {
      if (Object.is(tally.timestamp, this.#lastTimestamp)) return;
      // The same number of another life.
      this.#beginAnew();
      this.#isReplaying = false;
      this.#startReplay(0);
      return;
    }
    if (sequence > this.#last) this.#count(sequence, tally, !this.#isHistory);
  }

  /** The replay is complete. */
  replayEnded(): void {
    if (!this.#isReplaying) return;
    if (this.#last >= 0 && this.#replayedCount === 0) {
      // A publisher keeps at least its last batch: this one has published less than it had.
      this.#beginAnew();
      this.#isReplaying = false;
      this.#startReplay(0);
      return;
    }
    this.#resume();
  }

  /** There will be no more of the replay. */
  replayFailed(): void {
    if (this.#isReplaying) this.#resume();
  }

  #startReplay(first: number): void {
    this.#isReplaying = true;
    this.#isHistory = this.#last < 0;
    this.#replayedCount = 0;
    if (!this.#listener.tryReplay(first)) this.#resume();
  }

  /** It takes too long: followed on from here. */
  #loseReplay(sequence: number, tally: BatchTally): void {
    this.missedCount += this.#held.length;
    this.#held = [];
    this.#isReplaying = false;
    this.#fillTokens = null;
    this.#last = sequence;
    this.#lastTimestamp = tally.timestamp;
    this.#listener.endReplay();
  }

  /** Those that waited, in their turn; what is missing between them now is lost. */
  #resume(): void {
    this.#isReplaying = false;
    const held = this.#held;
    this.#held = [];
    for (const { sequence, tally } of held) {
      if (sequence > this.#last) this.#take(sequence, tally, false);
    }
  }

  #take(sequence: number, tally: BatchTally, mayReplay: boolean): void {
    if (sequence <= this.#last) this.#beginAnew();
    if (sequence > this.#last + 1) {
      if (mayReplay) {
        if (this.#last >= 0) this.gapCount++;
        this.#held.push({ sequence, tally });
        this.#isReplaying = true;
        this.#isHistory = this.#last < 0;
        this.#replayedCount = 1; // Not from the last one on: an empty replay says nothing of lives.
        if (this.#listener.tryReplay(this.#last + 1)) return;
        this.#isReplaying = false;
        this.#held = [];
      }
    }
    this.#count(sequence, tally, true);
  }

  #beginAnew(): void {
    this.forgetLife();
    this.#listener.onEmptied('restarted');
  }

  #count(sequence: number, tally: BatchTally, isNews: boolean): void {
    if (sequence === 0) this.#empty();
    else if (sequence !== this.#last + 1) {
      if (this.#last >= 0) this.missedCount += sequence - this.#last - 1;
      this.#fillTokens = null;
    }
    this.#last = sequence;
    this.#lastTimestamp = tally.timestamp;
    if (tally.isCleared) this.#empty();
    if (this.#fillTokens !== null)
      this.#fillTokens = Math.max(0, this.#fillTokens + tally.storedTokens - tally.removedTokens);
    this.#lowerTokens = Math.max(0, this.#lowerTokens + tally.lowerStoredTokens - tally.lowerRemovedTokens);
    if (!isNews) return;
    this.storedTokens += tally.storedTokens;
    this.removedTokens += tally.removedTokens;
    this.counts.stored += tally.storedCount;
    this.counts.removed += tally.removedCount;
    this.counts.cleared += tally.clearedCount;
    this.counts.other += tally.otherCount;
    if (tally.isCleared) this.#listener.onEmptied('cleared');
  }

  #empty(): void {
    this.#fillTokens = 0;
    this.#lowerTokens = 0;
  }
}
