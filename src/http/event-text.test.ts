import { expect, test } from 'vitest';
import { EventText } from './event-text.ts';
import { SseTap } from './sse-tap.ts';

/** As engines write it; `text` is JSON-escaped here. */
function chatEvent(text: string): string {
  return `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":${JSON.stringify(text)}},"finish_reason":null}]}`;
}

function seen(lines: readonly string[]): { textCount: number; replacedCount: number; repeatSeen: boolean } {
  const text = new EventText();
  for (const line of lines) {
    // Bytes of other reads lie around it.
    const bytes = Buffer.from(`xx${line}"}xx`);
    text.note(bytes, 2, bytes.length - 4);
  }
  const { textCount, replacedCount, repeatSeen } = text;
  return { textCount, replacedCount, repeatSeen };
}

function chat(texts: readonly string[]): ReturnType<typeof seen> {
  return seen(texts.map(chatEvent));
}

function times<Item>(count: number, items: readonly Item[]): Item[] {
  return Array.from({ length: count }, () => items).flat();
}

const events: Readonly<Record<string, string>> = {
  chat: chatEvent('a'),
  'chat, spaced as by json.dumps': 'data: {"choices": [{"delta": {"content": "a"}}]}',
  'a chat that thinks': 'data: {"choices":[{"delta":{"reasoning_content":"a"}}]}',
  'a chat that calls a tool': 'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]}',
  'a call without arguments':
    'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"now","arguments":""}}]}}]}',
  completions: 'data: {"choices":[{"index":0,"text":"a","logprobs":null}]}',
  messages: 'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}',
  'a tool of messages': 'data: {"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{"}}',
  responses: 'data: {"type":"response.output_text.delta","sequence_number":4,"delta":"a","logprobs":[]}',
  'tgi, its own': 'data: {"index":1,"token":{"id":32,"text":"a","logprob":-0.5,"special":false}}',
};
test.each(Object.entries(events))('event text: when an event is of %s, its text is found', (_, line) => {
  expect(seen([line, line]).textCount).toBe(2);
});

const textless: readonly string[] = [
  'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}',
  'data: {"choices":[{"index":0,"delta":{"content":null}}]}',
  'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":0}}',
  'data: {"type":"message_start","message":{"id":"msg","content":[],"model":"m"}}',
  'data: {"model":"it says \\"content\\":\\"a\\" here"}',
  'data: [DONE]',
  'data:',
];
test.each(textless)('event text: when an event is %s, it has none', (line) => {
  expect(seen([line, chatEvent('a'), line]).textCount).toBe(1);
});

test('event text: when the text moves to another place or another member, it is found again', () => {
  const longer = chatEvent('b').replace('chatcmpl-1', 'chatcmpl-12345');
  expect(seen([chatEvent('a'), longer, events['completions']!, longer, chatEvent('c')]).textCount).toBe(5);
});

// NaN logits decode to the first token of the vocabulary, for ever.
test('event text: when the same token comes over and over, that is a loop, and just before it is none', () => {
  expect(chat(times(128, ['!'])).repeatSeen).toBe(false);
  expect(chat(times(129, ['!'])).repeatSeen).toBe(true);
  expect(chat(['The', ' answer', ...times(129, [' the'])]).repeatSeen).toBe(true);
});

test('event text: when a few tokens come in a cycle, that is a loop after four times as many', () => {
  for (const cycle of [
    ['ha', 'hi'],
    ['a', 'b', 'c'],
    [' I', ' am', ' a', ' model'],
  ]) {
    const rounds = 600 / cycle.length;
    expect(chat(times(rounds, cycle)).repeatSeen, cycle.join('')).toBe(true);
    expect(chat(times(128, cycle).slice(0, 512)).repeatSeen, cycle.join('')).toBe(false);
  }
});

const legitimate: Readonly<Record<string, readonly string[]>> = {
  'a table with many columns': times(60, ['|', '---', '|', ':', '---', '\n']),
  'a ruler of dashes': times(600, ['-']),
  'code that is indented token by token': times(200, ['\n', '  ', '  ', '  ', '  ']),
  'a box': ['┌', ...times(300, ['─']), '┐'],
  'a matrix of zeros, 15 by 15': times(225, ['0', ', ']),
  'a table of contents with leaders': times(20, ['Chapter', ...times(40, ['.']), '12']),
  'a hundred times the same word, as asked': times(100, [' sorry']),
  'numbers that count': Array.from({ length: 2000 }, (_, index) => ` ${index}`),
  prose: times(30, 'the cat sat on the mat and looked at the other cat that sat on the other mat'.split(/(?= )/)),
};
test.each(Object.entries(legitimate))('event text: when a model writes %s, that is no loop', (_, texts) => {
  expect(chat(texts)).toEqual({ textCount: texts.length, replacedCount: 0, repeatSeen: false });
});

test('event text: when nothing but blanks or dashes comes for a thousand events, that is a loop all the same', () => {
  expect(chat(times(1024, ['\n'])).repeatSeen).toBe(false);
  expect(chat(times(1030, ['\n'])).repeatSeen).toBe(true);
});

test('event text: when texts are long and equal as far as one looks, they are not taken for the same', () => {
  expect(chat(times(200, ['word '.repeat(100)])).repeatSeen).toBe(false);
});

test('event text: when a character is U+FFFD, as bytes or as an escape, the event is counted once', () => {
  const escaped = ['\\ufffd', 'a\\uFFFD\\ufffdb'].map((text) => chatEvent('').replace('""', `"${text}"`));
  expect(seen([chatEvent('\ufffd\ufffd'), chatEvent('ok'), ...escaped])).toMatchObject({
    textCount: 4,
    replacedCount: 3,
  });
  const others = [chatEvent('￼ é 日本'), chatEvent('').replace('""', '"\\\\ufffd \\ufffc"')];
  expect(seen(others).replacedCount).toBe(0);
});

test('event text: when a stream never has text, it is not searched for ever, and the next stream is', () => {
  const text = new EventText();
  const note = (line: string): void => text.note(Buffer.from(line), 0, Buffer.byteLength(line));
  for (let count = 0; count < 100; count++) note('data: {"score":1}');
  note(chatEvent('a'));
  expect(text.textCount).toBe(0);
  text.reset();
  note(chatEvent('a'));
  expect(text.textCount).toBe(1);
});

test('event text: when events are cut anywhere between two reads, the same is seen of them', () => {
  const stream = Buffer.from(
    times(130, [`${chatEvent('!')}\n\n`])
      .join('')
      .slice(0, 40_000),
  );
  for (const pieceBytes of [1, 7, 150, 1000]) {
    const tap = new SseTap();
    for (let at = 0; at < stream.length; at += pieceBytes)
      tap.push(stream, at, Math.min(stream.length, at + pieceBytes));
    expect([tap.text.textCount, tap.text.repeatSeen], `pieces of ${pieceBytes}`).toEqual([130, true]);
  }
});
