import fc from 'fast-check';
import { countTokens } from 'gpt-tokenizer/encoding/o200k_base';
import { expect, test } from 'vitest';
import { checkJson, countPromptTokens } from './jobs.ts';
import { findJsonFault } from './json-fault.ts';
import { countTextTokens } from './token-count.ts';

const seed = Number(process.env['FUZZ_SEED'] ?? 20_250_301);

function bodyOf(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function tokensIn(value: unknown): number {
  return countPromptTokens(bodyOf(value)).tokens;
}

const plain = { disallowedSpecial: new Set<string>() };

const prose = 'The penstock brings water to the turbine; a gate ahead of it holds the pressure (about 40 bar).\n\n';
const samples: Readonly<Record<string, string>> = {
  prose: prose.repeat(2000),
  code: 'export function give(index: number): void {\n  if (held[index] !== 1) fail("x", index);\n}\n'.repeat(2000),
  json: JSON.stringify(Array.from({ length: 4000 }, (_, id) => ({ id, name: `n${id}`, tags: ['a', 'b'] }))),
  base64: Buffer.from(Array.from({ length: 60_000 }, (_, index) => (index * 7919) & 255)).toString('base64'),
  chinese: '压力管道把水引到水轮机，前面有一道闸门。'.repeat(4000),
  emoji: 'ok 👩‍👩‍👧‍👦🏳️‍🌈 '.repeat(3000),
  blankLines: 'a\n\n\n    b\t\tc   d\r\n'.repeat(6000),
};

test.each(Object.keys(samples))(
  'worker: when %s is counted, it is the tokenizer count within half a percent',
  (name) => {
    const text = samples[name]!;
    const exact = countTokens(text, plain);
    expect(Math.abs(countTextTokens(text, Infinity) - exact)).toBeLessThanOrEqual(exact * 0.005);
  },
);

// The slices of token-count.ts end where no token of the o200k pattern can straddle the cut.
test('worker: when text has no run of 256 characters, the count is exact however long it is', () => {
  const words = fc.array(fc.string({ unit: 'binary', maxLength: 40 }), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(words, (chosen) => {
      const text = `${chosen.join(' ')} `.repeat(Math.ceil(80_000 / (chosen.join(' ').length + 1)));
      fc.pre(!/\S{256}|\s{256}/.test(text));
      expect(countTextTokens(text, Infinity)).toBe(countTokens(text, plain));
    }),
    { seed, numRuns: 15 },
  );
});

test('worker: when a prompt comes in the shapes of the APIs, all of its text is counted and nothing else', () => {
  const count = (...texts: string[]): number => texts.reduce((sum, text) => sum + countTokens(text, plain), 0);
  const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }];
  const picture = `data:image/png;base64,${'iVBORw0KGgo'.repeat(50)}`;
  expect(tokensIn({ model: 'm', messages: [{ role: 'user', content: prose }] })).toBe(count(prose));
  expect(
    tokensIn({
      messages: [
        { role: 'system', content: [{ type: 'text', text: 'Be brief.' }] },
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: { url: picture } },
            { type: 'text', text: prose },
          ],
        },
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'call_1', function: { name: 'weather', arguments: '{"a":1}' } }],
        },
        { role: 'tool', tool_call_id: 'call_1', content: 'sunny' },
      ],
      tools,
    }),
  ).toBe(count('Be brief.', prose, 'weather', '{"a":1}', 'sunny', JSON.stringify(tools)));
  expect(
    tokensIn({
      system: [{ type: 'text', text: 'Be kind.' }],
      messages: [
        { role: 'assistant', content: [{ type: 'tool_use', id: 'x', name: 'weather', input: { city: 'Ulm' } }] },
      ],
    }),
  ).toBe(count('Be kind.', 'weather', '{"city":"Ulm"}'));
  expect(
    tokensIn({
      instructions: 'Short.',
      input: [
        { role: 'user', content: [{ type: 'input_text', text: prose }] },
        { type: 'function_call_output', call_id: 'c', output: 'rain' },
      ],
    }),
  ).toBe(count('Short.', prose, 'rain'));
  expect(tokensIn({ prompt: ['one', 'two words'] })).toBe(count('one', 'two words'));
  expect(tokensIn({ input: [[1, 2, 3], [4]] }), 'token ids count themselves').toBe(4);
  expect(tokensIn({ messages: [{ role: 'user', content: '<|endoftext|>' }] }), 'no special token').toBe(
    count('<|endoftext|>'),
  );
});

