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
const parser = new ResponseParser(sink, {
  headBytesMax: 16_384,
  headerCountMax: 100,
  trailerBytesMax: 4096,
  chunkExtensionBytesMax: 256,
  interimCountMax: 8,
});

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

bench('head of 8 fields', () => {
  parser.reset(false);
  do_not_optimize(parser.push(head, head.length));
});

parser.reset(false);
parser.push(head, head.length);
bench('one token frame', () => {
  do_not_optimize(parser.push(oneFrame, oneFrame.length));
});

bench('copy of 32 token frames, to be subtracted from the next', () => {
  do_not_optimize(burst.copy(readBuffer));
});
bench('32 token frames in one read', () => {
  burst.copy(readBuffer);
  do_not_optimize(parser.push(readBuffer, burst.length));
});

await run();
if (seenBytes === 0) throw new Error('nothing was parsed');
