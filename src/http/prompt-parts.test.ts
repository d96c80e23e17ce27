import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RequestScanner, ScanState } from './json-scanner.ts';
import { PrefixHash } from './prefix-hash.ts';
import { PromptPart, PromptParts } from './prompt-parts.ts';

interface Scanned {
  readonly state: ScanState;
  readonly isPrompt: boolean;
  /** Blocks of each part: lanes and end. */
  readonly blocks: readonly (readonly string[])[];
}

function blocksOf(hash: PrefixHash): string[] {
  return Array.from(
    { length: hash.blockCount },
    (_, index) => `${hash.low(index)} ${hash.high(index)} ${hash.endOf(index)}`,
  );
}

/** `cuts`: offsets before which the body is cut into pieces. */
function scan(body: string, cuts: readonly number[] = []): Scanned {
  const bytes = Buffer.from(body);
  const parts = new PromptParts();
  const scanner = new RequestScanner();
  parts.reset();
  scanner.reset(parts);
  let at = 0;
  for (const end of [...cuts, bytes.length].sort((a, b) => a - b)) {
    scanner.push(bytes, at, Math.min(end, bytes.length));
    at = Math.min(end, bytes.length);
  }
  const state = scanner.finish();
  const isPrompt = parts.finish();
  return { state, isPrompt, blocks: Object.values(PromptPart).map((part) => blocksOf(parts.hash(part))) };
}

/** The oracle: the raw text of a value hashed on its own, with checkpoints where `elements` end when it is a list. */
function hashed(raw: string, elementEnds: readonly number[], isFinished: boolean): string[] {
  const hash = new PrefixHash();
  const bytes = Buffer.from(raw);
  let at = 0;
  for (const end of elementEnds) {
    hash.push(bytes, at, end);
    hash.checkpoint();
    at = end;
  }
  hash.push(bytes, at, bytes.length);
  if (isFinished) hash.finish();
  return blocksOf(hash);
}

// What stands between two texts is recognised as a whole where it stood there before; byte by byte nothing is.
test('prompt parts: when messages are alike, they are read as they are byte by byte, whatever is wrong with one of them', () => {
  const seams = fc.constantFrom(
    '"},{"role":"user","content":"',
    '"},{"role":"assistant","content":"',
    '"}, {"role": "tool", "tool_call_id": "call_1", "content": "',
    '"}]},{"role":"user","content":[{"type":"text","text":"',
    '","cache":{"a":[]},"text":"',
    '"},{"x":"y"},{"content":"',
    '"},{},[],{"content":"',
    '"}],[{"text":"',
    '"}]},[[{"text":"',
    '"}]]},{"other":[{"text":"',
    '","reasoning":"',
  );
  const texts = fc.constantFrom(
    'ok',
    'How are you today, and what',
    'a \\"quoted\\" word and \\\\ some more text',
    'x'.repeat(600),
    '潮汐 and other things to be seen here',
  );
  const damage = fc.option(
    fc.record({
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      byte: fc.constantFrom(...Buffer.from('"\\\\{}[],:a0 ')),
    }),
  );
  const messages = fc.array(fc.tuple(texts, seams), { minLength: 1, maxLength: 30 });
  const parts = new PromptParts();
  const scanner = new RequestScanner();
  fc.assert(
    fc.property(messages, fc.constantFrom('messages', 'other'), damage, (list, name, wound) => {
      const inner = list.map(([content, seam]) => content + seam).join('');
      const body = Buffer.from(`{"${name}":[{"role":"user","content":"${inner}end"}],"model":"m"}`);
      if (wound !== null) body[Math.floor(wound.at * (body.length - 1))] = wound.byte;
      const read = (pieceBytes: number): object => {
        parts.reset();
        scanner.reset(parts);
        for (let at = 0; at < body.length; at += pieceBytes) {
          scanner.push(body, at, Math.min(body.length, at + pieceBytes));
        }
        const state = scanner.finish();
        const blocks = parts.finish() ? blocksOf(parts.hash(PromptPart.turns)) : [];
        return { state, problem: scanner.problem, model: scanner.model, blocks };
      };
      const expected = read(1);
      for (const pieceBytes of [body.length, 700, 97]) expect(read(pieceBytes)).toEqual(expected);
    }),
    { numRuns: 500 },
  );
});

