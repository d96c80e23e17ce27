// Cost of watching a token stream, one event a read.
import { bench, do_not_optimize, run } from 'mitata';
import { SseTap } from './sse-tap.ts';

const tap = new SseTap();
const chunk = '"object":"chat.completion.chunk","created":1762000000,"model":"m"';
const choice = '"choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]';
const usage = '"usage":{"prompt_tokens":412,"total_tokens":444,"completion_tokens":32}';
const events: Readonly<Record<string, string>> = {
  'one event, no usage member': `data: {"id":"chatcmpl-1",${chunk},${choice}}\n\n`,
  'one event, usage null': `data: {"id":"chatcmpl-1",${chunk},${choice},"usage":null}\n\n`,
  'one event, usage in every chunk': `data: {"id":"chatcmpl-1",${chunk},${choice},${usage}}\n\n`,
  'Anthropic, two lines': `event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" token"}}\n\n`,
};

for (const [name, event] of Object.entries(events)) {
  // In production a read buffer holds the event followed by what earlier reads left.
  const readBuffer = Buffer.alloc(65_536, 'x');
  const length = readBuffer.write(event);
  bench(`${name}, ${length} bytes`, () => {
    tap.push(readBuffer, 0, length);
    do_not_optimize(tap.atEventBoundary);
  });
  const half = length >> 1;
  bench(`${name}, cut in two, ${length} bytes`, () => {
    tap.push(readBuffer, 0, half);
    tap.push(readBuffer, half, length);
    do_not_optimize(tap.atEventBoundary);
  });
}

// An engine that decodes faster than the socket is read.
const burst = Buffer.from(`data: {"id":"chatcmpl-1",${chunk},${choice}}\n\n`.repeat(32));
bench(`32 events in one read, ${burst.length} bytes`, () => {
  tap.push(burst, 0, burst.length);
  do_not_optimize(tap.atEventBoundary);
});
// A client that was sent CRLF line ends, and a comment to keep the connection open.
const crlf = Buffer.from(`: ping\r\n\r\ndata: {"id":"chatcmpl-1",${chunk},${choice}}\r\n\r\n`);
bench(`a comment and an event with CRLF, ${crlf.length} bytes`, () => {
  tap.push(crlf, 0, crlf.length);
  do_not_optimize(tap.atEventBoundary);
});

await run();
