import { expect, test } from 'vitest';
import { Half, HalfStream } from './half-stream.ts';

const legal = new Set(['0>1', '0>4', '1>2', '1>3', '1>4', '2>3', '2>4']);
const path: Record<Half, readonly Half[]> = { 0: [], 1: [1], 2: [1, 2], 3: [1, 2, 3], 4: [4] };

function halfIn(state: Half): HalfStream {
  const half = new HalfStream();
  for (const step of path[state]) half.become(step);
  return half;
}

test('exchange: when a half is asked for any transition, only those in the drawing happen', () => {
  for (const from of Object.values(Half)) {
    for (const to of Object.values(Half)) {
      const half = halfIn(from);
      if (legal.has(`${from}>${to}`)) {
        half.become(to);
        expect(half.state).toBe(to);
      } else {
        expect(() => half.become(to), `${from}>${to}`).toThrow('illegal half transition');
        expect(half.state).toBe(from);
      }
    }
  }
});

test('exchange: when a half has ended, failIfOpen leaves it as it ended', () => {
  const done = halfIn(Half.done);
  done.failIfOpen();
  expect(done.state).toBe(Half.done);
  const open = halfIn(Half.body);
  open.failIfOpen();
  expect(open.state).toBe(Half.failed);
});
