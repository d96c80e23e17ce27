import { UsageTail } from '../../../src/http/index.ts';
import { parseUsage } from '../../../src/http/usage.ts';
import { firstObject, isPlainlySpelled, usageOf } from '../oracles/plain-usage.ts';
import { cutsOf } from '../random.ts';
import { agree, bytesOf, eachPiece, everyByte, type FuzzTarget } from '../target.ts';

const tail = new UsageTail();

function readTail(input: Buffer, cuts: readonly number[], totalBytes: number): unknown {
  tail.reset();
  if (totalBytes >= 0) tail.expectTotal(totalBytes);
  eachPiece(input, cuts, '{"usage":{"prompt_tokens":666}}', (slab, start, end) => tail.push(slab, start, end));
  return tail.readUsage();
}

/** `input`: a usage object, and whatever else. */
function run(input: Buffer): void {
  const text = input.toString('latin1');
  const ours = parseUsage(input, 0, input.length);
  const object = text.startsWith('{') ? firstObject(text) : null;
  if (object !== null && isPlainlySpelled(text)) agree('the counts', ours, usageOf(object));
  const whole = bytesOf(`{"id":"x","usage":${text},"more":[]}`);
  const seen = readTail(whole, [], -1);
  agree('cut in pieces', readTail(whole, cutsOf(input, 6), -1), seen);
  agree('with a known length', readTail(whole, cutsOf(input, 3), whole.length), seen);
  if (input.length < 100) agree('byte by byte', readTail(whole, everyByte(whole.length), -1), seen);
}

const seeds = [
  '{"prompt_tokens":11,"completion_tokens":9,"total_tokens":20,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0}}',
  '{"input_tokens":36,"input_tokens_details":{"cached_tokens":2},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":1}}',
  '{"input_tokens":3,"cache_creation_input_tokens":5,"cache_read_input_tokens":7,"output_tokens":1,"service_tier":"standard"}',
  '{"total_tokens":40}',
  '{"prompt_tokens":1.2e3,"completion_tokens":null,"x":[{"prompt_tokens":9}],"y":"\\"prompt_tokens\\":5"}',
  '{}',
  '{"type":"duration","seconds":5}',
];

const words = [
  '"prompt_tokens"',
  '"completion_tokens"',
  '"total_tokens"',
  '"input_tokens"',
  '"output_tokens"',
  '"cached_tokens"',
  '"usage"',
  '"prompt_tokens_details"',
  '"input_tokens_details"',
  '"input_token_details"',
  '"cache_creation_input_tokens"',
  '"cache_read_input_tokens"',
  ':',
  ',',
  '{',
  '}',
  '[',
  ']',
  '"',
  '\\',
  '-',
  '0',
  '1',
  '1e3',
  '1.5',
  '1E+2',
  '9007199254740993',
  'null',
  'true',
  ' ',
  '\n',
];

export const usageTarget: FuzzTarget = { name: 'usage', seeds: seeds.map(bytesOf), dictionary: words, run };
