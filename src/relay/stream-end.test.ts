import { expect, test } from 'vitest';
import { Api, Exchange } from '../exchange/index.ts';
import { SseTap } from '../http/index.ts';
import { isStreamWhole } from './stream-end.ts';

function streamOf(text: string, status = 200): { exchange: Exchange; tap: SseTap } {
  const exchange = new Exchange();
  exchange.isEventStream = true;
  exchange.responseHead.status = status;
  exchange.facts.api = Api.chatCompletions;
  const tap = new SseTap();
  const bytes = Buffer.from(text);
  tap.push(bytes, 0, bytes.length);
  tap.finish();
  return { exchange, tap };
}

const finished = 'data: {"choices":[{"finish_reason":"stop"}]}\n\n';

test('stream end: when the engine promises [DONE], a finish reason alone is not the end', () => {
  const { exchange, tap } = streamOf(finished);
  expect(isStreamWhole(exchange, tap, true)).toBe(false);
  expect(isStreamWhole(exchange, tap, false)).toBe(true);
  const done = streamOf(`${finished}data: [DONE]\n\n`);
  expect(isStreamWhole(done.exchange, done.tap, true)).toBe(true);
});

test('stream end: when the status is no success, the stream is not judged', () => {
  const { exchange, tap } = streamOf('data: a\n\n', 400);
  expect(isStreamWhole(exchange, tap, true)).toBe(true);
});
