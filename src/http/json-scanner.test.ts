import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RequestScanner, ScanState } from './json-scanner.ts';

/** Everything a scan found, comparable whatever the pieces were. */
interface Scan {
  readonly state: ScanState;
  readonly problem: string;
  readonly values: Readonly<Record<string, string | number | boolean | null>>;
  readonly modelToken: string;
}

const scanner = new RequestScanner();

/** Scans `text` cut before the given byte offsets; each piece lies at an odd place of a larger slab, as in production. */
function scan(text: string | Buffer, cuts: readonly number[] = []): Scan {
  const body = Buffer.from(text as string);
  scanner.reset();
  let start = 0;
  for (const end of [...cuts, body.length]) {
    const slab = Buffer.alloc(end - start + 11, '"\\');
    body.copy(slab, 7, start, end);
    scanner.push(slab, 7, 7 + end - start);
    slab.fill(0);
    start = end;
  }
  scanner.finish();
  return {
    state: scanner.state,
    problem: scanner.problem,
    values: {
      model: scanner.model,
      stream: scanner.stream,
      include_usage: scanner.includeUsage,
      max_tokens: scanner.maxTokens,
      max_completion_tokens: scanner.maxCompletionTokens,
      max_output_tokens: scanner.maxOutputTokens,
      n: scanner.n,
      user: scanner.user,
      prompt_cache_key: scanner.promptCacheKey,
    },
    modelToken: body.subarray(scanner.modelStart, scanner.modelEnd).toString(),
  };
}

function everyByte(text: string): number[] {
  return Array.from({ length: Buffer.byteLength(text) }, (_, index) => index);
}

function expectSameAtEveryCut(text: string): Scan {
  const whole = scan(text);
  for (const cut of everyByte(text)) expect(scan(text, [cut]), `cut at ${cut}`).toEqual(whole);
  expect(scan(text, everyByte(text)), 'byte by byte').toEqual(whole);
  return whole;
}

test('json scanner: when a chat request is cut anywhere, its members are found', () => {
  const text = JSON.stringify({
    messages: [
      { role: 'system', content: 'Say "model": "decoy" \\ or {"model":"decoy"} und Größe 完了 ✅' },
      { role: 'user', content: [{ type: 'text', text: 'x'.repeat(90) + '\\"'.repeat(20) }], model: 'decoy' },
    ],
    'model ': 'decoy',
    stream: true,
    stream_options: { include_obfuscation: false, nested: { include_usage: false }, include_usage: true },
    metadata: { model: 'decoy', stream: false, include_usage: false, max_tokens: 1 },
    max_tokens: 12,
    max_completion_tokens: 1e3,
    max_output_tokens: 0,
    n: 2,
    user: 'Zoë "the" user',
    prompt_cache_key: '',
    model: 'meta-llama/Llama-3.1-8B-Instruct',
  });
  expect(expectSameAtEveryCut(text)).toEqual({
    state: ScanState.complete,
    problem: '',
    values: {
      model: 'meta-llama/Llama-3.1-8B-Instruct',
      stream: true,
      include_usage: true,
      max_tokens: 12,
      max_completion_tokens: 1000,
      max_output_tokens: 0,
      n: 2,
      user: 'Zoë "the" user',
      prompt_cache_key: '',
    },
    modelToken: '"meta-llama/Llama-3.1-8B-Instruct"',
  });
});

test('json scanner: when the model comes first, it is known before the body is over', () => {
  const body = Buffer.from('{"model":"m","messages":[{"role":"us');
  scanner.reset();
  expect(scanner.push(body, 0, 11)).toBe(ScanState.scanning);
  expect(scanner.hasModel).toBe(false);
  expect(scanner.push(body, 11, body.length)).toBe(ScanState.scanning);
  expect([scanner.hasModel, scanner.model, scanner.modelStart, scanner.modelEnd]).toEqual([true, 'm', 9, 12]);
});

