import { isUtf8 } from 'node:buffer';
import { RequestScanner } from '../../../src/http/index.ts';
import { readRequest, type RequestReading } from '../oracles/request-json.ts';
import { cutsOf, hashOf } from '../random.ts';
import { agree, bytesOf, eachPiece, everyByte, type FuzzTarget, hold } from '../target.ts';

const scanner = new RequestScanner();

const verdicts = ['invalid', 'complete', 'invalid', 'notObject'] as const;

interface Scan {
  readonly verdict: RequestReading['verdict'];
  readonly problem: string;
  readonly members: unknown;
  readonly modelStart: number;
  readonly modelEnd: number;
}

/** Absent members as the scanner has them: null, or -1 for a number. */
function filled(members: RequestReading['members']): Record<string, unknown> {
  return {
    model: members['model'] ?? null,
    stream: members['stream'] ?? null,
    include_usage: members['include_usage'] ?? null,
    max_tokens: members['max_tokens'] ?? -1,
    max_completion_tokens: members['max_completion_tokens'] ?? -1,
    max_output_tokens: members['max_output_tokens'] ?? -1,
    n: members['n'] ?? -1,
    user: members['user'] ?? null,
    prompt_cache_key: members['prompt_cache_key'] ?? null,
  };
}

export function scan(input: Buffer, cuts: readonly number[]): Scan {
  scanner.reset();
  let early: string | null = null;
  eachPiece(input, cuts, '"\\{', (slab, start, end) => {
    scanner.push(slab, start, end);
    // Routing goes by a model as soon as it is known; it must not become another one.
    if (early !== null) hold(scanner.model === early, `the model was ${early} and became ${scanner.model}`);
    early = scanner.model;
  });
  scanner.finish();
  return {
    verdict: verdicts[scanner.state],
    problem: scanner.problem,
    members: filled({
      model: scanner.model,
      stream: scanner.stream,
      include_usage: scanner.includeUsage,
      max_tokens: scanner.maxTokens,
      max_completion_tokens: scanner.maxCompletionTokens,
      max_output_tokens: scanner.maxOutputTokens,
      n: scanner.n,
      user: scanner.user,
      prompt_cache_key: scanner.promptCacheKey,
    }),
    modelStart: scanner.modelStart,
    modelEnd: scanner.modelEnd,
  };
}

/** The text as JSON.parse is to get it, or null when it is no UTF-8. */
function strictText(input: Buffer): string | null {
  return isUtf8(input) ? input.toString('utf8') : null;
}

function parsed(text: string | null): unknown {
  try {
    return text === null ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a reader without our rules takes from the document. */
function plainMembers(document: Record<string, unknown>): Record<string, unknown> {
  const options = document['stream_options'];
  const includeUsage = isObject(options) ? options['include_usage'] : undefined;
  return filled({ ...document, include_usage: includeUsage } as RequestReading['members']);
}

function run(input: Buffer): void {
  const whole = scan(input, []);
  const reading = readRequest(input);
  agree('verdict against the plain reader', whole.verdict, reading.verdict);
  if (reading.verdict === 'complete') {
    agree('members against the plain reader', whole.members, filled(reading.members));
    agree('place of the model', [whole.modelStart, whole.modelEnd], [reading.modelStart, reading.modelEnd]);
    const document = parsed(reading.normal);
    hold(isObject(document), `JSON.parse refuses what the scanner accepts: ${reading.normal}`);
    agree('members against JSON.parse', whole.members, plainMembers(document as Record<string, unknown>));
  }
  const text = strictText(input);
  const document = parsed(text);
  if (reading.verdict === 'complete' && document !== undefined) {
    agree('members against JSON.parse of the body', whole.members, plainMembers(document as Record<string, unknown>));
  }
  if (document !== undefined && !isObject(document)) agree('a root that is no object', whole.verdict, 'notObject');
  if (isObject(document) && reading.verdict === 'invalid') {
    const isPolicy = /^duplicate_|_not_|_too_long$|^depth$/.test(whole.problem);
    hold(isPolicy, `the scanner refuses (${whole.problem}) what JSON.parse accepts: ${text}`);
  }
  agree('cut in pieces', scan(input, cutsOf(input, 5)), whole);
  if (input.length < 40 || hashOf(input) % 16 === 0) agree('byte by byte', scan(input, everyByte(input.length)), whole);
}

const words = [
  '{',
  '}',
  '[',
  ']',
  ':',
  ',',
  '"',
  '\\',
  '\\"',
  '\\u006d',
  '\\ud83d\\ude00',
  '\\ud800',
  '\\u0000',
  'true',
  'false',
  'null',
  '0',
  '-1',
  '-1e0',
  '1e3',
  '1.5',
  '9007199254740993',
  '"model"',
  '"mod\\u0065l"',
  '"stream"',
  '"stream_options"',
  '"include_usage"',
  '"max_tokens"',
  '"max_completion_tokens"',
  '"max_output_tokens"',
  '"n"',
  '"user"',
  '"prompt_cache_key"',
  '"messages"',
  '{"',
  '":',
  '","',
  '},{"',
  '}, {"',
  '" :',
  '": "',
  ' ',
  '\n',
  '\t',
  '\r',
  '\x0b',
  '\xef\xbb\xbf',
  '\xff',
  '\xc3\xa9',
  '\xed\xa0\x80',
  '\xef\xbf\xbd',
];

const seeds = [
  '{}',
  '{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}',
  '{ "model" : "m", "stream_options": {"include_usage": true, "x": [{"include_usage": 1}]}, "n": 2 }',
  '{"messages":[{"role":"user","content":"a\\"b\\\\"},{"role":"x","content":[{"type":"text","text":""}]}],"max_tokens":1e2,"user":"u"}',
  '{"mod\\u0065l":"\\u006d","max_completion_tokens":0,"max_output_tokens":3,"prompt_cache_key":"k","stream":null}',
  `{"x":${'['.repeat(126)}${']'.repeat(126)},"model":"m"}`,
  `{"x":"${'a'.repeat(130)}","${'k'.repeat(130)}":[-1.5e+3,true,false,null],"model":"m"}`,
  '[{"model":"m"}]',
  '{"model":"m"}{}',
  '{"stream_options":{"include_usage":null},"stream_options":{}}',
];

export const scannerTarget: FuzzTarget = { name: 'scanner', seeds: seeds.map(bytesOf), dictionary: words, run };
