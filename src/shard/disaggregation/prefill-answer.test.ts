import { expect, test } from 'vitest';
import { readPrefillAnswer } from './prefill-answer.ts';

const read = (text: string): ReturnType<typeof readPrefillAnswer> => readPrefillAnswer(Buffer.from(text));

test('prefill answer: when it has an object, that is kept byte by byte, with the usage', () => {
  const params = '{ "b" : 1.50,"a":[[1e3, 12345678901234567890]],"\\u0061":"é\\/" }';
  const answer = read(`{"model":"m","choices":[{"kv_transfer_params":{"x":1}}],"kv_transfer_params": ${params}\n,
    "usage":{"prompt_tokens":70,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":64}}}`);
  expect(answer!.params!.toString()).toBe(params);
  expect(answer!.usage).toEqual({ promptTokens: 70, completionTokens: 1, cachedTokens: 64 });
});

test('prefill answer: when nothing was kept, there is no object', () => {
  for (const text of [
    '{"kv_transfer_params":null}',
    '{"kv_transfer_params": null ,"usage":null}',
    '{"choices":[]}',
    '{}',
  ]) {
    expect(read(text), text).toEqual({ params: null, usage: null });
  }
});

test('prefill answer: when it is none, it is not taken for one', () => {
  for (const text of [
    '',
    'null',
    '[{"kv_transfer_params":{}}]',
    'data: {"kv_transfer_params":{}}',
    '{"kv_transfer_params":{}',
    '{"kv_transfer_params":{}}{',
    '{"kv_transfer_params":[1]}',
    '{"kv_transfer_params":"x"}',
    '{"kv_transfer_params":7}',
    '{"kv_transfer_params":{},"kv_transfer_params":{}}',
    '{"kv_transfer_params":null,"kv_transfer_para\\u006ds":{}}',
  ]) {
    expect(read(text), text).toBeNull();
  }
});
