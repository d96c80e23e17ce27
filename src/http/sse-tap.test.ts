import { readdirSync, readFileSync } from 'node:fs';
import { createParser } from 'eventsource-parser';
import type { EventSourceMessage } from 'eventsource-parser';
import { expect, test } from 'vitest';
import { SseTap } from './sse-tap.ts';
import type { TokenUsage } from './usage.ts';

const fixtures = new URL('../../test/fixtures/', import.meta.url);

interface Seen {
  readonly eventCount: number;
  readonly atEventBoundary: boolean;
  readonly doneSeen: boolean;
  readonly errorSeen: boolean;
  readonly usage: TokenUsage | null;
}

/** Passes a stream through a tap, cut before the given offsets, each piece inside a slab full of stale events. */
function tapped(stream: Buffer, cuts: readonly number[] = [], tap = new SseTap()): Seen {
  tap.reset();
  const stale = 'data: {"usage":{"prompt_tokens":666}}\n\n\r\r';
  let start = 0;
  for (const end of [...cuts, stream.length]) {
    const slab = Buffer.alloc(end - start + 2 * stale.length, stale);
    stream.copy(slab, stale.length, start, end);
    tap.push(slab, stale.length, stale.length + end - start);
    slab.fill(0x0a);
    start = end;
  }
  return {
    eventCount: tap.eventCount,
    atEventBoundary: tap.atEventBoundary,
    doneSeen: tap.doneSeen,
    errorSeen: tap.errorSeen,
    usage: tap.readUsage(),
  };
}

function everyByte(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}

/** Events a client dispatches from the pieces. */
function dispatched(...pieces: readonly string[]): EventSourceMessage[] {
  const events: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (event) => events.push(event) });
  for (const piece of pieces) parser.feed(piece);
  return events;
}

