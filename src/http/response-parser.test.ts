import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BodyKind, ResponseParser } from './response-parser.ts';
import type { ResponseSink } from './response-parser.ts';
import type { ResponseLimits } from './parser-error.ts';

const testLimits: ResponseLimits = {
  headBytesMax: 1024,
  headerCountMax: 16,
  trailerBytesMax: 64,
  chunkExtensionBytesMax: 16,
  interimCountMax: 2,
};

/** All that one response produced, in a form that can be compared whatever the pieces were. */
interface Recording {
  status: number;
  headers: [string, string][];
  body: string;
  interim: number[];
  ended: boolean;
  consumedBytes: number;
  error: string;
}

class Recorder implements ResponseSink {
  readonly parser: ResponseParser;
  readonly bodyCallBytes: number[] = [];
  readonly recording: Recording = {
    status: 0,
    headers: [],
    body: '',
    interim: [],
    ended: false,
    consumedBytes: 0,
    error: 'none',
  };

  constructor(limits: ResponseLimits = testLimits) {
    this.parser = new ResponseParser(this, limits);
  }

  onHead(parser: ResponseParser): void {
    this.recording.status = parser.status;
    for (let index = 0; index < parser.headerCount; index++) {
      this.recording.headers.push([parser.headerNames[index]!, parser.headerValues[index]!]);
    }
  }

  onBody(bytes: Buffer, start: number, end: number): void {
    this.recording.body += bytes.toString('latin1', start, end);
    this.bodyCallBytes.push(end - start);
  }

  onEnd(): void {
    this.recording.ended = true;
  }

  onInterim(status: number): void {
    this.recording.interim.push(status);
  }

  /** Feeds one piece from a scratch buffer that is overwritten afterwards, as a connection's read buffer would be. */
  feed(piece: Buffer): boolean {
    const readBuffer = Buffer.alloc(piece.length + 8, 0x23);
    piece.copy(readBuffer);
    const consumed = this.parser.push(readBuffer, piece.length);
    readBuffer.fill(0x21);
    if (consumed === -1) this.recording.error = this.parser.error;
    else this.recording.consumedBytes += consumed;
    return consumed === piece.length;
  }
}

/** Parses `wire` cut into pieces before the given offsets; `isHead` is the request's method. */
function record(wire: string, cuts: readonly number[] = [], isHead = false, limits = testLimits): Recorder {
  const bytes = Buffer.from(wire, 'latin1');
  const recorder = new Recorder(limits);
  recorder.parser.reset(isHead);
  let start = 0;
  for (const end of [...cuts, bytes.length]) {
    if (!recorder.feed(bytes.subarray(start, end))) break;
    start = end;
  }
  return recorder;
}
const ok = 'HTTP/1.1 200 OK\r\n';

