import { expect, test } from 'vitest';
import type * as Http from '../../src/http/index.ts';

// As built: what vitest makes of a module looks each imported name up at each use, which takes longer than what is measured.
const built = new URL('../../dist/http/index.js', import.meta.url).href;
const { findMultipartModel, RequestScanner, ResponseParser, ScanState, SseTap, UsageTail } = (await import(
  built
)) as typeof Http;

// FAULTS S6: what a body costs must not depend on what it is made of. The measure is JSON.parse of an ordinary body as long as
// the bomb, in the same run on the same machine: what the endpoint behind us spends at the least. Time of the processor, not of
// the clock, so that a busy machine makes no difference.
const bodyBytes = 1_000_000;
const factorMax = 20;
/** The library hands bodies up in pieces of up to 512 KB; small ones cost the most calls. */
const pieceBytes = 2048;
const rounds = 8;

function filled(start: string, repeated: string, end: string): Buffer {
  const count = Math.ceil((bodyBytes - start.length - end.length) / repeated.length);
  return Buffer.from(start + repeated.repeat(count) + end);
}

/** The shortest of several rounds: the first ones compile the code. */
function leastMs(run: () => void): number {
  let least = Infinity;
  for (let round = 0; round < rounds; round++) {
    const start = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(start);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}

function eachPiece(bytes: Buffer, take: (start: number, end: number) => void): void {
  for (let at = 0; at < bytes.length; at += pieceBytes) take(at, Math.min(bytes.length, at + pieceBytes));
}

const message = '{"role":"user","content":"How are you today? I hope that all is well with you."},';
const ordinary = filled('{"model":"m","messages":[', message, '{}]}');

const scanner = new RequestScanner();

/** Milliseconds. */
const ordinaryMs = Math.max(
  0.1,
  leastMs(() => JSON.parse(ordinary.toString())),
);

function expectOrdinary(run: () => void, factor = factorMax): void {
  expect(leastMs(run) / ordinaryMs).toBeLessThan(factor);
}

function scan(body: Buffer): Http.ScanState {
  scanner.reset();
  eachPiece(body, (start, end) => scanner.push(body, start, end));
  return scanner.finish();
}

const complete = ScanState.complete;
const invalid = ScanState.invalid;
const bodies: readonly (readonly [what: string, body: Buffer, state: Http.ScanState])[] = [
  ['opening brackets', filled('{"a":', '[', ''), invalid],
  ['opening objects', filled('', '{"a":', ''), invalid],
  ['128 brackets, opened and closed', filled('{"a":[', `${'['.repeat(126)}${']'.repeat(126)},`, '1]}'), complete],
  ['empty lists', filled('{"a":[', '[],', '1]}'), complete],
  ['empty objects', filled('{"a":[', '{},', '1]}'), complete],
  ['members', filled('{', '"a":1,', '"b":1}'), complete],
  ['members in an object', filled('{"a":{', '"a":1,', '"b":1}}'), complete],
  ['members of stream_options', filled('{"stream_options":{', '"a":1,', '"b":1}}'), complete],
  ['members with lists', filled('{', '"a":[],', '"b":1}'), complete],
  ['escaped keys', filled('{', '"\\n":1,', '"b":1}'), complete],
  ['keys in hexadecimal', filled('{', '"\\u006d":1,', '"b":1}'), complete],
  ['backslashes', filled('{"a":"', '\\\\', '"}'), complete],
  ['backslashes in a key', filled('{"', '\\\\', '":1}'), complete],
  ['escaped quotes', filled('{"a":"', '\\"', '"}'), complete],
  ['escaped quotes in a key', filled('{"', '\\"', '":1}'), complete],
  ['one key', filled('{"', 'k', '":1}'), complete],
  ['one model', filled('{"model":"', 'm', '"}'), invalid],
  ['one number', filled('{"a":', '1', '}'), complete],
  ['one number for n', filled('{"n":', '1', '}'), invalid],
  ['numbers', filled('{"a":[', '1,', '1]}'), complete],
  ['empty strings', filled('{"a":[', '"",', '""]}'), complete],
  ['white space', filled('{', ' ', '}'), complete],
  ['white space in a list', filled('{"a":[', '\n', ']}'), complete],
  ['white space behind', filled('{}', ' ', ''), complete],
];

test.each(bodies)('bomb: when a body is made of %s, it is scanned in the time of an ordinary one', (_, body, state) => {
  expect(scan(body)).toBe(state);
  expectOrdinary(() => scan(body));
});

test('bomb: when bodies of every kind were scanned, memory has not grown with them', () => {
  const before = process.memoryUsage();
  for (const [, body] of bodies) for (let round = 0; round < rounds; round++) scan(body);
  const after = process.memoryUsage();
  expect(after.arrayBuffers - before.arrayBuffers, 'outside of the heap').toBeLessThan(1 << 20);
  // Ten times one body: 120 were scanned, so less than a tenth of a body remains of each, garbage included.
  expect(after.heapUsed - before.heapUsed, 'in the heap').toBeLessThan(10 * bodyBytes);
});

const tap = new SseTap();
const streams: readonly (readonly [what: string, stream: Buffer])[] = [
  ['one line without end', filled('data: ', 'a', '')],
  ['empty lines', filled('', '\n', '')],
  ['CR line ends', filled('', '\r', '')],
  ['data without events', filled('', 'data:\n', '')],
  ['usage objects in one line', filled('data: ', '"usage":{', '\n\n')],
  ['usage objects in many lines', filled('', 'data: "usage":{"a":1\n\n', '')],
  ['backslashes', filled('data: ', '\\"usage"', '\n\n')],
];

test.each(streams)('bomb: when a stream is made of %s, it is watched in the time of an ordinary body', (_, stream) => {
  expectOrdinary(() => {
    tap.reset();
    eachPiece(stream, (start, end) => tap.push(stream, start, end));
    tap.readUsage();
  });
});

const tail = new UsageTail();

test.each([
  ['usage objects', filled('{', '"usage":{', '')],
  ['usage keys that are none', filled('{', '"usage" ', '')],
  ['braces', filled('{"usage":', '{', '')],
])('bomb: when an answer ends in %s, its usage is looked for in the time of an ordinary body', (_, answer) => {
  expectOrdinary(() => {
    tail.reset();
    eachPiece(answer, (start, end) => tail.push(answer, start, end));
    expect(tail.readUsage()).toBeNull();
  });
});

const limits = {
  headBytesMax: 12 * 1024,
  headerCountMax: 128,
  trailerBytesMax: 8 * 1024,
  chunkExtensionBytesMax: 1024,
  interimCountMax: 8,
};
const noop = (): void => {};
const parser = new ResponseParser({ onHead: noop, onBody: noop, onEnd: noop, onInterim: noop }, limits);
const chunked = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';

test.each([
  ['chunks of one byte', filled(chunked, '1\r\nx\r\n', '0\r\n\r\n'), 2048],
  ['chunks of one byte, byte by byte', filled(chunked, '1\r\nx\r\n', '0\r\n\r\n'), 1],
  ['a head of the largest size, byte by byte', Buffer.from(`HTTP/1.1 200 OK\r\na: ${'b'.repeat(12_200)}\r\n\r\n`), 1],
])('bomb: when a response is made of %s, it is read in the time of an ordinary body', (_, wire, size) => {
  const buffer = Buffer.alloc(size);
  expectOrdinary(
    () => {
      parser.reset(false);
      for (let at = 0; at < wire.length; at += size) {
        const count = wire.copy(buffer, 0, at, at + size);
        parser.push(buffer, count);
      }
      // Each byte is a read of its own, which costs a call whatever it is.
    },
    size === 1 ? 10 * factorMax : factorMax,
  );
  expect([parser.headDone, parser.error]).toEqual([true, 'none']);
});

test.each([
  ['beginnings of delimiters', filled('--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n', '\r\n--', '')],
  ['parts', filled('', '--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n', '--B--')],
  ['empty lines', filled('--B', '\r\n\r\n', '\r\n--B--')],
  ['parameters', filled('--B\r\nContent-Disposition: form-data', ';a=b', '\r\n\r\n\r\n--B--')],
])('bomb: when a form is made of %s, its model is looked for in the time of an ordinary body', (_, form) => {
  const pieces: Buffer[] = [];
  eachPiece(form, (start, end) => pieces.push(form.subarray(start, end)));
  expectOrdinary(() => expect(findMultipartModel(pieces, 'B')).toBeNull());
});
