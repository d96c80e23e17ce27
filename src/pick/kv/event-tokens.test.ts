import { expect, test } from 'vitest';
import { EventTokens } from './event-tokens.ts';

test('event tokens: when streams say how many tokens they had, how many an event has is learned by endpoint', () => {
  const tokens = new EventTokens();
  expect(tokens.of('a')).toBe(1);
  tokens.learn('a', 400, 100);
  expect(tokens.of('a')).toBe(4);
  for (let count = 0; count < 100; count++) tokens.learn('a', 200, 100);
  expect(tokens.of('a')).toBeCloseTo(2, 2);
  expect(tokens.of('b')).toBe(1);
  tokens.keep(new Set(['b']));
  expect(tokens.of('a')).toBe(1);
});

test('event tokens: when a stream is short, or says what cannot be, that does not go far', () => {
  const tokens = new EventTokens();
  tokens.learn('a', 15, 1);
  tokens.learn('a', 100, 0);
  expect(tokens.of('a')).toBe(1);
  tokens.learn('a', 1_000_000, 2);
  expect(tokens.of('a')).toBe(64);
});
