import { SseTap } from '../../../src/http/index.ts';
import { mergeUsage } from '../../../src/http/usage.ts';
import { firstObject, isPlainlySpelled, usageOf } from '../oracles/plain-usage.ts';
import { readSse, type Seen } from '../oracles/plain-sse.ts';
import { cutsOf, hashOf } from '../random.ts';
import { agree, bytesOf, eachPiece, everyByte, type FuzzTarget, hold } from '../target.ts';

const tap = new SseTap();

interface Tapped {
  readonly eventCount: number;
  readonly oddCount: number;
  readonly isAtBoundary: boolean;
  readonly done: boolean;
  readonly error: boolean;
  readonly lastEvent: boolean;
  readonly finish: boolean;
  readonly usage: unknown;
}

function tapped(input: Buffer, cuts: readonly number[]): Tapped {
  tap.reset();
  eachPiece(input, cuts, 'data: {"usage":{"prompt_tokens":666}}\n\n\r\r', (slab, start, end) =>
    tap.push(slab, start, end),
  );
  return {
    eventCount: tap.eventCount,
    oddCount: tap.oddCount,
    isAtBoundary: tap.atEventBoundary,
    done: tap.doneSeen,
    error: tap.errorSeen,
    lastEvent: tap.lastEventSeen,
    finish: tap.finishSeen,
    usage: tap.readUsage(),
  };
}

function check(how: string, ours: Tapped, plain: ReturnType<typeof readSse>): void {
  agree(`events, ${how}`, [ours.eventCount, ours.oddCount], [plain.eventCount, plain.oddCount]);
  agree(`event boundary, ${how}`, ours.isAtBoundary, plain.isAtBoundary);
  const isSeen = (name: string, seen: boolean, oracle: Seen): void => {
    hold(oracle === 'maybe' || seen === (oracle === 'yes'), `${name}, ${how}: ours ${seen}, oracle ${oracle}`);
  };
  isSeen('done', ours.done, plain.done);
  isSeen('error', ours.error, plain.error);
  isSeen('last event', ours.lastEvent, plain.lastEvent);
  isSeen('finish reason', ours.finish, plain.finish);
  const { usages } = plain;
  const objects = usages.map(firstObject);
  if (usages.every((text, index) => isPlainlySpelled(text) && objects[index] !== null)) {
    const counts = objects.map((object) => usageOf(object!));
    agree(`usage, ${how}`, ours.usage, mergeUsage(counts[0] ?? null, counts.length > 1 ? counts.at(-1)! : null));
  }
}

function run(input: Buffer): void {
  const plain = readSse(input.toString('latin1'));
  check('whole', tapped(input, []), plain);
  check('in pieces', tapped(input, cutsOf(input, 5)), plain);
  if (input.length < 80 || hashOf(input) % 16 === 0)
    check('byte by byte', tapped(input, everyByte(input.length)), plain);
}

const chunk = 'data: {"id":"a","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n';
const last =
  'data: {"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\n\n';
const seeds = [
  `${chunk}${chunk}${last}data: [DONE]\n\n`,
  `${chunk}${last}data: [DONE]\n\n`.replaceAll('\n', '\r\n'),
  `${chunk}${last}data: [DONE]\n\n`.replaceAll('\n', '\r'),
  ': ping\n\nevent: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":5,"output_tokens":1}}}\n\n',
  'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":9}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
  'event: error\ndata: {"type":"error","error":{}}\n\n',
  'data: {"error":{"message":"x"}}\n\n',
  '\xef\xbb\xbfdata:a\ndata\ndata: b\nid: 1\nretry: 5\n\n',
  'data: {"type":"response.completed","response":{"usage":{"input_tokens":1,"output_tokens":2}}}\n\n',
];
const words = [
  'data: ',
  'data:',
  'data',
  'event: ',
  'event:',
  'id: 1',
  'retry: 1',
  ':',
  '\n',
  '\r\n',
  '\r',
  '\n\n',
  '\r\r',
  '[DONE]',
  '{',
  '}',
  '"',
  '\\"',
  '\\',
  '"error"',
  '"type":"error"',
  '{"error"',
  '{"type":"',
  'message_stop',
  'response.failed',
  'error',
  '"usage":{',
  '"prompt_tokens":1',
  '"finish_reason":"stop"',
  '"finish_reason":null',
  ' ',
  '\xef\xbb\xbf',
  '\x00',
  '        ',
];

export const sseTapTarget: FuzzTarget = { name: 'sse-tap', seeds: seeds.map(bytesOf), dictionary: words, run };
