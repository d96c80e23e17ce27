import { expect, test } from 'vitest';
import { emptyTally } from './event-batch.ts';
import type { BatchTally } from './event-batch.ts';
import { PublisherTrack } from './publisher-track.ts';

interface Watched {
  readonly track: PublisherTrack;
  /** Causes, in order. */
  readonly emptied: string[];
  /** Firsts that were asked for. */
  readonly asked: number[];
}

/** `answers`: a replay can be had. */
function watched(answers = true): Watched {
  const emptied: string[] = [];
  const asked: number[] = [];
  const track = new PublisherTrack({
    onEmptied: (cause) => void emptied.push(cause),
    tryReplay: (first) => {
      asked.push(first);
      return answers;
    },
    endReplay: () => {},
  });
  return { track, emptied, asked };
}

/** Of the life that began at `epoch`: the batch numbered `sequence` stores a hundred tokens. */
function batch(sequence: number, epoch = 0, changes: Partial<BatchTally> = {}): BatchTally {
  return { ...emptyTally(), timestamp: epoch + sequence / 1000, storedTokens: 100, storedCount: 1, ...changes };
}

function live(track: PublisherTrack, from: number, to: number, epoch = 0): void {
  for (let sequence = from; sequence <= to; sequence++) track.live(sequence, batch(sequence, epoch));
}

function replay(track: PublisherTrack, from: number, to: number, epoch = 0): void {
  for (let sequence = from; sequence <= to; sequence++) track.replayed(sequence, batch(sequence, epoch));
  track.replayEnded();
}

test('publisher: when it is followed from its beginning, what it holds is what was stored less what was removed', () => {
  const { track, emptied } = watched(false);
  track.onConnected();
  live(track, 0, 2);
  track.live(3, batch(3, 0, { removedTokens: 250, lowerStoredTokens: 7 }));
  expect([track.fillTokens, track.lowerTokens, track.storedTokens, track.removedTokens]).toEqual([150, 7, 400, 250]);
  expect([track.gapCount, track.missedCount, emptied]).toEqual([0, 0, []]);
});

test('publisher: when it is met in the middle of its life, a replay from its beginning tells what it holds', () => {
  const { track, emptied, asked } = watched();
  track.onConnected();
  expect(asked).toEqual([0]);
  track.live(4, batch(4)); // Meanwhile.
  track.live(5, batch(5));
  expect(track.fillTokens, 'not known yet').toBeNull();
  track.replayed(0, batch(0));
  track.replayed(1, batch(1, 0, { isCleared: true }));
  replay(track, 2, 4);
  expect(track.fillTokens).toBe(500);
  expect(track.storedTokens, 'history is none of what came since').toBe(100);
  expect(emptied, 'a clear of before is no news').toEqual([]);
});

test('publisher: when its beginning is not kept any more, what it holds is unknown until it is cleared', () => {
  const { track, emptied } = watched();
  track.onConnected();
  replay(track, 40, 44);
  expect(track.fillTokens).toBeNull();
  live(track, 45, 46);
  expect([track.fillTokens, track.missedCount]).toEqual([null, 0]);
  track.live(47, batch(47, 0, { isCleared: true }));
  expect([track.fillTokens, emptied]).toEqual([100, ['cleared']]);
});

test('publisher: when batches are missing, they are asked for, and those that come meanwhile wait their turn', () => {
  const { track, emptied, asked } = watched();
  track.onConnected();
  replay(track, 0, 1);
  track.live(5, batch(5));
  track.live(6, batch(6));
  expect([asked, track.gapCount, track.fillTokens]).toEqual([[0, 2], 1, null]);
  track.replayed(2, batch(2));
  track.replayed(3, batch(3, 0, { isCleared: true }));
  replay(track, 4, 6);
  expect([track.fillTokens, track.missedCount, emptied]).toEqual([400, 0, ['cleared']]);
  live(track, 7, 7);
  expect([track.fillTokens, asked]).toEqual([500, [0, 2]]);
});