/** What is on the wire, and the body a client must see. `closes` means the body ends with the connection. */
const sound: readonly {
  name: string;
  wire: string;
  body: string;
  kind: BodyKind;
  isHead?: boolean;
  closes?: boolean;
}[] = [
  { name: 'content-length', wire: `${ok}Content-Length: 5\r\n\r\nhello`, body: 'hello', kind: BodyKind.length },
  { name: 'content-length 0', wire: `${ok}content-length: 0\r\n\r\n`, body: '', kind: BodyKind.length },
  {
    name: 'chunked',
    wire: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n`,
    body: 'hello, world',
    kind: BodyKind.chunked,
  },
  {
    name: 'chunked with upper-case digits, leading zeros, extensions and trailers',
    wire: `${ok}Transfer-Encoding: Chunked\r\n\r\n00B;a=b\r\nhello world\r\n1 ;x\r\n!\r\n000\r\nX-Sum: 1\r\nY:\r\n\r\n`,
    body: 'hello world!',
    kind: BodyKind.chunked,
  },
  { name: 'close-delimited', wire: `${ok}\r\nall of it`, body: 'all of it', kind: BodyKind.close, closes: true },
  { name: 'close-delimited and empty', wire: `${ok}\r\n`, body: '', kind: BodyKind.close, closes: true },
  {
    name: 'HTTP/1.0',
    wire: 'HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\nno',
    body: 'no',
    kind: BodyKind.length,
  },
  { name: 'HEAD with a length', wire: `${ok}Content-Length: 99\r\n\r\n`, body: '', kind: BodyKind.none, isHead: true },
  { name: '204 with a length', wire: 'HTTP/1.1 204 \r\nContent-Length: 3\r\n\r\n', body: '', kind: BodyKind.none },
  {
    name: '304 with chunked',
    wire: 'HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n',
    body: '',
    kind: BodyKind.none,
  },
  {
    name: 'no reason and no space',
    wire: 'HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx',
    body: 'x',
    kind: BodyKind.length,
  },
  {
    name: 'interim responses first',
    wire: `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok}Content-Length: 1\r\n\r\nx`,
    body: 'x',
    kind: BodyKind.length,
  },
  {
    name: 'odd but legal fields',
    wire: `${ok}X-Empty:\r\nx_under.score!:\t a \xe9\t b\t \r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n`,
    body: '',
    kind: BodyKind.length,
  },
];

for (const { name, wire, body, kind, isHead = false, closes = false } of sound) {
  // RFC 9112 sections 2.2, 6.3 and 7.1.
  test(`response parser: when ${name} comes in any two or three pieces, the same message is reported`, () => {
    const whole = record(wire, [], isHead);
    if (closes) expect(whole.parser.onConnectionEnd()).toBe(true);
    expect(whole.recording).toMatchObject({ body, ended: true, error: 'none', consumedBytes: wire.length });
    expect(whole.parser.bodyKind).toBe(kind);
    expect(whole.bodyCallBytes.length, 'payloads of one read are joined').toBe(body === '' ? 0 : 1);
    for (let first = 0; first <= wire.length; first++) {
      for (let second = first; second <= wire.length; second += second === first ? 1 : 7) {
        const cut = record(wire, [first, second], isHead);
        if (closes) cut.parser.onConnectionEnd();
        expect(cut.recording, `cut at ${first} and ${second}`).toEqual(whole.recording);
      }
    }
    const dripped = record(
      wire,
      Array.from({ length: wire.length }, (_, index) => index),
      isHead,
    );
    if (closes) dripped.parser.onConnectionEnd();
    expect(dripped.recording, 'byte by byte').toEqual(whole.recording);
  });

  if (body === '' && !closes) continue;
  test(`response parser: when the connection ends early in ${name}, it is reported as cut`, () => {
    for (let length = 0; length < wire.length; length++) {
      const recorder = record(wire.slice(0, length), [], isHead);
      const mayEndHere = recorder.parser.headDone && closes;
      expect(recorder.parser.onConnectionEnd(), `after ${length} bytes`).toBe(mayEndHere);
      expect(recorder.recording.ended).toBe(mayEndHere);
    }
  });
}

const chunked = `${ok}Transfer-Encoding: chunked\r\n\r\n`;
const malformed: readonly [code: string, wire: string][] = [
  ['bad_status_line', '\r\nHTTP/1.1 200 OK\r\n\r\n'],
  ['bad_status_line', ' HTTP/1.1 200 OK\r\n\r\n'],
  ['bad_status_line', 'http/1.1 200 OK\r\n\r\n'],
  ['bad_status_line', 'HTTP/2.0 200 OK\r\n\r\n'],
  ['bad_status_line', 'HTTP/1.2 200 OK\r\n\r\n'],
  ['bad_status_line', 'HTTP/1.10 200 OK\r\n\r\n'],
  ['bad_status_line', 'HTTP/1.1  200 OK\r\n\r\n'],
  ['bad_status_line', 'HTTP/1.1\t200 OK\r\n\r\n'],
  ['bad_status_line', 'HTTP/1.1 20 OK\r\n\r\n'],
  ['bad_status_line', 'HTTP/1.1 2000 OK\r\n\r\n'],
  ['bad_status_line', 'HTTP/1.1 099 Low\r\n\r\n'],
  ['bad_status_line', 'HTTP/1.1 600 High\r\n\r\n'],
  ['bad_status_line', 'HTTP/1.1 2x0 OK\r\n\r\n'],
  ['bad_status_line', 'HTTP/1.1 -20 OK\r\n\r\n'],
  ['bad_status_line', 'HTTP/1.1 200 O\0K\r\n\r\n'],
  ['bad_status_line', 'HTTP/1.1 200 OK\n\r\n'],
  ['bad_status_line', 'HTTP/1.1 200 OK\r\r\n\r\n'],
  ['bad_status_line', 'SSH-2.0-OpenSSH_9.2\r\n'],
  ['bad_status_line', '{"error":"not http"}'],
  ['bad_header', `${ok}X: a\n\r\n`],
  ['bad_header', `${ok}X: a\r\n\n`],
  ['bad_header', `${ok}X: a\rb\r\n\r\n`],
  ['bad_header', `${ok}X: a\r\r\n\r\n`],
  ['bad_header', `${ok}X: a\r\n\r \r\n`],
  ['bad_header', `${ok}X: a\r\n folded\r\n\r\n`],
  ['bad_header', `${ok}X: a\r\n\tfolded\r\n\r\n`],
  ['bad_header', `${ok} X: a\r\n\r\n`],
  ['bad_header', `${ok}X : a\r\n\r\n`],
  ['bad_header', `${ok}: a\r\n\r\n`],
  ['bad_header', `${ok}X\r\n\r\n`],
  ['bad_header', `${ok}X(y): a\r\n\r\n`],
  ['bad_header', `${ok}X\xe9: a\r\n\r\n`],
  ['bad_header', `${ok}X: a\0b\r\n\r\n`],
  ['bad_header', `${ok}X: a\x7fb\r\n\r\n`],
  ['bad_header', `${ok}X: a\x0bb\r\n\r\n`],
  ['bad_content_length', `${ok}Content-Length:\r\n\r\n`],
  ['bad_content_length', `${ok}Content-Length: -5\r\n\r\n`],
  ['bad_content_length', `${ok}Content-Length: +5\r\n\r\n`],
  ['bad_content_length', `${ok}Content-Length: 5a\r\n\r\n`],
  ['bad_content_length', `${ok}Content-Length: 0x5\r\n\r\n`],
  ['bad_content_length', `${ok}Content-Length: 5.0\r\n\r\n`],
  ['bad_content_length', `${ok}Content-Length: 5, 5\r\n\r\n`],
  ['bad_content_length', `${ok}Content-Length: 5 5\r\n\r\n`],
  ['bad_content_length', `${ok}Content-Length: \xa05\r\n\r\n`],
  ['bad_content_length', `${ok}Content-Length: 1234567890123456\r\n\r\n`],
  ['bad_content_length', `${ok}Content-Length: 5\r\nContent-Length: 5\r\n\r\n`],
  ['bad_content_length', `${ok}Content-Length: 5\r\ncontent-length: 6\r\n\r\n`],
  ['length_and_chunked', `${ok}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`],
  ['length_and_chunked', `${ok}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n`],
  ['bad_transfer_encoding', `${ok}Transfer-Encoding: gzip, chunked\r\n\r\n`],
  ['bad_transfer_encoding', `${ok}Transfer-Encoding: chunked, chunked\r\n\r\n`],
  ['bad_transfer_encoding', `${ok}Transfer-Encoding: chunked,\r\n\r\n`],
  ['bad_transfer_encoding', `${ok}Transfer-Encoding: identity\r\n\r\n`],
  ['bad_transfer_encoding', `${ok}Transfer-Encoding: xchunked\r\n\r\n`],
  ['bad_transfer_encoding', `${ok}Transfer-Encoding: "chunked"\r\n\r\n`],
  ['bad_transfer_encoding', `${ok}Transfer-Encoding: chunked;a=b\r\n\r\n`],
  ['bad_transfer_encoding', `${ok}Transfer-Encoding:\r\n\r\n`],
  ['bad_transfer_encoding', `${ok}Transfer-Encoding: \xa0chunked\r\n\r\n`],
  ['bad_transfer_encoding', `${ok}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`],
  ['bad_transfer_encoding', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['unexpected_upgrade', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n'],
  ['too_many_interim', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(3)],
  ['too_many_headers', `${ok}${'A: b\r\n'.repeat(17)}\r\n`],
  ['head_too_large', `${ok}X: ${'a'.repeat(1024)}`],
  ['head_too_large', `${ok}X: ${'a'.repeat(1024 - ok.length - 6)}\r\n\r\n`],
  ['head_too_large', `HTTP/1.1 200 ${'a'.repeat(2000)}`],
  ['bad_chunk_size', `${chunked}\r\n`],
  ['bad_chunk_size', `${chunked};a\r\n`],
  ['bad_chunk_size', `${chunked}G\r\n`],
  ['bad_chunk_size', `${chunked}-1\r\n`],
  ['bad_chunk_size', `${chunked}0x5\r\nhello\r\n`],
  ['bad_chunk_size', `${chunked} 5\r\nhello\r\n`],
  ['bad_chunk_size', `${chunked}5 \r\nhello\r\n`],
  ['bad_chunk_size', `${chunked}5\nhello\r\n`],
  ['bad_chunk_size', `${chunked}5\r\rhello\r\n`],
  ['bad_chunk_size', `${chunked}5;a\nhello\r\n`],
  ['bad_chunk_size', `${chunked}5;a\0\r\nhello\r\n`],
  ['bad_chunk_size', `${chunked}5;a\rb\r\nhello\r\n`],
  ['bad_chunk_size', `${chunked}1000000000001\r\n`],
  ['bad_chunk_size', `${chunked}00000000000000005\r\nhello\r\n`],
  ['chunk_extension_too_large', `${chunked}5;${'a'.repeat(16)}\r\nhello\r\n`],
  ['chunk_extension_too_large', `${chunked}5${' '.repeat(17)};\r\nhello\r\n`],
  ['bad_status_line', `HTTP/1.0 100 Continue\r\n\r\n${ok}Content-Length: 2\r\n\r\nhi`],
  ['chunk_extension_too_large', `${chunked}${`1;${'a'.repeat(15)}\r\nx\r\n`.repeat(19)}0\r\n\r\n`],
  ['bad_chunk_end', `${chunked}5\r\nhelloX`],
  ['bad_chunk_end', `${chunked}5\r\nhello\n`],
  ['bad_chunk_end', `${chunked}5\r\nhello\rX`],
  ['bad_chunk_end', `${chunked}5\r\nhello, world\r\n`],
  ['bad_chunk_end', `${chunked}0\r\n\rX`],
  ['bad_trailer', `${chunked}0\r\n\n`],
  ['bad_trailer', `${chunked}0\r\nGET / HTTP/1.1\r\n\r\n`],
  ['bad_trailer', `${chunked}0\r\n: x\r\n\r\n`],
  ['bad_trailer', `${chunked}0\r\n X: y\r\n\r\n`],
  ['bad_trailer', `${chunked}0\r\nX: y\n\r\n`],
  ['bad_trailer', `${chunked}0\r\nX: \0\r\n\r\n`],
  ['trailer_too_large', `${chunked}0\r\nX: ${'y'.repeat(64)}`],
  ['trailer_too_large', `${chunked}0\r\n${'X: y\r\n'.repeat(11)}\r\n`],
];

// RFC 9112 sections 2.2, 4, 5.1, 5.2, 6.1, 6.3 and 7.1.
test.each(malformed)('response parser: when a response is malformed, %s is reported: %j', (code, wire) => {
  const whole = record(wire);
  expect(whole.recording.error).toBe(code);
  expect(whole.recording.ended).toBe(false);
  expect(whole.parser.onConnectionEnd(), 'a failed response never ends cleanly').toBe(false);
  expect(whole.parser.push(Buffer.from('x'), 1), 'a failed response stays failed').toBe(-1);
  for (let cut = 1; cut < wire.length; cut++) {
    const { error, ended } = record(wire, [cut]).recording;
    // Bare line ends and limits are seen earlier in a head that comes in pieces, under the name of what they break.
    expect(ended, `cut at ${cut}`).toBe(false);
    expect(error, `cut at ${cut}`).not.toBe('none');
  }
});

test('response parser: when the head is exactly as large as allowed, it is read; one byte more is refused', () => {
  const fill = testLimits.headBytesMax - `${ok}X: \r\nContent-Length: 0\r\n\r\n`.length;
  for (const [extra, error] of [
    [0, 'none'],
    [1, 'head_too_large'],
  ] as const) {
    const wire = `${ok}X: ${'a'.repeat(fill + extra)}\r\nContent-Length: 0\r\n\r\n`;
    for (const cuts of [[], [1], [100], [wire.length - 1], [wire.length - 3, wire.length - 2]]) {
      expect(record(wire, cuts).recording.error, `cuts ${cuts.join()}`).toBe(error);
    }
  }
});

test('response parser: when bytes follow the message, they are left unread', () => {
  const second = `${ok}Content-Length: 4\r\n\r\nevil`;
  for (const wire of [
    `${ok}Content-Length: 2\r\n\r\nhi`,
    `${chunked}2\r\nhi\r\n0\r\n\r\n`,
    'HTTP/1.1 204 No Content\r\n\r\n',
  ]) {
    const recorder = record(wire + second);
    expect(recorder.recording).toMatchObject({ ended: true, consumedBytes: wire.length });
    expect(recorder.recording.body).not.toContain('evil');
    expect(recorder.parser.push(Buffer.from(second), second.length), 'done stays done').toBe(0);
  }
});

test('response parser: when nothing was asked, every byte is in excess', () => {
  const recorder = new Recorder();
  expect(recorder.parser.push(Buffer.from(ok), ok.length)).toBe(0);
  expect(recorder.recording.status).toBe(0);
});

test('response parser: when many chunks come in one read, their payloads arrive in one call', () => {
  const frames = Array.from({ length: 40 }, (_, index) => `data: token ${index}\n\n`);
  const wire = frames.map((frame) => `${frame.length.toString(16)}\r\n${frame}\r\n`).join('');
  const recorder = record(chunked);
  recorder.feed(Buffer.from(wire));
  expect(recorder.recording.body).toBe(frames.join(''));
  expect(recorder.bodyCallBytes).toEqual([frames.join('').length]);
});

test('response parser: when framing breaks behind good chunks, their payload is delivered first', () => {
  const recorder = record(`${chunked}2\r\nhi\r\n5\r\nthereX`);
  expect(recorder.recording).toMatchObject({ body: 'hithere', error: 'bad_chunk_end', ended: false });
});

// RFC 9112 section 9.3.
test.each([
  ['HTTP/1.1', '', true],
  ['HTTP/1.1', 'Connection: close\r\n', false],
  ['HTTP/1.1', 'Connection: X-A, Close\r\n', false],
  ['HTTP/1.1', 'Connection: keep-alive\r\nConnection: close\r\n', false],
  ['HTTP/1.1', 'Connection: close\r\nConnection: keep-alive\r\n', false],
  ['HTTP/1.0', '', false],
  ['HTTP/1.0', 'Connection: Keep-Alive\r\n', true],
  ['HTTP/1.0', 'Connection: keep-alive, close\r\n', false],
])('response parser: when %s says %j, keepAlive is %s', (version, fields, keepAlive) => {
  expect(record(`${version} 200 OK\r\n${fields}Content-Length: 0\r\n\r\n`).parser.keepAlive).toBe(keepAlive);
});

test('response parser: when the body ends with the connection, the connection is not kept', () => {
  expect(record(`${ok}\r\n`).parser.keepAlive).toBe(false);
});

test('response parser: when it is reset inside a callback, the rest of the read is not interpreted', () => {
  const wire = `${ok}Content-Length: 2\r\n\r\nhi`;
  const recorder = new Recorder();
  recorder.parser.reset(false);
  recorder.onHead = () => recorder.parser.reset(false);
  expect(recorder.parser.push(Buffer.from(wire), wire.length)).toBe(wire.length - 2);
  expect(recorder.recording.body).toBe('');
  expect(recorder.parser.isIdle).toBe(true);
});

test.each(['Content-Length: 2\r\n\r\nhi', 'Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n'])(
  'response parser: when it is reset while the last body bytes are delivered, the abandoned response does not end: %j',
  (rest) => {
    const recorder = new Recorder();
    recorder.parser.reset(false);
    recorder.onBody = () => recorder.parser.reset(false);
    recorder.feed(Buffer.from(ok + rest));
    expect(recorder.recording.ended).toBe(false);
    expect([recorder.parser.isIdle, recorder.parser.isDone]).toEqual([true, false]);
  },
);

test('response parser: when one connection carries several exchanges, nothing of the earlier ones is left', () => {
  const recorder = record(`${ok}X-First: 1\r\nContent-Length: 3\r\nConnection: close\r\n\r\none`);
  const { parser } = recorder;
  parser.reset(false);
  expect([parser.isIdle, parser.headDone, parser.isDone]).toEqual([true, false, false]);
  recorder.feed(Buffer.from('HTTP/1.1 201 Created\r\nX-Second: 2\r\nTransfer-Encoding: chunked\r\n\r\n'));
  expect(parser.header('x-first')).toBeNull();
  expect(parser.header('x-second')).toBe('2');
  expect([parser.status, parser.headerCount, parser.contentLength, parser.keepAlive]).toEqual([201, 2, -1, true]);
  expect([parser.isIdle, parser.headDone, parser.isDone]).toEqual([false, true, false]);
  parser.reset(true);
  recorder.feed(Buffer.from(`${ok}Content-Length: 7\r\n\r\n`));
  expect([parser.isDone, parser.bodyKind, parser.contentLength]).toEqual([true, BodyKind.none, 7]);
});

// FAULTS F39: extensions are bounded by what they carry, not by their number, or no stream could have them for long.
test('response parser: when every chunk has an extension that its data outweighs, any number of them passes', () => {
  const recorder = record(`${chunked}${`8;${'a'.repeat(15)}\r\n12345678\r\n`.repeat(2000)}0\r\n\r\n`);
  expect([recorder.recording.error, recorder.recording.body.length]).toEqual(['none', 16_000]);
});

interface GeneratedResponse {
  readonly wire: string;
  readonly isHead: boolean;
  readonly cuts: readonly number[];
}

const generatedField = fc.tuple(
  fc
    .stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/)
    .filter((name) => !/^(connection|content-length|transfer-encoding|upgrade)$/i.test(name)),
  fc.stringMatching(/^[\t !-~\x80-\xff]{0,30}$/),
);

const generatedResponse: fc.Arbitrary<GeneratedResponse> = fc
  .record({
    status: fc.constantFrom(200, 201, 204, 304, 404, 429, 503),
    isHead: fc.boolean(),
    framing: fc.constantFrom('length', 'chunked', 'close'),
    fields: fc.array(generatedField, { maxLength: 8 }),
    body: fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }), { maxLength: 6 }),
    hasInterim: fc.boolean(),
    cuts: fc.array(fc.nat(), { maxLength: 5 }),
  })
  .map(({ status, isHead, framing, fields, body, hasInterim, cuts }) => {
    const hasBody = !isHead && status !== 204 && status !== 304;
    const pieces = body.map((bytes) => Buffer.from(bytes).toString('latin1'));
    const text = pieces.join('');
    const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`);
    if (framing === 'length') lines.push(`Content-Length: ${text.length}\r\n`);
    if (framing === 'chunked') lines.push('Transfer-Encoding: chunked\r\n');
    const chunks = pieces.map((chunk) => `${chunk.length.toString(16)};ext="1"\r\n${chunk}\r\n`);
    const payload = framing === 'chunked' ? `${chunks.join('')}0\r\nX-Trailer: t\r\n\r\n` : text;
    const interim = hasInterim ? 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n' : '';
    const wire = `${interim}HTTP/1.1 ${status} Some Reason\r\n${lines.join('')}\r\n${hasBody ? payload : ''}`;
    return { wire, isHead, cuts: cuts.map((cut) => cut % wire.length).sort((a, b) => a - b) };
  });

