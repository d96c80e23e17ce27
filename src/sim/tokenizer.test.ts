import { expect, test } from 'vitest';
import { Random } from './random.ts';
import { Prose } from './text.ts';
import { detokenize, tokenize, tokenText } from './tokenizer.ts';

const english =
  'The penstock carries water from the basin to the turbine, and a gate at its head keeps the pressure where it belongs. ';

test('tokenizer: when any text is tokenized, detokenizing gives it back exactly', () => {
  const samples = [
    '',
    ' ',
    '  two blanks\n\n\tand tabs ',
    'naïve café 潮汐 🌊 \u0000 end',
    'data:image/png;base64,iVBORw0KGgo=',
    english,
  ];
  for (const sample of samples) expect(detokenize(tokenize(sample))).toBe(sample);
  const seed = 7;
  const random = new Random(seed);
  for (let round = 0; round < 300; round++) {
    const text = Array.from({ length: random.below(40) }, () =>
      String.fromCodePoint(random.below(4) === 0 ? random.below(0xd800) : random.below(128)),
    ).join('');
    expect(detokenize(tokenize(text)), `seed ${seed} round ${round}`).toBe(text);
  }
});

test('tokenizer: when a text grows, all tokens but the last stay', () => {
  const whole = tokenize(english);
  for (let cut = 1; cut < english.length; cut++) {
    const part = tokenize(english.slice(0, cut));
    expect(Array.from(part.subarray(0, -1))).toEqual(Array.from(whole.subarray(0, part.length - 1)));
  }
});

test('tokenizer: when English is tokenized, a token is three and a half to four and a half bytes', () => {
  const bytesPerToken = english.length / tokenize(english).length;
  expect(bytesPerToken).toBeGreaterThan(3.5);
  expect(bytesPerToken).toBeLessThan(4.5);
});

test('tokenizer: when an id cannot be a token, its text is the replacement character', () => {
  for (const id of [-1, 0, 1.5, NaN]) expect(tokenText(id)).toBe('\ufffd');
});

test('text: when prose is made from one seed twice, it is the same, and it tokenizes to the tokens it was made of', () => {
  const [first, second] = [new Prose(3), new Prose(3)];
  const tokens = Array.from({ length: 400 }, () => first.nextToken());
  expect(Array.from({ length: 400 }, () => second.nextToken())).toEqual(tokens);
  expect(Array.from(tokenize(detokenize(tokens)))).toEqual(tokens);
  expect(detokenize(tokens), 'readers must meet multi-byte characters').toMatch(/\P{ASCII}/u);
});
