import { BodyKind, ResponseParser, type ResponseSink } from '../../../src/http/index.ts';
import { readResponseWithNode } from '../oracles/node-http.ts';
import { cutsOf, hashOf } from '../random.ts';
import { agree, bytesOf, eachPiece, everyByte, type FuzzTarget, hold } from '../target.ts';

const limits = {
  headBytesMax: 1024,
  headerCountMax: 40,
  trailerBytesMax: 256,
  chunkExtensionBytesMax: 64,
  interimCountMax: 4,
} as const;

interface Recording {
  interim: number[];
  status: number;
  fields: [string, string][];
  body: string;
  isComplete: boolean;
  isRefused: boolean;
  /** Bytes of the input that belong to the response, when it is complete. */
  consumedBytes: number;
}

class Recorder implements ResponseSink {
  readonly parser = new ResponseParser(this, limits);
  recording: Recording = blank();

  onHead(parser: ResponseParser): void {
    this.recording.status = parser.status;
    for (let index = 0; index < parser.headerCount; index++) {
      this.recording.fields.push([parser.headerNames[index]!, parser.headerValues[index]!]);
    }
  }

  onBody(bytes: Buffer, start: number, end: number): void {
    hold(end > start, 'an empty piece of a body');
    this.recording.body += bytes.toString('latin1', start, end);
  }

  onEnd(): void {
    hold(!this.recording.isComplete, 'a second end');
    this.recording.isComplete = true;
  }

  onInterim(status: number): void {
    this.recording.interim.push(status);
  }
}

function blank(): Recording {
  return { interim: [], status: 0, fields: [], body: '', isComplete: false, isRefused: false, consumedBytes: 0 };
}

const recorder = new Recorder();

/** `wire`, then the end of the connection. */
export function readResponse(wire: Buffer, isHead: boolean, cuts: readonly number[]): Recording {
  const { parser } = recorder;
  recorder.recording = blank();
  parser.reset(isHead);
  let isOver = false;
  eachPiece(wire, cuts, '\r\n0', (slab, start, end) => {
    // The parser reads from the start of a buffer, where a connection's reads lie.
    const { recording } = recorder;
    const piece = slab.subarray(start);
    if (isOver) return;
    const consumed = parser.push(piece, end - start);
    if (consumed === -1) recording.isRefused = true;
    else recording.consumedBytes += consumed;
    isOver = recording.isRefused || recording.isComplete;
  });
  const wasComplete = recorder.recording.isComplete;
  const ended = parser.onConnectionEnd();
  agree('the end of the connection', ended, recorder.recording.isComplete);
  if (ended && !wasComplete) agree('what a connection may end', parser.bodyKind, BodyKind.close);
  return recorder.recording;
}

/**
 * The bytes of the message without what Node refuses and we read, on purpose:
 * - white space before a chunk's extension (RFC 9112 section 7.1.1 allows it), and the inside of an extension, which we drop
 *   unread: it cannot end its line;
 * - trailer fields of framing: all trailers are checked as fields are, and dropped;
 * - `Connection: close` on an interim head, which would end the connection before the answer;
 * - a tab behind a coding (RFC 9112 section 5 has it trimmed), with which Node no longer knows `chunked`.
 */
function asNodeWantsIt(wire: Buffer, { isComplete, consumedBytes, interim }: Recording): Buffer {
  const text = wire.toString('latin1', 0, isComplete ? consumedBytes : wire.length);
  let at = 0;
  let plain = '';
  for (let heads = 0; heads <= interim.length; heads++) {
    const end = text.indexOf('\r\n\r\n', at) + 4;
    if (end < 4) return wire;
    const head = text.slice(at, end).replace(/[\t ]+(?=\r\n)/g, '');
    plain += heads === interim.length ? head : head.replace(/^connection(?=:)/gim, 'x-connection');
    at = end;
  }
  if (!isComplete || recorder.parser.bodyKind !== BodyKind.chunked) return bytesOf(plain + text.slice(at));
  const sizeLine = /([0-9a-fA-F]+)[ \t]*(?:;[\t -~\x80-\xff]*)?\r\n/y;
  for (let size = 1; size > 0; at += size + 2) {
    sizeLine.lastIndex = at;
    const [line, digits] = sizeLine.exec(text) ?? [];
    hold(line !== undefined && digits !== undefined, 'a size line that the plain pattern does not know');
    at += line!.length;
    size = parseInt(digits!, 16);
    plain += `${digits}\r\n${size === 0 ? '' : text.slice(at, at + size + 2)}`;
    if (size === 0) break;
  }
  const trailers = text.slice(at).replace(/^(content-length|transfer-encoding|connection|upgrade)(?=:)/gim, 'x-$1');
  return bytesOf(plain + trailers);
}