const invalid: readonly [problem: string, text: string][] = [
  ['empty', ''],
  ['empty', ' \r\n\t'],
  ['bom', '\ufeff{"model":"m"}'],
  ['truncated', '{'],
  ['truncated', '{"model":"m"'],
  ['truncated', '{"model":"m'],
  ['truncated', '{"model":"m\\'],
  ['truncated', '{"n":1'],
  ['truncated', '{"a":[{}'],
  ['trailing_bytes', '{"model":"m"}{"model":"x"}'],
  ['trailing_bytes', '{}}'],
  ['trailing_bytes', '{},'],
  ['trailing_bytes', '{} x'],
  ['trailing_bytes', '{}"'],
  ['bad_syntax', '{}\0'],
  ['bad_syntax', '}'],
  ['bad_syntax', ':'],
  ['bad_syntax', 'model'],
  ['bad_syntax', '{"a":1,}'],
  ['bad_syntax', '{,"a":1}'],
  ['bad_syntax', '{"a":1 "b":2}'],
  ['bad_syntax', '{"a" 1}'],
  ['bad_syntax', '{"a"}'],
  ['bad_syntax', '{"a"::1}'],
  ['bad_syntax', '{"a":}'],
  ['bad_syntax', '{"a","b"}'],
  ['bad_syntax', '{1:2}'],
  ['bad_syntax', "{'model':'m'}"],
  ['bad_syntax', '{model:"m"}'],
  ['bad_syntax', '{"a":[1,]}'],
  ['bad_syntax', '{"a":[,1]}'],
  ['bad_syntax', '{"a":[1 2]}'],
  ['bad_syntax', '{"a":["model":"m"]}'],
  ['bad_syntax', '{"a":["x""y"]}'],
  ['bad_syntax', '{"a":{"b"}}'],
  ['bad_syntax', '{"a":{[]}}'],
  ['bad_syntax', '{"a":NaN}'],
  ['bad_syntax', '{"a":Infinity}'],
  ['bad_syntax', '{/*"model":"x"*/"model":"m"}'],
  ['bad_syntax', '{"a":1}\u00a0'.replace('}', '\u00a0}')],
  ['bad_nesting', '{"a":[1}'],
  ['bad_nesting', '{"a":{"b":1]}'],
  ['bad_nesting', '{]'],
  ['duplicate_model', '{"model":"m","model":"m"}'],
  ['duplicate_model', '{"model":"m","mod\\u0065l":"x"}'],
  ['duplicate_model', '{"\\u006d\\u006f\\u0064\\u0065\\u006c":"m","model":"x"}'],
  ['duplicate_stream', '{"stream":true,"stream":false}'],
  ['duplicate_stream', '{"stream":null,"stream":true}'],
  ['duplicate_stream_options', '{"stream_options":{},"stream_options":{}}'],
  ['duplicate_include_usage', '{"stream_options":{"include_usage":true,"include\\u005fusage":false}}'],
  ['duplicate_max_tokens', '{"max_tokens":1,"a":{"max_tokens":2},"max_tokens":1}'],
  ['duplicate_max_completion_tokens', '{"max_completion_tokens":1,"max_completion_tokens":1}'],
  ['duplicate_max_output_tokens', '{"max_output_tokens":1,"max_output_tokens":1}'],
  ['duplicate_n', '{"n":1,"n":1}'],
  ['duplicate_user', '{"user":"a","user":"a"}'],
  ['duplicate_prompt_cache_key', '{"prompt_cache_key":"a","prompt_cache_key":"a"}'],
  ['bad_string', '{"\\x":1}'],
  ['bad_string', '{"model":"a\\x"}'],
  ['bad_string', '{"model":"a\\u00"}'],
  ['bad_string', '{"model":"a\tb"}'],
  ['model_not_string', '{"model":null}'],
  ['model_not_string', '{"model":1}'],
  ['model_not_string', '{"model":true}'],
  ['model_not_string', '{"model":["m"]}'],
  ['model_not_string', '{"model":{"model":"m"}}'],
  ['stream_not_boolean', '{"stream":"true"}'],
  ['stream_not_boolean', '{"stream":1}'],
  ['stream_not_boolean', '{"stream":truex}'],
  ['stream_not_boolean', '{"stream":[]}'],
  ['stream_options_not_object', '{"stream_options":[]}'],
  ['stream_options_not_object', '{"stream_options":true}'],
  ['stream_options_not_object', '{"stream_options":"x"}'],
  ['include_usage_not_boolean', '{"stream_options":{"include_usage":1}}'],
  ['max_tokens_not_integer', '{"max_tokens":"1"}'],
  ['max_tokens_not_integer', '{"max_tokens":-2}'],
  ['max_tokens_not_integer', '{"max_tokens":-1.5}'],
  ['max_tokens_not_integer', '{"max_tokens":-1e1}'],
  ['n_not_integer', '{"n":-1}'],
  ['bad_syntax', '{"max_tokens":NaN}'],
  ['bad_syntax', '{"temperature":NaN}'],
  ['bad_syntax', '{"temperature":Infinity}'],
  ['bad_syntax', '{"temperature":-Infinity}'],
  ['bad_syntax', '{"a":[1,NaN]}'],
  ['bad_syntax', '{"a":{"b":-Infinity}}'],
  ['bad_syntax', '{"a":{"b":[Infinity]}}'],
  ['max_tokens_not_integer', '{"max_tokens":1.5}'],
  ['max_tokens_not_integer', '{"max_tokens":1e400}'],
  ['max_tokens_not_integer', '{"max_tokens":9007199254740992}'],
  ['max_tokens_not_integer', '{"max_tokens":01}'],
  ['max_tokens_not_integer', '{"max_tokens":1.}'],
  ['max_tokens_not_integer', '{"max_tokens":1e}'],
  ['max_tokens_not_integer', '{"max_tokens":1-1}'],
  ['max_tokens_not_integer', '{"max_tokens":false}'],
  ['max_tokens_not_integer', `{"max_tokens":1${'0'.repeat(40)}}`],
  ['n_not_integer', '{"n":{}}'],
  ['user_not_string', '{"user":7}'],
  ['prompt_cache_key_not_string', '{"prompt_cache_key":[]}'],
  ['model_too_long', `{"model":"${'m'.repeat(513)}"}`],
  ['user_too_long', `{"user":"${'m'.repeat(1025)}"}`],
  ['depth', '{"a":'.repeat(129)],
  ['depth', `{"a":${'['.repeat(128)}`],
];