const streams = readdirSync(fixtures, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.sse'))
  .sort();

/** What the last report in each stream says; the others hold no `usage` object. */
const usages: Readonly<Record<string, TokenUsage>> = {
  'anthropic/messages.stream.error.sse': { promptTokens: 20, completionTokens: 1, cachedTokens: 0 },
  'anthropic/messages.stream.text.sse': { promptTokens: 412, completionTokens: 14, cachedTokens: 0 },
  'anthropic/messages.stream.thinking.sse': { promptTokens: 90, completionTokens: 40, cachedTokens: 0 },
  'anthropic/messages.stream.tool-use.sse': { promptTokens: 655, completionTokens: 61, cachedTokens: 0 },
  'llamacpp/chat.stream.sse': { promptTokens: 96, completionTokens: 9, cachedTokens: 64 },
  'openai/audio.transcription.stream.sse': { promptTokens: 14, completionTokens: 8, cachedTokens: 0 },
  'openai/chat.stream.refusal.sse': { promptTokens: 58, completionTokens: 13, cachedTokens: 0 },
  'openai/chat.stream.text-usage.sse': { promptTokens: 412, completionTokens: 32, cachedTokens: 256 },
  'openai/chat.stream.tool-calls.sse': { promptTokens: 655, completionTokens: 38, cachedTokens: 512 },
  'openai/completions.stream.sse': { promptTokens: 4, completionTokens: 5, cachedTokens: 0 },
  'openai/responses.stream.function-call.sse': { promptTokens: 128, completionTokens: 17, cachedTokens: 0 },
  'openai/responses.stream.incomplete.sse': { promptTokens: 128, completionTokens: 4, cachedTokens: 0 },
  'openai/responses.stream.text-reasoning.sse': { promptTokens: 128, completionTokens: 73, cachedTokens: 0 },
  'sglang/chat.stream.sse': { promptTokens: 96, completionTokens: 11, cachedTokens: 64 },
  'tgi/chat.stream.sse': { promptTokens: 96, completionTokens: 4, cachedTokens: 0 },
  'vllm/chat.stream.continuous-usage.sse': { promptTokens: 9, completionTokens: 3, cachedTokens: 0 },
  'vllm/chat.stream.reasoning.sse': { promptTokens: 96, completionTokens: 11, cachedTokens: 64 },
};

const withError = new Set([
  'anthropic/messages.stream.error.sse',
  'openai/chat.stream.error-midstream.sse',
  'openai/responses.stream.error-event.sse',
  'sglang/chat.stream.error.sse',
  'tgi/generate.stream.error.sse',
  'vllm/chat.stream.error-midstream.sse',
]);

test.each(streams)('sse tap: when %s passes in any two pieces, events, marks and usage are seen', (name) => {
  const stream = readFileSync(new URL(name, fixtures));
  const events = dispatched(stream.toString());
  const expected = {
    eventCount: events.length,
    doneSeen: events.some((event) => event.data === '[DONE]'),
    errorSeen: withError.has(name),
    usage: usages[name] ?? null,
  };
  const whole = tapped(stream);
  expect(whole).toMatchObject(expected);
  expect(whole.atEventBoundary, 'only the cut one ends inside an event').toBe(!name.includes('truncated'));
  const tap = new SseTap();
  for (let cut = 0; cut <= stream.length; cut++) expect(tapped(stream, [cut], tap), `cut at ${cut}`).toEqual(whole);
  expect(tapped(stream, everyByte(stream.length), tap), 'byte by byte').toEqual(whole);
});

interface EdgeCase {
  readonly name: string;
  readonly input: string;
  readonly events: readonly { readonly event: string; readonly data: string }[];
}
const edgeCases = JSON.parse(readFileSync(new URL('sse/edge-cases.json', fixtures), 'utf8')) as { cases: EdgeCase[] };

// WHATWG HTML section 9.2.6.
test.each(edgeCases.cases)(
  'sse tap: when the stream is the edge case $name, its events are counted',
  ({ input, events }) => {
    const stream = Buffer.from(input);
    const whole = tapped(stream);
    expect(whole.eventCount).toBe(events.length);
    expect(whole.doneSeen).toBe(events.some((event) => event.data === '[DONE]'));
    const cuts = everyByte(stream.length + 1);
    for (const first of cuts) {
      for (const second of cuts.slice(first)) {
        const { eventCount, doneSeen } = tapped(stream, [first, second]);
        expect({ eventCount, doneSeen }, `cut at ${first} and ${second}`).toMatchObject({
          eventCount: whole.eventCount,
          doneSeen: whole.doneSeen,
        });
      }
    }
  },
);

test('sse tap: when it reports an event boundary, an event appended there reaches the client unchanged and alone', () => {
  const inputs = [
    ...edgeCases.cases.map((each) => each.input),
    ...streams.map((name) => readFileSync(new URL(name, fixtures), 'latin1').slice(0, 2500)),
  ];
  for (const input of inputs) {
    for (let length = 0; length <= input.length; length++) {
      const passed = input.slice(0, length);
      const { atEventBoundary } = tapped(Buffer.from(passed));
      if (/(^|\n)\r?\n$/.test(passed)) expect(atEventBoundary, JSON.stringify(passed.slice(-80))).toBe(true);
      if (!atEventBoundary) continue;
      // A comment makes the client decide about a final CR.
      const before = dispatched(passed, ':\n');
      const after = dispatched(passed, 'data: ours\n\n');
      expect(after.length, JSON.stringify(passed.slice(-80))).toBe(before.length + 1);
      expect(after.at(-1)).toMatchObject({ event: undefined, data: 'ours' });
    }
  }
});

test.each([
  ['', true],
  ['data: a\n\n', true],
  ['data: a\n\n: ping\n', true],
  [': ping\n\n', true],
  [': pi', false],
  ['data: a\n', false],
  ['data: a\n: ping\n', false],
  ['id: 7\n', false],
  ['data: a\n\ndata', false],
  ['data: a\r\n\r', false],
  ['data: a\r\n\r\n', true],
])('sse tap: when %j has passed, atEventBoundary is %s', (stream, atEventBoundary) => {
  expect(tapped(Buffer.from(stream)).atEventBoundary).toBe(atEventBoundary);
});

test.each([
  ['data: {"error":{"message":"x"}}\n\n', true],
  ['data:{"error":"x"}\n\n', true],
  ['data: { "error": {}}\r\n\r\n', true],
  ['data: {"type": "error", "error": {}}\n\n', true],
  ['event: error\ndata: {}\n\n', true],
  ['event:error\n\n', true],
  ['event: errors\ndata: {}\n\n', false],
  ['data: {"errors":1}\n\n', false],
  ['data: {"id":1,"error":null}\n\n', false],
  ['data: {"type":"delta","error":1}\n\n', false],
  ['data: {\ndata: "error":1}\n\n', false],
  [': {"error":1}\n\n', false],
  ['id: {"error":1}\ndata: a\n\n', false],
])('sse tap: when %j passes, errorSeen is %s', (stream, errorSeen) => {
  expect(tapped(Buffer.from(stream)).errorSeen).toBe(errorSeen);
});

test.each([
  ['', false],
  ['data: a', false],
  ['data: a\xc3', true],
  ['data: a\xc3\xa4', false],
  ['data: \xe2\x82', true],
  ['data: \xe2\x82\xac', false],
  ['\xf0\x9f\x98', true],
  ['\xf0\x9f\x98\x80', false],
  ['\x80\x80\x80\x80', false],
])('sse tap: when the stream %j is over, endsInCharacter is %s', (stream, endsInCharacter) => {
  const bytes = Buffer.from(stream, 'latin1');
  for (const cut of everyByte(bytes.length)) {
    const tap = new SseTap();
    tapped(bytes, [cut], tap);
    tap.finish();
    expect(tap.endsInCharacter).toBe(endsInCharacter);
  }
});

test.each([
  ['data: [DONE]\n\n', false],
  ['data: [DONE]\n\n: a comment\n\n', false],
  ['data: [DONE]\n\ndata: {}\n\n', true],
  ['data: [DONE]\n\ndata: [DONE]\n\n', true],
  ['data: {}\n\ndata: {}\n\n', false],
])('sse tap: when %j passes, hasAfterDone is %s', (stream, hasAfterDone) => {
  const tap = new SseTap();
  tapped(Buffer.from(stream), [], tap);
  expect(tap.hasAfterDone).toBe(hasAfterDone);
});

test.each([
  ['data: a\n\n', true],
  ['data: a\n\n: half a comment', false],
  ['data: a\n\ndata: b', false],
  ['data: a\n\ndata: b\n', false],
])('sse tap: when the stream %j is over, an event of ours could follow: %s', (stream, fits) => {
  const tap = new SseTap();
  tapped(Buffer.from(stream), [], tap);
  tap.finish();
  expect(tap.atEventBoundary).toBe(fits);
});

test('sse tap: when a large event holds its usage far from its start, it is found however the event is cut', () => {
  const text = JSON.stringify('Größe "usage":{"prompt_tokens":1} '.repeat(4000));
  const metadata = JSON.stringify(Object.fromEntries(everyByte(8).map((index) => [`key${index}`, 'v'.repeat(400)])));
  const usage = '"usage":{"input_tokens":7,"input_tokens_details":{"cached_tokens":5},"output_tokens":3}';
  const event = `data: {"response":{"output":${text},${usage},"metadata":${metadata}}}\n\n`;
  const stream = Buffer.from(`data: {"a":1}\n\n${event}`);
  const expected = {
    eventCount: 2,
    atEventBoundary: true,
    usage: { promptTokens: 7, completionTokens: 3, cachedTokens: 5 },
  };
  for (const size of [37, 1000, 4096, 9001, 65_536, stream.length]) {
    const cuts = everyByte(Math.ceil(stream.length / size) - 1).map((index) => (index + 1) * size);
    expect(tapped(stream, cuts), `pieces of ${size}`).toMatchObject(expected);
  }
});

test('sse tap: when text only speaks of usage, none is read', () => {
  const texts = ['"usage":{"prompt_tokens":1}', 'say "usage', '\\"usage":{"prompt_tokens":1}'];
  for (const text of texts) {
    const stream = Buffer.from(`data: ${JSON.stringify({ choices: [{ delta: { content: text } }], usage: null })}\n\n`);
    expect(tapped(stream).usage).toBeNull();
  }
});

test('sse tap: when Anthropic counts the cache beside its input, the prompt is the sum', () => {
  const start = '{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":300,"output_tokens":1}';
  const stream = `data: {"message":{"usage":${start}}}\n\ndata: {"delta":{},"usage":{"input_tokens":10,"output_tokens":9}}\n\n`;
  expect(tapped(Buffer.from(stream)).usage).toEqual({ promptTokens: 330, completionTokens: 9, cachedTokens: 300 });
});

test('sse tap: when it is reset in mid-event, nothing of the old stream is left', () => {
  const tap = new SseTap();
  const old = Buffer.from('data: [DONE]\n\nevent: error\ndata: {"usage":{"prompt_tokens":1}}\r');
  tap.push(old, 0, old.length);
  expect(tapped(Buffer.from('\ndata: a\r\rdata: b\r\r'), [], tap)).toEqual(
    tapped(Buffer.from('\ndata: a\r\rdata: b\r\r')),
  );
  expect(tapped(Buffer.alloc(0), [], tap)).toEqual({
    eventCount: 0,
    atEventBoundary: true,
    doneSeen: false,
    errorSeen: false,
    usage: null,
  });
});

// Found by fuzzing: what is kept of a cut line lies over what was kept of earlier ones.
test('sse tap: when short lines come in pieces behind longer ones, nothing of those is read again', () => {
  const tap = new SseTap();
  const pieces = (text: string): number[] => everyByte(text.length).slice(1);
  const text = 'data: {"a":1}\n\ndata: \n\n';
  tapped(Buffer.from(text), pieces(text), tap);
  expect([tap.eventCount, tap.oddCount], 'data without a byte is no JSON').toEqual([2, 1]);
  const marked = '\xef\xbb\xbfdata: {}\n\n';
  tapped(Buffer.from(marked, 'latin1'), pieces(marked), tap);
  expect(tap.eventCount).toBe(1);
  const unmarked = '\xef\n';
  tapped(Buffer.from(unmarked, 'latin1'), pieces(unmarked), tap);
  expect(tap.atEventBoundary, 'one byte of a mark is no mark').toBe(false);
});