// The same long text some brackets deep, one behind the other in lists, and in objects, where they may not stand.
test('prompt parts: when the same nested text comes again in lists and in objects, what JSON.parse refuses is refused, and nothing else', () => {
  const wrapped = fc
    .array(fc.tuple(fc.boolean(), fc.constantFrom('', ',"k":"v"')), { minLength: 1, maxLength: 5 })
    .map((layers) =>
      layers.reduce(
        (inner, [isList, more]) => (isList ? `[${inner}]` : `{"a":${inner}${more}}`),
        '{"t":"How are you today, and what"}',
      ),
    );
  const places: ((one: string, other: string) => string)[] = [
    (one) => `[${one},${one}]`,
    (one, other) => `[${one},${other},${one}]`,
    (one) => `{"z":${one},${one}}`,
    (one) => `{"z":${one},"y":${one}}`,
    (one, other) => `{"z":${one},${other}}`,
    (one) => `[[${one}],[${one}]]`,
    (one, other) => `[{"z":${one}},${other}]`,
    (one, other) => `[{"z":${one},"y":[${other}]},${one}]`,
    (one, other) => `{"z":[${one},${one}],"y":${other}}`,
  ];
  const chosen = fc.array(fc.constantFrom(...places), { minLength: 2, maxLength: 4 });
  const damage = fc.option(
    fc.record({
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      text: fc.constantFrom('[', ']', '{', '}', ',', ':', '"'),
      isInserted: fc.boolean(),
    }),
  );
  const parts = new PromptParts();
  const scanner = new RequestScanner();
  const seen = { valid: 0, invalid: 0 };
  fc.assert(
    fc.property(wrapped, wrapped, chosen, damage, (one, other, list, wound) => {
      let messages = list.map((place) => place(one, other)).join(',');
      if (wound !== null) {
        const at = Math.floor(wound.at * messages.length);
        messages = messages.slice(0, at) + wound.text + messages.slice(at + (wound.isInserted ? 0 : 1));
      }
      const text = `{"messages":[${messages}],"model":"m"}`;
      const body = Buffer.from(text);
      const read = (pieceBytes: number): object => {
        parts.reset();
        scanner.reset(parts);
        for (let at = 0; at < body.length; at += pieceBytes)
          scanner.push(body, at, Math.min(body.length, at + pieceBytes));
        const state = scanner.finish();
        const blocks = parts.finish() ? blocksOf(parts.hash(PromptPart.turns)) : [];
        return { isComplete: state === ScanState.complete, problem: scanner.problem, blocks };
      };
      const isValid = isJson(text);
      seen[isValid ? 'valid' : 'invalid']++;
      expect(read(body.length)).toEqual(read(1));
      expect(read(body.length)).toMatchObject({ isComplete: isValid });
    }),
    { numRuns: 3000 },
  );
  expect(Math.min(seen.valid, seen.invalid)).toBeGreaterThan(300);
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

// The same bytes between two texts at the same depth, once inside of a list and once inside of an object, where they are not allowed.
test('prompt parts: when what led from text to text in a list stands in an object, it is refused as if it stood there first', () => {
  const text = 'How are you today, and what';
  const seam = (inner: string): string => `{"a":[[{"text":"${inner}"}]],"k":"v"}`;
  const inList = `[${seam(text)},${seam(text)},${seam(text)}]`;
  const inObject = `{"z":${seam(text)},${seam(text)}}`;
  expect(scan(`{"messages":[${inList},${inList}]}`).state).toBe(ScanState.complete);
  for (const messages of [inObject, `${inList},${inObject}`]) {
    expect(() => void JSON.parse(`[${messages}]`)).toThrow();
    expect(scan(`{"messages":[${messages}]}`).state, messages).toBe(ScanState.invalid);
  }
});

test('prompt parts: when a prompt has images, each makes blocks like text and counts as 4 KiB of it, however it is cut', () => {
  const image = (bytes: number): string =>
    Buffer.from(Array.from({ length: bytes }, (_, at) => (at * at * 31 + at) >> 3)).toString('base64');
  const elements = (url: string): string[] => [
    JSON.stringify({ role: 'user', content: [{ text: 'What is it? '.repeat(100) }, { image_url: { url } }] }),
    '{"role":"assistant","content":"A crane."}',
    '{"role":"user","content":"And this?"}',
  ];
  const content = (url: string): string => `[${elements(url).join(',')}]`;
  const prompt = (url: string, cuts: readonly number[] = []) => {
    const body = `{"messages":${content(url)}}`;
    const parts = new PromptParts();
    const scanner = new RequestScanner();
    parts.reset();
    scanner.reset(parts);
    const bytes = Buffer.from(body);
    let from = 0;
    for (const end of [...cuts, bytes.length]) {
      scanner.push(bytes, from, end);
      from = end;
    }
    expect([scanner.finish(), parts.finish()]).toEqual([ScanState.complete, true]);
    return parts.hash(PromptPart.turns);
  };
  const around = content('').length;
  const url = `data:image/png;base64,${image(600_000)}`;
  const hash = prompt(url);
  const lanes = (of: PrefixHash): string[] => blocksOf(of).map((block) => block.replace(/ \d+$/, ''));
  expect([hash.byteCount, hash.encodedCount]).toEqual([around + 4096, 1]);
  let length = 0;
  const elementEnds = elements(url).map((element) => (length += element.length + 1));
  expect(lanes(hash)).toEqual(hashed(content(url), elementEnds, false).map((block) => block.replace(/ \d+$/, '')));
  const ends = Array.from({ length: hash.blockCount }, (_, block) => hash.endOf(block));
  expect(ends).toEqual(ends.toSorted((a, b) => a - b));
  expect(ends.at(-1)).toBeLessThanOrEqual(around + 4096);
  for (const pieceBytes of [100, 1000, 4096, 65_537]) {
    const cuts = Array.from({ length: Math.floor(url.length / pieceBytes) }, (_, index) => (index + 1) * pieceBytes);
    const cut = prompt(url, cuts);
    expect([cut.byteCount, cut.encodedCount], `pieces of ${pieceBytes}`).toEqual([around + 4096, 1]);
    expect(lanes(cut)).toEqual(lanes(hash));
  }
  // Escaped slashes, the other alphabet, raw Base64 as Anthropic has it, and what is less than the tariff.
  expect(prompt(image(300_000).replaceAll('/', '\\/')).byteCount).toBe(around + 4096);
  expect(prompt(image(300_000).replaceAll('/', '_')).byteCount).toBe(around + 4096);
  expect(prompt(image(1500)).byteCount).toBe(around + 2000);
  // Text is text.
  for (const long of ['pump and valve '.repeat(1000), 'a'.repeat(10_000), '\u6f6e'.repeat(5000)]) {
    expect(prompt(long).byteCount).toBe(around + Buffer.byteLength(long));
  }
});

const text = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom(
    '"messages":[',
    '\\"messages\\":[{',
    '}]',
    '},{"role":"user"',
    '\\',
    '{"prompt":"x"}',
    'a'.repeat(700),
  ),
);
const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    text,
    fc.integer(),
    fc.constantFrom(null, true, false),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(text, tie('value'), { maxKeys: 4 }),
  ),
})).value;
const message = fc.record({ role: fc.constantFrom('user', 'assistant', 'system', 'tool'), content: value });
const space = fc.constantFrom('', ' ', '\n  ');