function run(input: Buffer): void {
  const isHead = input[0] === 0x48;
  const wire = input.subarray(1);
  const whole = readResponse(wire, isHead, []);
  const node = readResponseWithNode(asNodeWantsIt(wire, whole), isHead, true);
  if (whole.isComplete) {
    // Never sound when the oracle says that it is not, and then the same message.
    hold(node.error === '', `complete, but Node says ${node.error}`);
    agree('interim heads', whole.interim, node.interim);
    agree('the message', pick(whole), node.message === null ? null : pick(node.message));
  } else if (whole.status !== 0 && node.message !== null) {
    agree('the head', [whole.status, whole.fields], [node.message.status, node.message.fields]);
    const [shorter, longer] = [whole.body, node.message.body].sort((a, b) => a.length - b.length);
    hold(longer!.startsWith(shorter!), `bodies differ: ${JSON.stringify([whole.body, node.message.body])}`);
    if (!whole.isRefused) hold(!node.message.isComplete, 'Node has a whole message, we wait for more');
  }
  agree('cut in pieces', comparable(readResponse(wire, isHead, cutsOf(wire, 4))), comparable(whole));
  if (wire.length < 60 || hashOf(wire) % 16 === 0) {
    agree('byte by byte', comparable(readResponse(wire, isHead, everyByte(wire.length))), comparable(whole));
  }
}

/**
 * What must not depend on the pieces. Bytes in front of an error are counted by the piece it is in; and a head that comes in
 * pieces is judged when it is whole, but for its line ends, so what is wrong with one that never is may go unsaid.
 */
function comparable(recording: Recording): unknown {
  const { isComplete, isRefused, consumedBytes, ...rest } = recording;
  if (isComplete) return { ...rest, isComplete, consumedBytes };
  return recording.status === 0 ? rest : { ...rest, isRefused };
}

function pick({
  status,
  fields,
  body,
  isComplete,
}: Pick<Recording, 'status' | 'body' | 'isComplete'> & {
  readonly fields: readonly (readonly [string, string])[];
}): unknown {
  return { status, fields, body, isComplete };
}

const ok = 'GHTTP/1.1 200 OK\r\n';
const seeds = [
  `${ok}Content-Length: 5\r\n\r\nhello`,
  `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;a="b"\r\nabc\r\n0\r\nX-T: 1\r\n\r\n`,
  `${ok}Connection: close\r\n\r\nuntil the end`,
  'GHTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n',
  'GHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\nX: y\r\n\r\n',
  'HHTTP/1.1 200\r\nContent-Length: 7\r\nContent-Type: text/event-stream\r\n\r\n',
  'GHTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',
  `${ok}Transfer-Encoding: chunked\r\n\r\n00000000A ;x\r\n0123456789\r\n0\r\n\r\nrest`,
  'GHTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
  `${ok}A: b\t c \r\nSet-Cookie: a=b\r\nSet-Cookie: c\r\nx-high: \xe9\r\nContent-Length: 1\r\n\r\nx`,
];

const words = [
  '\r\n',
  '\r\n\r\n',
  '\r',
  '\n',
  ':',
  ' ',
  '\t',
  '0\r\n\r\n',
  '0\r\n',
  '1\r\nx\r\n',
  ';a=b',
  ';',
  'HTTP/1.1 ',
  'HTTP/1.0 ',
  '200',
  '204',
  '304',
  '100',
  '101',
  '599',
  'Content-Length: ',
  'Transfer-Encoding: chunked\r\n',
  'transfer-encoding: ',
  'chunked',
  'Content-Length: 3\r\n',
  'Connection: close\r\n',
  'Connection: keep-alive\r\n',
  'Upgrade: x\r\n',
  'Trailer: x\r\n',
  'X: y\r\n',
  'X:\r\n',
  '-1',
  '+1',
  '0x1',
  '00',
  'ffffffffffffffff',
  '99999999999999999999',
  '\x00',
  '\x7f',
  '\x80',
  '\xff',
  '\x0b',
  ',',
  '"',
  'H',
  'G',
];

export const responseParserTarget: FuzzTarget = {
  name: 'response-parser',
  seeds: seeds.map(bytesOf),
  dictionary: words,
  run,
};
