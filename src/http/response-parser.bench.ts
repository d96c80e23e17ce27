// Cost of reading response heads and token frames.
import { bench, do_not_optimize, run } from 'mitata';
import { ResponseParser } from './response-parser.ts';
import type { ResponseSink } from './response-parser.ts';

let seenBytes = 0;
const sink: ResponseSink = {
  onHead: () => {},
  onBody: (_bytes, start, end) => {
    seenBytes += end - start;
  },
  onEnd: () => {},
  onInterim: () => {},
};
const limits = {
  headBytesMax: 16_384,
  headerCountMax: 100,
  trailerBytesMax: 4096,
  chunkExtensionBytesMax: 256,
  interimCountMax: 8,
};
const parser = new ResponseParser(sink, limits);

const head = Buffer.from(
  'HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\nserver: uvicorn\r\ncache-control: no-cache\r\n' +
    'connection: keep-alive\r\nx-request-id: 0192f6a0-7c3e-7d1a-9c1b-0123456789ab\r\nx-accel-buffering: no\r\n' +
    'content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n',
);
const event = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1762000000,"model":"m","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}\n\n`;
const frame = `${event.length.toString(16)}\r\n${event}\r\n`;
const oneFrame = Buffer.from(frame);
const burst = Buffer.from(frame.repeat(32));
// Payloads are moved left inside the buffer, so each round needs the frames anew.
const readBuffer = Buffer.alloc(65_536);

bench(`head of 8 fields, ${head.length} bytes`, () => {
  parser.reset(false);
  do_not_optimize(parser.push(head, head.length));
});

parser.reset(false);
parser.push(head, head.length);
seenBytes = 0;
// A payload alone in its read is not moved, so the same bytes can be pushed again and again.
for (let times = 0; times < 10; times++) parser.push(oneFrame, oneFrame.length);
if (seenBytes !== 10 * event.length) throw new Error(`${seenBytes} bytes came through`);
bench(`one token frame, ${oneFrame.length} bytes`, () => {
  do_not_optimize(parser.push(oneFrame, oneFrame.length));
});

bench(`copy of 32 token frames, to be subtracted from the next, ${burst.length} bytes`, () => {
  do_not_optimize(burst.copy(readBuffer));
});
bench(`32 token frames in one read, ${burst.length} bytes`, () => {
  burst.copy(readBuffer);
  do_not_optimize(parser.push(readBuffer, burst.length));
});

// A long answer that is not a stream: the body passes by reference, so this is the cost of a read.
const longHead = Buffer.from(
  'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999999999999999\r\n\r\n',
);
const read = Buffer.alloc(65_536, 'x');
const lengthParser = new ResponseParser(sink, limits);
lengthParser.reset(false);
lengthParser.push(longHead, longHead.length);
seenBytes = 0;
lengthParser.push(read, read.length);
if (seenBytes !== read.length) throw new Error(`${seenBytes} bytes came through`);
bench(`a read of a body with a length, ${read.length} bytes`, () => {
  do_not_optimize(lengthParser.push(read, read.length));
});

await run();