/** A list as clients write it, and where each element that is an object or a list ends. */
const list = fc.tuple(fc.array(fc.oneof(message, value), { maxLength: 12 }), space).map(([elements, gap]) => {
  let raw = `[${gap}`;
  const ends: number[] = [];
  for (const [index, element] of elements.entries()) {
    raw += JSON.stringify(element);
    if (typeof element === 'object' && element !== null) ends.push(Buffer.byteLength(raw));
    raw += index === elements.length - 1 ? gap : `,${gap}`;
  }
  return { raw: `${raw}]`, ends };
});

test('prompt parts: when members come in any order and pieces of any size, each part is the raw text of its member', () => {
  fc.assert(
    fc.property(
      list,
      fc.option(
        fc.oneof(
          list,
          text.map((each) => ({ raw: JSON.stringify(each), ends: [] })),
        ),
      ),
      fc.option(list),
      fc.dictionary(
        text.filter((key) => !/^(?:model|stream|n|user|max_|prompt|input|system|messages|tools)/.test(key)),
        value,
        { maxKeys: 3 },
      ),
      fc.constantFrom('messages', 'prompt', 'input', 'm\\u0065ssages'),
      fc.infiniteStream(fc.nat()),
      fc.array(fc.nat({ max: 6000 }), { maxLength: 6 }),
      (turns, system, tools, others, name, order, cuts) => {
        const members = [
          `"${name}": ${turns.raw}`,
          ...(system === null ? [] : [`"system":${system.raw}`]),
          ...(tools === null ? [] : [`"tools" :${tools.raw}`]),
          '"model":"m"',
          ...Object.entries(others).map(([key, each]) => `${JSON.stringify(key)}:${JSON.stringify(each)}`),
        ].sort(() => (order.next().value % 2 === 0 ? 1 : -1));
        const body = `{${members.join(', ')}}`;
        JSON.parse(body);
        const seen = scan(body, cuts);
        expect(seen.state).toBe(ScanState.complete);
        expect(seen.isPrompt).toBe(true);
        expect(seen.blocks[PromptPart.turns]).toEqual(hashed(turns.raw, turns.ends, false));
        expect(seen.blocks[PromptPart.system]).toEqual(system === null ? [] : hashed(system.raw, system.ends, true));
        expect(seen.blocks[PromptPart.tools]).toEqual(tools === null ? [] : hashed(tools.raw, tools.ends, true));
      },
    ),
    { numRuns: 300 },
  );
});