/** What Node's own client makes of a response that arrives over a real connection. */
async function readWithNode(
  server: net.Server,
  response: GeneratedResponse,
): Promise<Omit<Recording, 'consumedBytes'>> {
  server.once('connection', (socket) => {
    socket.once('data', () => socket.end(Buffer.from(response.wire, 'latin1')));
    socket.on('error', () => {});
  });
  const { port } = server.address() as AddressInfo;
  const interim: number[] = [];
  const request = http.request({ port, host: '127.0.0.1', method: response.isHead ? 'HEAD' : 'GET', agent: false });
  request.on('information', (info) => interim.push(info.statusCode));
  request.end();
  const [message] = (await once(request, 'response')) as [http.IncomingMessage];
  let body = '';
  for await (const piece of message) body += (piece as Buffer).toString('latin1');
  const headers: [string, string][] = [];
  for (let index = 0; index < message.rawHeaders.length; index += 2) {
    headers.push([message.rawHeaders[index]!.toLowerCase(), message.rawHeaders[index + 1]!]);
  }
  return { status: message.statusCode!, headers, body, interim, ended: message.complete, error: 'none' };
}

test("response parser: when a server sends any valid response, the reading agrees with that of Node's client", async () => {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const limits = { ...testLimits, headBytesMax: 4096, chunkExtensionBytesMax: 64 };
  try {
    await fc.assert(
      fc.asyncProperty(generatedResponse, async (response) => {
        const expected = await readWithNode(server, response);
        const recorder = record(response.wire, response.cuts, response.isHead, limits);
        expect(recorder.parser.onConnectionEnd()).toBe(true);
        expect(recorder.recording).toEqual({ ...expected, consumedBytes: response.wire.length });
      }),
      { numRuns: 150 },
    );
  } finally {
    server.close();
  }
});
