import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { UsageTail } from './json-tail.ts';
import type { TokenUsage } from './usage.ts';

function tailOf(body: Buffer, pieceBytes: number, isAnnounced: boolean): TokenUsage | null {
  const tail = new UsageTail();
  for (const round of [1, 2]) {
    tail.reset();
    if (isAnnounced) tail.expectTotal(body.length);
    for (let at = 0; at < body.length; at += pieceBytes) {
      const piece = Buffer.from(body.subarray(at, at + pieceBytes));
      const slab = Buffer.concat([Buffer.from('"usage":{'), piece, Buffer.from('}')]);
      tail.push(slab, 9, 9 + piece.length);
      slab.fill(0);
    }
    if (round === 1) tail.readUsage();
  }
  return tail.readUsage();
}

function expectUsage(body: string | Buffer, expected: TokenUsage | null): void {
  const bytes = Buffer.from(body as string);
  for (const pieceBytes of [1, 7, 1000, 8191, 8192, 8193, 65_536]) {
    if (bytes.length / pieceBytes > 50_000) continue;
    for (const isAnnounced of [true, false]) {
      expect(tailOf(bytes, pieceBytes, isAnnounced), `pieces of ${pieceBytes}, announced: ${isAnnounced}`).toEqual(
        expected,
      );
    }
  }
}

test.each([
  ['openai/chat.response.json', 412, 12, 256],
  ['openai/chat.response.tool-calls.json', 655, 17, 0],
  ['openai/completions.response.json', 4, 5, 0],
  ['openai/embeddings.response.float.json', 11, 0, 0],
  ['openai/responses.response.json', 128, 73, 0],
  ['anthropic/messages.response.json', 668, 14, 256],
  ['vllm/chat.response.kv-transfer.json', 2048, 1, 0],
])(
  'json tail: when %s passes, its usage is %i prompt, %i completion, %i cached',
  (name, prompt, completion, cached) => {
    const body = readFileSync(new URL(`../../test/fixtures/${name}`, import.meta.url));
    const expected = { promptTokens: prompt, completionTokens: completion, cachedTokens: cached };
    expectUsage(body, expected);
    expectUsage(JSON.stringify(JSON.parse(body.toString())), expected);
  },
);

test('json tail: when a 300 KB embedding passes, the usage behind it is read', () => {
  const data = Array.from({ length: 30_000 }, (_, index) => index / 3);
  expectUsage(JSON.stringify({ data, usage: { prompt_tokens: 5, total_tokens: 5 } }), {
    promptTokens: 5,
    completionTokens: 0,
    cachedTokens: 0,
  });
});

test.each([
  ['', null],
  ['{}', null],
  ['{"usage":null}', null],
  ['{"usage":{}}', null],
  ['{"usage":{"prompt_tokens":1', null],
  ['{"usage":{"prompt_tokens":-1,"completion_tokens":1.5}}', null],
  ['{"usage":{"type":"duration","seconds":12}}', null],
  ['{"text":"\\"usage\\":{\\"prompt_tokens\\":1}"}', null],
  ['{"text":"\\\\\\"usage":{"prompt_tokens":1}}', null],
  ['{"text":"x\\\\","usage":{"prompt_tokens":1}}', 1],
  ['{"usage" :\n{ "prompt_tokens" : 1 } }', 1],
  ['{"usage":{"note":"}\\"","prompt_tokens":1}}', 1],
  ['{"usage":{"prompt_tokens":1},"content":[{"usage":{"cost":2}},{"usage":null}]}', 1],
  ['{"model":"jina","usage":{"total_tokens":31}}', 31],
])('json tail: when the body is %j, the prompt tokens read are %j', (body, promptTokens) => {
  expectUsage(body, promptTokens === null ? null : { promptTokens, completionTokens: 0, cachedTokens: 0 });
});

test('json tail: when more than 8 KiB follow the usage, none is read rather than a wrong one', () => {
  expectUsage(`{"usage":{"prompt_tokens":1},"x":"${'x'.repeat(8192)}"}`, null);
});