const turn = (text: string): string => JSON.stringify({ role: 'user', content: text });
const chat = (turns: readonly string[], rest = ''): string => `{"messages":[${turns.join(',')}],"model":"m"${rest}}`;

test('prompt parts: when a conversation goes on, its first turns are the same blocks, to their end', () => {
  const turns = ['a', 'b', 'c', 'd'].map((letter) => turn(letter.repeat(900)));
  const before = scan(chat(turns)).blocks[PromptPart.turns]!;
  const after = scan(chat([...turns, turn('e'.repeat(3000)), turn('f')])).blocks[PromptPart.turns]!;
  expect(after.slice(0, before.length)).toEqual(before);
  const end = Number(before.at(-1)!.split(' ')[2]);
  expect(end, 'the last turn to its last byte').toBe(Buffer.byteLength(`[${turns.join(',')}`));
});

test('prompt parts: when parameters around the prompt differ, or stand elsewhere, its blocks do not', () => {
  const turns = [turn('hello '.repeat(500))];
  const one = scan(chat(turns, ',"temperature":0.1'));
  const other = scan(`{"temperature":1,"stream":true,"metadata":{"messages":[1]},"messages":[${turns.join(',')}]}`);
  expect(other.blocks).toEqual(one.blocks);
});

test('prompt parts: when a member stands twice, or the engine adds to the prompt or cuts it, there is no prompt to go by', () => {
  expect(scan(chat([turn('x')])).isPrompt).toBe(true);
  expect(scan(chat([turn('x')], ',"messages":[]')).isPrompt).toBe(false);
  expect(scan(chat([turn('x')], ',"prompt":"x"')).isPrompt).toBe(false);
  expect(scan(chat([turn('x')], ',"previous_response_id":"r"')).isPrompt).toBe(false);
  expect(scan(chat([turn('x')], ',"truncate_prompt_tokens":5')).isPrompt).toBe(false);
  expect(scan('{"model":"m"}').isPrompt).toBe(false);
  expect(scan('{"model":"m","messages":null}').isPrompt).toBe(false);
  expect(scan('{"nested":{"messages":[1]},"text":"\\"messages\\":[1]"}').isPrompt).toBe(false);
});

test('prompt parts: when settings differ that change the text around the turns, they do', () => {
  const settings = (rest: string): readonly string[] => scan(chat([turn('x')], rest)).blocks[PromptPart.settings]!;
  expect(settings('')).toEqual([]);
  expect(settings(',"cache_salt":"a"')).not.toEqual(settings(',"cache_salt":"b"'));
  expect(settings(',"chat_template_kwargs":{"thinking":true}')).toHaveLength(1);
});