test.each(['fails', 'is not to be had', 'has them no more'])(
  'publisher: when batches are missing and a replay %s, what it holds is unknown, and it is followed on',
  (how) => {
    const { track } = watched(how !== 'is not to be had');
    track.onConnected();
    if (how !== 'is not to be had') track.replayEnded();
    live(track, 0, 1);
    track.live(5, batch(5));
    if (how === 'fails') track.replayFailed();
    else if (how === 'has them no more') replay(track, 4, 5);
    expect([track.fillTokens, track.gapCount, track.missedCount]).toEqual([
      null,
      1,
      how === 'has them no more' ? 2 : 3,
    ]);
    live(track, 6, 7);
    expect(track.storedTokens).toBe(how === 'has them no more' ? 600 : 500);
    track.live(8, batch(8, 0, { isCleared: true }));
    expect(track.fillTokens).toBe(100);
  },
);

test('publisher: when a number was there before, it is another life, whose cache began empty', () => {
  const { track, emptied } = watched(false);
  track.onConnected();
  live(track, 0, 9);
  live(track, 0, 1, 1000);
  expect([track.fillTokens, emptied]).toEqual([200, ['restarted']]);
});

test('publisher: when another life is met in its middle, its beginning is asked for', () => {
  const { track, emptied, asked } = watched();
  track.onConnected();
  replay(track, 0, 9);
  track.live(4, batch(4, 1000));
  expect([emptied, asked]).toEqual([['restarted'], [0, 0]]);
  replay(track, 0, 4, 1000);
  expect(track.fillTokens).toBe(500);
});

test('publisher: when it is connected to again, the last batch tells whether it lives on', () => {
  const { track, emptied, asked } = watched();
  track.onConnected();
  replay(track, 0, 3);
  track.onConnected();
  replay(track, 3, 6);
  expect([track.fillTokens, emptied, asked]).toEqual([700, [], [0, 3]]);
});

test('publisher: when it has published more in its new life than in the one before, it is known all the same', () => {
  const { track, emptied, asked } = watched();
  track.onConnected();
  replay(track, 0, 3);
  track.onConnected();
  track.replayed(3, batch(3, 1000));
  expect([emptied, asked]).toEqual([['restarted'], [0, 3, 0]]);
  replay(track, 0, 5, 1000);
  expect(track.fillTokens).toBe(600);
});

test('publisher: when it has published less in its new life, its empty answer says so', () => {
  const { track, emptied, asked } = watched();
  track.onConnected();
  replay(track, 0, 3);
  track.onConnected();
  track.replayEnded();
  expect([emptied, asked]).toEqual([['restarted'], [0, 3, 0]]);
  track.replayEnded();
  live(track, 0, 0, 1000);
  expect([track.fillTokens, emptied]).toEqual([100, ['restarted']]);
});

test('publisher: when its restart is known from elsewhere, its first batch is no news', () => {
  const { track, emptied } = watched(false);
  track.onConnected();
  live(track, 0, 9);
  track.forgetLife();
  expect(track.fillTokens).toBeNull();
  live(track, 0, 0, 1000);
  expect([track.fillTokens, emptied]).toEqual([100, []]);
});

test('publisher: when more comes during a replay than can wait, the replay is given up, and it is followed on', () => {
  const { track } = watched();
  track.onConnected();
  live(track, 0, 20_000);
  expect(track.isReplaying).toBe(false);
  expect(track.fillTokens).toBeNull();
  track.live(20_001, batch(20_001, 0, { isCleared: true }));
  expect(track.fillTokens).toBe(100);
});

test('publisher: when answers come that nobody asked for, they count for nothing', () => {
  const { track, emptied } = watched(false);
  track.onConnected();
  live(track, 0, 1);
  track.replayed(0, batch(0, 1000));
  track.replayEnded();
  track.replayFailed();
  expect([track.fillTokens, emptied]).toEqual([200, []]);
});
