import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RequestScanner, ScanState } from '../../http/index.ts';
import { type BodyEdit, editedBytes } from '../../relay/index.ts';
import { bootstrapMembers, drawRoom, lastMembers, prefillEdits } from './transfer-body.ts';
import { makeSpans } from './transfer-keys.ts';

const scanner = new RequestScanner();
const spans = makeSpans();

function scan(bytes: Buffer): void {
  spans.reset();
  scanner.reset(null, spans);
  scanner.push(bytes, 0, bytes.length);
  expect(scanner.finish(), scanner.problem).toBe(ScanState.complete);
}

function applied(bytes: Buffer, edits: readonly BodyEdit[]): string {
  const pieces: Buffer[] = [];
  let from = 0;
  for (const { start, end, replacement } of [...edits].sort((a, b) => a.start - b.start || a.end - b.end)) {
    expect(start).toBeGreaterThanOrEqual(from);
    pieces.push(bytes.subarray(from, start), replacement);
    from = end;
  }
  const whole = Buffer.concat([...pieces, bytes.subarray(from)]);
  expect(whole.length).toBe(editedBytes(bytes.length, edits));
  return whole.toString();
}

const lengths = fc.constantFrom('max_tokens', 'max_completion_tokens', 'min_tokens');
const body = fc.record({
  // None of the names that the scanner reads, whose values have to be of some kind.
  before: fc.dictionary(
    fc.string({ unit: 'grapheme' }).map((key) => `_${key}`),
    fc.jsonValue(),
  ),
  counts: fc.dictionary(lengths, fc.nat()),
  stream: fc.option(fc.boolean(), { nil: undefined }),
  options: fc.option(fc.record({ include_usage: fc.boolean() }), { nil: undefined }),
  messages: fc.array(fc.jsonValue()),
});
const prefillParams = {
  do_remote_decode: true,
  do_remote_prefill: false,
  remote_engine_id: null,
  remote_block_ids: null,
  remote_host: null,
  remote_port: null,
};

// Keys are in order, so equal text says that nothing was moved, and nothing stands twice.
test('transfer body: when the prompt of any body is asked for, it is for one token at once, and everything else is as it was', () => {
  fc.assert(
    fc.property(body, fc.constantFrom(0, 1, 4), (made, indent) => {
      const object: Record<string, unknown> = {
        ...made.before,
        ...made.counts,
        ...(made.stream === undefined ? {} : { stream: made.stream }),
        messages: made.messages,
        ...(made.options === undefined ? {} : { stream_options: made.options }),
      };
      const bytes = Buffer.from(JSON.stringify(object, null, indent));
      scan(bytes);
      const expected: Record<string, unknown> = { ...(JSON.parse(bytes.toString()) as object) };
      for (const key of ['max_tokens', 'max_completion_tokens']) if (key in made.counts) expected[key] = 1;
      if ('min_tokens' in made.counts) expected['min_tokens'] = 0;
      if (made.stream !== undefined) expected['stream'] = false;
      if (made.options !== undefined) expected['stream_options'] = null;
      if (!('max_tokens' in made.counts)) expected['max_tokens'] = 1;
      expected['kv_transfer_params'] = prefillParams;
      expect(JSON.stringify(JSON.parse(applied(bytes, prefillEdits(spans))))).toBe(JSON.stringify(expected));
    }),
    { numRuns: 300 },
  );
});

test('transfer body: when an object is empty, what is put in it has no comma in front', () => {
  const bytes = Buffer.from(' { } ');
  scan(bytes);
  expect(applied(bytes, [lastMembers(spans, '"a":1')])).toBe(' { "a":1} ');
});

test('transfer body: when rooms are drawn, they are different int64, written out in full', () => {
  const rooms = Array.from({ length: 500 }, drawRoom);
  expect(new Set(rooms).size).toBe(500);
  for (const room of rooms) {
    expect(room).toMatch(/^(?:0|[1-9]\d*)$/);
    expect(BigInt(room)).toBeLessThan(2n ** 62n);
  }
  expect(rooms.filter((room) => BigInt(room) > BigInt(Number.MAX_SAFE_INTEGER)).length).toBeGreaterThan(400);
  const members = bootstrapMembers('fe80::1', 8998, '4611686018427387903').toString();
  expect(members).toBe('"bootstrap_host":"fe80::1","bootstrap_port":8998,"bootstrap_room":4611686018427387903');
});
