import fc from 'fast-check';
import { expect, test } from 'vitest';
import { check } from './check.ts';
import { seedsOf } from './loop.ts';
import { mutate } from './mutate.ts';
import { Random } from './random.ts';
import { targets } from './targets/index.ts';

// Each target compares the product with an oracle and throws where they disagree; see run.ts.

test('fuzz: when the targets are listed, each has a name of its own and inputs to start from', () => {
  expect(new Set(targets.map(({ name }) => name)).size).toBe(targets.length);
  for (const target of targets) expect(seedsOf(target).length).toBeGreaterThan(4);
});

for (const target of targets) {
  test(`fuzz: when a seed of ${target.name} is read, cut before every byte or not, the oracle agrees`, () => {
    for (const input of seedsOf(target)) {
      target.run(input);
      for (let length = 0; length < Math.min(input.length, 400); length++) target.run(input.subarray(0, length));
    }
  });

  test(`fuzz: when words of the grammar of ${target.name} come in any order, the oracle agrees`, () => {
    const word = fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(...target.dictionary) },
      { weight: 1, arbitrary: fc.string({ maxLength: 4, unit: 'binary-ascii' }) },
    );
    check(
      fc.property(fc.array(word, { maxLength: 30 }), (words) => {
        target.run(Buffer.from(words.join(''), 'latin1'));
      }),
      600,
    );
  });

  test(`fuzz: when inputs of ${target.name} are mutated, the oracle agrees`, () => {
    const seeds = seedsOf(target);
    check(
      fc.property(fc.nat(), (seed) => {
        const random = new Random(seed);
        target.run(mutate(random.pick(seeds), seeds, target.dictionary, random));
      }),
      600,
    );
  });
}