// The encoder alone needs over 40 s for the first of these.
test.each([
  ['one letter', 'a'],
  ['spaces', ' '],
  ['line ends', '\n'],
  ['one ideogram', '水'],
  ['half a pair', '\ud83d'],
])('worker: when a prompt is 1 MB of %s, it is counted in less than a second', (_, unit) => {
  const { tokens, millis } = countPromptTokens(bodyOf({ prompt: unit.repeat(1 << 20) }));
  expect(tokens).toBeGreaterThan(0);
  expect(millis).toBeLessThan(1000);
});

test('worker: when a prompt costs more than its bound, there is no count and the bound is kept', () => {
  let state = seed;
  const letter = (): string =>
    String.fromCharCode(97 + (((state = Math.imul(state, 1_103_515_245) + 12_345) >>> 16) % 26));
  const prompt = Array.from({ length: 1 << 20 }, letter).join('');
  const { tokens, millis } = countPromptTokens(bodyOf({ prompt }), 20);
  expect(tokens).toBe(-1);
  expect(millis).toBeLessThan(500);
});

test('worker: when a body is no JSON object in UTF-8, there is no count and no error', () => {
  const deep = `{"tools":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
  const bodies = ['', 'null', '[]', '"text"', '{"prompt":', '\ufeff{}', deep].map((text) => Buffer.from(text));
  for (const body of [...bodies, Buffer.from([0x7b, 0xff, 0x7d])]) expect(countPromptTokens(body).tokens).toBe(-1);
  expect(tokensIn({}), 'no prompt').toBe(0);
});

test('worker: when a body is refused, the check says why and at which byte', () => {
  const cases: readonly (readonly [string | Uint8Array, string, number])[] = [
    ['', 'unfinished', 0],
    ['{"a":[1,2', 'unfinished', 9],
    ['{"a":"b', 'unfinished', 7],
    ['{"a":tru', 'unfinished', 8],
    ['{"a":"\\u12', 'unfinished', 10],
    ['\ufeff{}', 'bom', 0],
    ['{"ä":1}x', 'trailing_bytes', 8],
    ['{} {}', 'trailing_bytes', 3],
    ['{"a" 1}', 'bad_syntax', 5],
    ["{'a':1}", 'bad_syntax', 1],
    ['{"a":1,}', 'bad_syntax', 7],
    ['[1,]', 'bad_syntax', 3],
    ['[1}', 'bad_syntax', 2],
    ['[01]', 'bad_syntax', 1],
    ['[NaN]', 'bad_syntax', 1],
    ['["水\n"]', 'bad_string', 5],
    ['["\\x41"]', 'bad_string', 2],
    [Buffer.from([0x22, 0x61, 0xff, 0x22]), 'not_utf8', 2],
    [Buffer.from([0x22, 0xe6, 0xb0]), 'not_utf8', 3],
    [Buffer.from([0x22, 0xc0, 0xaf, 0x22]), 'not_utf8', 1],
  ];
  for (const [body, problem, position] of cases) {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    expect(checkJson(bytes), JSON.stringify(body)).toEqual({ ok: false, problem, position });
  }
  const right = Buffer.from('{"a":[1,-2.5e3,true,null,"\\ud83d\\n"],"a":{}} ');
  expect(checkJson(right)).toEqual({ ok: true, problem: null, position: -1 });
});

test('worker: when JSON is damaged anywhere, what stands before the fault is right', () => {
  const damage = fc.record({
    text: fc.json({ maxDepth: 4 }),
    at: fc.nat(),
    put: fc.constantFrom('', '"', '}', ']', ',', ':', '\\', '\u0001', '0'),
  });
  fc.assert(
    fc.property(damage, ({ text, at, put }) => {
      const cut = at % text.length;
      const damaged = put === '' ? text.slice(0, cut) : text.slice(0, cut) + put + text.slice(cut + 1);
      if (checkJson(Buffer.from(damaged)).ok) return;
      const { problem, index } = findJsonFault(damaged);
      if (problem === 'unfinished') expect(index).toBe(damaged.length);
      else expect(index).toBeLessThan(damaged.length);
      const before = checkJson(Buffer.from(damaged.slice(0, index)));
      expect([null, 'unfinished']).toContain(before.problem);
    }),
    { seed, numRuns: 2000 },
  );
});
