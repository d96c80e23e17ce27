import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RequestScanner, ScanState } from './json-scanner.ts';
import { MemberSpans } from './member-spans.ts';

const names = ['stream', 'max_tokens', 'kv', 'n'] as const;
const spans = new MemberSpans(names, ['kv_transfer_params', 'bootstrap_room']);
const scanner = new RequestScanner();

function scan(text: string, cuts: readonly number[] = []): ScanState {
  const body = Buffer.from(text);
  spans.reset();
  scanner.reset(null, spans);
  let start = 0;
  for (const end of [...cuts, body.length]) {
    scanner.push(body, start, end);
    start = end;
  }
  return scanner.finish();
}

const valueOf = (text: string, name: string): string =>
  Buffer.from(text).subarray(spans.startOf(name), spans.endOf(name)).toString();

test('member spans: when a body is cut anywhere, the same places are found', () => {
  const text = ' {"ü":{"stream":1},"stream" : true ,"kv":{"kv":[1,{"max_tokens":2}]},"m\\u0061x_tokens":5} ';
  const bytes = Buffer.byteLength(text);
  for (let cut = 0; cut <= bytes; cut++) {
    expect(scan(text, [cut])).toBe(ScanState.complete);
    expect(valueOf(text, 'stream')).toBe(' true ');
    expect(valueOf(text, 'kv')).toBe('{"kv":[1,{"max_tokens":2}]}');
    expect(valueOf(text, 'max_tokens')).toBe('5');
    expect([spans.startOf('n'), spans.endOf('n')]).toEqual([-1, -1]);
    expect(Buffer.from(text)[spans.rootEnd]).toBe('}'.charCodeAt(0));
    expect([spans.isEmpty, spans.isAmbiguous, spans.forbiddenName]).toEqual([false, false, '']);
  }
});

test('member spans: when a value is replaced by its span, the rest of the document stays what it was', () => {
  const key = fc.oneof(fc.constantFrom(...names), fc.string({ unit: 'grapheme', maxLength: 150 }));
  fc.assert(
    fc.property(fc.dictionary(key, fc.jsonValue()), fc.constantFrom(0, 1, 3), (value, indent) => {
      const object = { ...value, n: 1, kv: { a: [] }, stream: true, max_tokens: 5 };
      const text = JSON.stringify(object, null, indent);
      expect(scan(text, [text.length >> 1]), scanner.problem).toBe(ScanState.complete);
      const bytes = Buffer.from(text);
      const start = spans.startOf('kv');
      const edited = [
        bytes.subarray(0, start),
        Buffer.from('"new"'),
        bytes.subarray(spans.endOf('kv'), spans.rootEnd),
        Buffer.from(',"last":1'),
        bytes.subarray(spans.rootEnd),
      ];
      const expected = { ...object, kv: 'new', last: 1 };
      expect(JSON.stringify(JSON.parse(Buffer.concat(edited).toString()))).toBe(
        JSON.stringify(JSON.parse(JSON.stringify(expected))),
      );
    }),
    { numRuns: 500 },
  );
});

test.each([
  '{"kv_transfer_params":{"do_remote_prefill":true}}',
  '{"a":1,"kv_transfer_param\\u0073":null}',
  '{"\\u006b\\u0076\\u005f\\u0074\\u0072\\u0061\\u006e\\u0073\\u0066\\u0065\\u0072\\u005f\\u0070\\u0061\\u0072\\u0061\\u006d\\u0073":1}',
  '{"messages":[],"bootstrap_room":[1,2]}',
  '{"bootstrap_room":"1"}',
])('member spans: when a body is %s, the forbidden name is seen, wherever it is cut', (text) => {
  for (let cut = 0; cut <= text.length; cut++) {
    scan(text, [cut]);
    expect(spans.forbiddenName, `cut at ${cut}`).not.toBe('');
  }
});

test.each([
  '{"a":{"kv_transfer_params":1}}',
  '{"a":"kv_transfer_params"}',
  '{"kv_transfer_params ":1}',
  '{"kv_transfer_param":1}',
])('member spans: when a body is %s, nothing forbidden is seen', (text) => {
  expect(scan(text)).toBe(ScanState.complete);
  expect(spans.forbiddenName).toBe('');
});

test('member spans: when a name is met twice, or no member at all, it is known', () => {
  scan('{"kv":1,"kv":2}');
  expect(spans.isAmbiguous).toBe(true);
  scan(' {  } ');
  expect([spans.isAmbiguous, spans.isEmpty, spans.rootEnd]).toEqual([false, true, 4]);
});

test('member spans: when a name is too long for the scanner to tell of, it is refused', () => {
  const longest = 'max_completion_tokens';
  const escaped = [...longest].map((char) => `\\u00${char.charCodeAt(0).toString(16)}`).join('');
  const forbidding = new MemberSpans([], [longest]);
  scanner.reset(null, forbidding);
  const body = Buffer.from(`{"${escaped}":1}`);
  for (let at = 0; at < body.length; at++) scanner.push(body, at, at + 1);
  expect(scanner.finish()).toBe(ScanState.complete);
  expect(forbidding.forbiddenName).toBe(longest);
  expect(() => new MemberSpans([], [`${longest}s`])).toThrow('keyBytesMax');
});