// RFC 8259 section 4 leaves duplicate names open, so they are refused; FAULTS section 3 S6 and S7 give the other bounds.
test.each(invalid)('json scanner: when a body is refused, the problem is %s (case %#)', (problem, text) => {
  const found = text.length > 300 ? scan(text, [5, 200]) : expectSameAtEveryCut(text);
  expect(found).toMatchObject({ state: ScanState.invalid, problem });
});

// RFC 3629 section 3; a lenient reader makes U+FFFD of any of them, and so one name of many.
test.each(['\xff', 'a\xc3', '\xed\xa0\x80', '\xc0\xaf', '\xf4\x90\x80\x80'])(
  'json scanner: when bytes of a wanted string are no UTF-8, the body is refused (case %#)',
  (bytes) => {
    for (const key of ['model', 'user', 'prompt_cache_key']) {
      const body = Buffer.from(`{"${key}":"${bytes}"}`, 'latin1');
      const scanner = new RequestScanner();
      scanner.reset();
      expect([scanner.push(body, 0, body.length), scanner.problem]).toEqual([ScanState.invalid, 'bad_string']);
    }
  },
);

test('json scanner: when a limit is -1, it counts as absent', () => {
  const text = '{"model":"m","max_tokens":-1,"max_completion_tokens":-1,"max_output_tokens":-1}';
  expect(expectSameAtEveryCut(text)).toMatchObject({
    state: ScanState.complete,
    values: { max_tokens: -1, max_completion_tokens: -1, max_output_tokens: -1 },
  });
  expect(expectSameAtEveryCut('{"model":"a\ufffdb"}').values['model'], 'a real U+FFFD is text').toBe('a\ufffdb');
});

test.each(['[]', '[{"model":"m"}]', '"model"', '1', 'true', 'null', ' -1'])(
  'json scanner: when the root is %s, it is reported as no object',
  (text) => {
    expect(expectSameAtEveryCut(text).state).toBe(ScanState.notObject);
  },
);

test.each([
  ['{}', null],
  [' \n{ "model" : "m" , "stream" : null , "n":null,"user":null,"stream_options":null}\r\n\t', 'm'],
  ['{"model":""}', ''],
  ['{"mod\\u0065l":"\\u006d\\n\\ud83d\\ude00"}', 'm\n😀'],
  ['{"":1,"model":"m","é":[]}', 'm'],
  [`{"${'k'.repeat(2000)}":1,"${'\\u006d'.repeat(300)}":2,"model":"${'m'.repeat(512)}"}`, 'm'.repeat(512)],
  [`{"a":${'['.repeat(127)}${']'.repeat(127)},"model":"m"}`, 'm'],
  ['{"a":-1.5e+3,"b":[true,false,null,0.1],"model":"m"}', 'm'],
])('json scanner: when a body is sound, it is complete (case %#)', (text, model) => {
  const found = text.length > 300 ? scan(text, [5, 700, 1900, 1901]) : expectSameAtEveryCut(text);
  expect(found).toMatchObject({ state: ScanState.complete, problem: '', values: { model } });
});

