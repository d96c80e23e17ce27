import { expect, test } from 'vitest';
import { type PromptSize, TokenRatio } from './token-ratio.ts';

function text(byteCount: number): PromptSize {
  return { byteCount, encodedCount: 0 };
}

test('token ratio: when nothing was reported, it is that of English', () => {
  expect(new TokenRatio().of('m', 0)).toBe(0.27);
});

test('token ratio: when reports come, they are averaged at first, and late ones still count', () => {
  const ratio = new TokenRatio();
  ratio.learn('m', 0, text(1000), 200);
  expect(ratio.of('m', 0)).toBe(0.2);
  ratio.learn('m', 0, text(1000), 400);
  expect(ratio.of('m', 0)).toBeCloseTo(0.3);
  for (let count = 0; count < 200; count++) ratio.learn('m', 0, text(1000), 500);
  expect(ratio.of('m', 0)).toBeCloseTo(0.5);
  expect(ratio.of('other', 0)).toBe(0.27);
});

test('token ratio: when tenants write in different languages, each has its own, and a new one that of all', () => {
  const ratio = new TokenRatio();
  for (let count = 0; count < 50; count++) {
    ratio.learn('m', 1, text(1000), 250);
    ratio.learn('m', 2, text(1000), 700);
  }
  expect(ratio.of('m', 1)).toBeCloseTo(0.25, 2);
  expect(ratio.of('m', 2)).toBeCloseTo(0.7, 2);
  for (const tenant of [0, 3]) expect(ratio.of('m', tenant)).toBeCloseTo(0.48, 1);
  ratio.learn('m', 3, text(1000), 700);
  expect(ratio.of('m', 3), 'what all have, and its first report').toBeCloseTo(0.59, 1);
});

test('token ratio: when a report says less than text can, or is of too little, it is bounded or not taken', () => {
  const ratio = new TokenRatio();
  ratio.learn('m', 0, text(255), 255);
  ratio.learn('m', 0, text(1000), 0);
  expect(ratio.of('m', 0)).toBe(0.27);
  ratio.learn('m', 0, text(3_000_000), 1000);
  expect(ratio.of('m', 0)).toBeCloseTo(0.02);
});

test('token ratio: when clients make models and tenants up, it stops to remember them', () => {
  const ratio = new TokenRatio();
  for (let index = 1; index <= 5000; index++) ratio.learn('m', index, text(1000), index === 5000 ? 900 : 300);
  expect(ratio.of('m', 1)).toBeCloseTo(0.3);
  expect(ratio.of('m', 5000), "its model's").toBeLessThan(0.4);
  for (let index = 0; index < 300; index++) ratio.learn(`m${index}`, 0, text(1000), 900);
  expect([ratio.of('m0', 0), ratio.of('m299', 0)]).toEqual([0.9, 0.27]);
});

test('token ratio: when prompts have images, what one takes is learned by model, and text stays what it is', () => {
  const ratio = new TokenRatio();
  const withImages = (textBytes: number, encodedCount: number): PromptSize => ({
    byteCount: textBytes + 4096 * encodedCount,
    encodedCount,
  });
  expect(ratio.tokens('m', 0, withImages(1000, 2))).toBeCloseTo(270 + 2200);
  ratio.learn('m', 0, text(1000), 250);
  for (let count = 0; count < 50; count++) ratio.learn('m', 0, withImages(1000, 2), 250 + 2 * 1600);
  expect(ratio.of('m', 0)).toBe(0.25);
  expect(ratio.tokens('m', 0, withImages(2000, 1))).toBeCloseTo(500 + 1600);
  expect(ratio.tokens('other', 0, withImages(2000, 1))).toBeCloseTo(540 + 1100);
  ratio.learn('greedy', 0, withImages(0, 1), 10_000_000);
  expect(ratio.tokens('greedy', 0, withImages(0, 1))).toBeCloseTo(65_536);
});
