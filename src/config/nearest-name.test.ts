import { expect, test } from 'vitest';
import { nearestName } from './nearest-name.ts';

const known = ['listeners', 'pools', 'models', 'limits', 'body_bytes_max', 'vllm', 'a'];

test('config: when a name is a typo away, the nearest known one is named', () => {
  expect(nearestName('polls', known)).toBe('pools');
  expect(nearestName('listner', known)).toBe('listeners');
  expect(nearestName('body_byte_max', known)).toBe('body_bytes_max');
  expect(nearestName('VLLM', known)).toBe('vllm');
  expect(nearestName('mdoels', known)).toBe('models');
});

test('config: when no name is near, none is named', () => {
  for (const word of ['credential', 'zz', '', 'x'.repeat(5000)]) expect(nearestName(word, known)).toBeNull();
});
