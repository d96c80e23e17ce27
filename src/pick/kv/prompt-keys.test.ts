import { expect, test } from 'vitest';
import { promptOf, readPrompt } from '../fixtures/pool.ts';
import { PromptKeys } from './prompt-keys.ts';

const keysOf = (body: object, seed = 7, secret = 1): PromptKeys => promptOf(body, seed, secret);

const listOf = ({ count, lows, highs, ends }: PromptKeys): string[] =>
  Array.from({ length: count }, (_, index) => `${lows[index]} ${highs[index]} ${ends[index]}`);

const messages = [
  { role: 'user', content: 'water '.repeat(400) },
  { role: 'assistant', content: 'gate '.repeat(400) },
];

test('prompt keys: when parts stand in another order in the body, the keys are the same', () => {
  const tools = [{ type: 'function', function: { name: 'f' } }];
  const one = keysOf({ tools, system: 'be brief', messages });
  expect(listOf(keysOf({ messages, system: 'be brief', tools }))).toEqual(listOf(one));
  expect(one.byteCount).toBe([tools, 'be brief', messages].reduce((sum, part) => sum + JSON.stringify(part).length, 0));
});

test('prompt keys: when tools or the system prompt differ, no turn is shared; what stands before them is', () => {
  const tools = [{ name: 'f'.repeat(600) }];
  const one = listOf(keysOf({ tools, system: 'one', messages }));
  const other = listOf(keysOf({ tools, system: 'two', messages }));
  const shared = one.filter((key, index) => key === other[index]);
  expect(shared.length, 'the two blocks of the tools').toBe(2);
  expect(one.slice(2).some((key) => other.includes(key))).toBe(false);
  const bare = listOf(keysOf({ messages }));
  expect(bare.some((key) => one.includes(key))).toBe(false);
});

test('prompt keys: when the same text is system prompt in one and first turn in the other, nothing is shared', () => {
  const long = 'water '.repeat(400);
  const one = listOf(keysOf({ system: long, messages }));
  const other = listOf(keysOf({ prompt: long, model: 'm' }));
  expect(one.some((key) => other.includes(key))).toBe(false);
});

test('prompt keys: when salt, model or secret differ, nothing is shared, and no key is one the index gives a meaning', () => {
  const one = keysOf({ messages });
  const salted = keysOf({ messages, cache_salt: 'tenant' });
  const ofModel = keysOf({ messages }, 8);
  const ofSecret = keysOf({ messages }, 7, 2);
  for (const other of [salted, ofModel, ofSecret]) {
    expect(listOf(one).some((key) => listOf(other).includes(key))).toBe(false);
  }
  for (const low of one.lows.subarray(0, one.count)) expect([0, -1]).not.toContain(low);
});

test('prompt keys: when they are used again for a shorter prompt, nothing of the longer one is left', () => {
  const keys = new PromptKeys();
  for (const body of [{ messages: [{ content: 'x'.repeat(50_000) }] }, { prompt: 'short' }]) {
    readPrompt(keys, body);
    keys.seal(1, 2);
  }
  expect(keys.count).toBe(0);
  expect(keys.root).toBe(0);
  expect(keys.byteCount).toBe('"short"'.length);
});

test('prompt keys: root is the first 4 KiB, branch what stands behind what is held', () => {
  const long = keysOf({ prompt: 'a'.repeat(10_000) });
  expect(keysOf({ prompt: `${'a'.repeat(5000)}b` }).root).toBe(long.root);
  expect(keysOf({ prompt: `${'a'.repeat(4000)}b${'a'.repeat(5000)}` }).root).not.toBe(long.root);
  expect(long.branch(0)).toBe(long.root);
  // The block that ends at 6656.
  const alike = keysOf({ prompt: `${'a'.repeat(6700)}b` });
  const other = keysOf({ prompt: `${'a'.repeat(6600)}b${'a'.repeat(3000)}` });
  expect(alike.branch(6144)).toBe(long.branch(6144));
  expect(other.branch(6144)).not.toBe(long.branch(6144));
  expect(long.branch(1_000_000)).toBe(long.root);
});

// A gateway that was restarted has another secret and an empty index: engines' caches are still as they were.
test('prompt keys: when another process reads the same prompt for the same model, it goes to the same home', () => {
  const one = keysOf({ messages }, 7, 1);
  const next = keysOf({ messages }, 7, 2);
  expect([next.root, next.branch(2048)]).toEqual([one.root, one.branch(2048)]);
  const ofModel = keysOf({ messages }, 8, 1);
  expect(ofModel.root).not.toBe(one.root);
});