// What JSON.parse makes of a document, with the scanner's policy laid over it.

const kinds: Readonly<Record<string, (value: unknown) => boolean>> = {
  model: (value) => typeof value === 'string',
  stream: isAbsentOr((value) => typeof value === 'boolean'),
  stream_options: isAbsentOr((value) => typeof value === 'object' && !Array.isArray(value)),
  max_tokens: isAbsentOr(isLimit),
  max_completion_tokens: isAbsentOr(isLimit),
  max_output_tokens: isAbsentOr(isLimit),
  n: isAbsentOr(isCount),
  user: isAbsentOr((value) => typeof value === 'string'),
  prompt_cache_key: isAbsentOr((value) => typeof value === 'string'),
};

function isAbsentOr(check: (value: unknown) => boolean): (value: unknown) => boolean {
  return (value) => value === null || check(value);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isLimit(value: unknown): boolean {
  return value === -1 || isCount(value);
}

function expectAgreement(text: string, found: Scan): void {
  const document = JSON.parse(text) as Record<string, unknown>;
  const options = document['stream_options'] as Record<string, unknown> | null | undefined;
  const isWellTyped =
    Object.entries(kinds).every(([name, isRight]) => !Object.hasOwn(document, name) || isRight(document[name])) &&
    (typeof options?.['include_usage'] === 'boolean' || (options?.['include_usage'] ?? null) === null);
  if (!isWellTyped) {
    expect(found.state).toBe(ScanState.invalid);
    expect(found.problem).toMatch(/_not_|^duplicate_/);
    return;
  }
  if (found.problem.startsWith('duplicate_')) return;
  expect(found.problem).toBe('');
  expect(found.state).toBe(ScanState.complete);
  expect(found.values).toEqual({
    model: document['model'] ?? null,
    stream: document['stream'] ?? null,
    include_usage: options?.['include_usage'] ?? null,
    max_tokens: document['max_tokens'] ?? -1,
    max_completion_tokens: document['max_completion_tokens'] ?? -1,
    max_output_tokens: document['max_output_tokens'] ?? -1,
    n: document['n'] ?? -1,
    user: document['user'] ?? null,
    prompt_cache_key: document['prompt_cache_key'] ?? null,
  });
  if (found.modelToken !== '') expect(JSON.parse(found.modelToken)).toBe(document['model']);
}

/** Writes a value as JSON with white space and escapes wherever the grammar allows them; `next` draws a small integer. */
function write(value: unknown, next: () => number): string {
  const pad = (): string => [' ', '\n', '\t\r\n', ''][next() % 12] ?? '';
  const around = (text: string): string => pad() + text + pad();
  if (typeof value === 'string') {
    const text = JSON.stringify(value).replace(/[^"\\]/g, (char) =>
      next() % 9 === 0 ? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}` : char,
    );
    // An escape written before must stay whole.
    return around(isJson(text) ? text : JSON.stringify(value));
  }
  if (Array.isArray(value)) return around(`[${value.map((each) => write(each, next)).join(',') || pad()}]`);
  if (value !== null && typeof value === 'object') {
    const members = Object.entries(value).map(([key, each]) => `${write(key, next)}:${write(each, next)}`);
    return around(`{${members.join(',') || pad()}}`);
  }
  return around(JSON.stringify(value));
}

/** UTF-8 cannot carry half a surrogate pair: what remains of `text` when it has been sent. */
function asSent(text: string): string {
  return Buffer.from(text).toString();
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

const names = [...Object.keys(kinds), 'include_usage', 'messages', 'models', 'max_token', '', 'größe'];
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom(...names, '"model":"x"', '\\', '{'),
);
const anyValue = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.oneof(anyText, fc.boolean(), fc.constant(null), fc.nat(), fc.double({ noNaN: true, noDefaultInfinity: true })),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.constantFrom(...names), anyText), tie('value'), { maxKeys: 4 }),
  ),
})).value;
const anyDocument = fc
  .tuple(
    fc.record(
      {
        model: fc.oneof({ weight: 5, arbitrary: anyText }, { weight: 1, arbitrary: anyValue }),
        stream: fc.oneof({ weight: 5, arbitrary: fc.boolean() }, { weight: 1, arbitrary: anyValue }),
        stream_options: fc.oneof(
          { weight: 5, arbitrary: fc.record({ include_usage: fc.boolean(), a: anyValue }, { requiredKeys: [] }) },
          { weight: 1, arbitrary: anyValue },
        ),
        max_tokens: fc.oneof({ weight: 5, arbitrary: fc.nat() }, { weight: 1, arbitrary: anyValue }),
        n: fc.nat(),
        user: anyText,
        messages: anyValue,
      },
      { requiredKeys: [] },
    ),
    fc.dictionary(anyText, anyValue, { maxKeys: 3 }),
    fc.infiniteStream(fc.nat({ max: 1000 })),
  )
  .map(([wanted, others, draws]) => asSent(write({ ...wanted, ...others }, () => draws.next().value)));

test('json scanner: when any document is scanned whole or in pieces, it agrees with JSON.parse', () => {
  fc.assert(
    fc.property(anyDocument, fc.array(fc.nat(), { maxLength: 4 }), (text, cuts) => {
      const byteCount = Buffer.byteLength(text);
      const found = byteCount < 120 ? expectSameAtEveryCut(text) : scan(text);
      expectAgreement(text, found);
      const sorted = cuts.map((cut) => cut % (byteCount + 1)).sort((a, b) => a - b);
      expect(scan(text, sorted)).toEqual(found);
    }),
    { numRuns: 800 },
  );
});

test('json scanner: when a document is damaged, it never finds what JSON.parse would not, nor depends on the pieces', () => {
  const mutation = fc.tuple(fc.nat(), fc.constantFrom('', ...'"\\{}[]:,0 tné'), fc.nat({ max: 2 }));
  fc.assert(
    fc.property(
      anyDocument,
      fc.array(mutation, { minLength: 1, maxLength: 3 }),
      fc.nat(),
      (document, mutations, cut) => {
        let text = document;
        for (const [at, inserted, removedCount] of mutations) {
          const index = at % (text.length + 1);
          text = text.slice(0, index) + inserted + text.slice(index + removedCount);
        }
        text = asSent(text);
        const found = scan(text);
        expect(scan(text, [cut % (Buffer.byteLength(text) + 1)])).toEqual(found);
        if (isJson(text) && found.state !== ScanState.notObject) expectAgreement(text, found);
      },
    ),
    { numRuns: 1500 },
  );
});

test('json scanner: when a 3 MB body arrives in 64 KB pieces, the model behind it is found and can be replaced in place', () => {
  const content = 'Größe \\"model\\": \\\\ 完了 '.repeat(110_000);
  const text = `{"messages":[{"role":"user","content":"${content}"}],"model":"small","stream":true}`;
  const body = Buffer.from(text);
  const cuts: number[] = [];
  for (let cut = 65_521; cut < body.length; cut += 65_521) cuts.push(cut);
  const found = scan(body, cuts);
  expect(found).toMatchObject({ state: ScanState.complete, values: { model: 'small', stream: true } });
  const renamed = Buffer.concat([
    body.subarray(0, scanner.modelStart),
    Buffer.from('"a/much/longer/name"'),
    body.subarray(scanner.modelEnd),
  ]);
  expect(renamed.toString()).toBe(text.replace('"model":"small"', '"model":"a/much/longer/name"'));
});

test('json scanner: when a document is many times larger than what is scanned at once, the pieces make no difference', () => {
  let seed = 7;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const parts = ['a', 'bc ', '\\', '"', '\n', 'é', '{"model":"decoy"}', 'x'.repeat(100), '\\"', '[', '}'];
  const text = (): string => Array.from({ length: random(40) }, () => parts[random(parts.length)]!).join('');
  const messages = Array.from({ length: 3000 }, (_, index) =>
    index % 7 === 0 ? [index, true, null, { deep: [text(), { a: -1.5e3 }] }] : { role: 'user', content: text() },
  );
  for (const spaces of [0, 1]) {
    const body = Buffer.from(JSON.stringify({ messages, other: text(), model: 'right' }, null, spaces));
    expect(body.length).toBeGreaterThan(3 * 65_536);
    for (let round = 0; round < 20; round++) {
      const sizeMax = [7, 100, 5000, 65_536, 300_000][round % 5]!;
      const cuts: number[] = [];
      for (let at = 0; (at += 1 + random(sizeMax)) < body.length;) cuts.push(at);
      const found = scan(body, cuts);
      expect([found.state, found.problem, found.values['model']]).toEqual([ScanState.complete, '', 'right']);
      // Without its last bracket it is not complete, however it was cut.
      expect(
        scan(
          body.subarray(0, body.length - 1),
          cuts.filter((cut) => cut < body.length - 1),
        ).problem,
      ).toBe('truncated');
    }
  }
}, 60_000);
