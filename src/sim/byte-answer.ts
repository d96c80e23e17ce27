/**
 * Test hook: `x-sim-response-bytes: N` answers any request, on any path, with N known bytes, framed as
 * `x-sim-response-framing` says (`length`, `chunked`, or `close`: the end of the connection ends the body).
 *
 * Byte i is `(i * 31 + (i >>> 8) * 7) & 255`. It differs between neighbours and between 256-byte pages, so a proxy that
 * drops, repeats or swaps a piece is caught; it repeats every 64 KiB, so any length is sent from one page of memory.
 *
 * `x-sim-completion-bytes: N` answers likewise, with a chat completion of N bytes, usage at its end: what a proxy has to read
 * of a long answer, from an engine that does nothing for it.
 */
import type { SimExchange } from './exchange.ts';

const patternBytes = 65_536;
const pattern = Buffer.alloc(patternBytes);
for (let index = 0; index < patternBytes; index++) pattern[index] = (index * 31 + (index >>> 8) * 7) & 255;

/** Bytes `from` to `to` of the pattern; at most 64 KiB, not across a 64 KiB boundary. */
function patternSlice(from: number, to: number): Buffer {
  const start = from % patternBytes;
  return pattern.subarray(start, start + Math.min(to - from, patternBytes - start));
}

/** The first `count` bytes of the pattern, for a test to compare with. */
export function patternOf(count: number): Buffer {
  const bytes = Buffer.alloc(count);
  for (let at = 0; at < count; at += patternBytes) patternSlice(at, count).copy(bytes, at);
  return bytes;
}

/** The text of completions. It repeats like the pattern; letters and blanks, which JSON leaves as they are. */
const prose = Buffer.alloc(patternBytes, 'the gauge shows what the pump gives and the valve takes ');

/** Answers when a hook's header is there; returns whether it was. Writes at the speed the client reads. */
export function tryAnswerBytes(exchange: SimExchange): boolean {
  return tryAnswerCompletion(exchange) || tryAnswerPattern(exchange);
}

function tryAnswerPattern(exchange: SimExchange): boolean {
  const wanted = exchange.header('x-sim-response-bytes');
  if (wanted === undefined) return false;
  const count = Number(wanted);
  const framing = exchange.header('x-sim-response-framing') ?? 'length';
  if (!Number.isSafeInteger(count) || count < 0 || !['length', 'chunked', 'close'].includes(framing)) {
    exchange.sendError(400, 'x-sim-response-bytes must be a count, x-sim-response-framing length, chunked or close.');
    return true;
  }
  if (framing === 'close') {
    const { response } = exchange;
    // Node marks these as removed, and then adds neither by itself.
    response.removeHeader('transfer-encoding');
    response.removeHeader('content-length');
  }
  exchange.writeHead(200, {
    'content-type': 'application/octet-stream',
    ...(framing === 'length' ? { 'content-length': count } : {}),
    ...(framing === 'chunked' ? { 'transfer-encoding': 'chunked' } : {}),
    ...(framing === 'close' ? { connection: 'close' } : {}),
  });
  writePages(exchange, count, patternSlice, '');
  return true;
}

function tryAnswerCompletion(exchange: SimExchange): boolean {
  const wanted = exchange.header('x-sim-completion-bytes');
  if (wanted === undefined) return false;
  const count = Number(wanted);
  const completionTokens = Math.floor(count / 4);
  const before =
    '{"id":"chatcmpl-bytes","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"';
  const after = `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":${completionTokens},"total_tokens":${completionTokens + 1}}}`;
  const textBytes = count - before.length - after.length;
  if (!Number.isSafeInteger(count) || textBytes < 0) {
    exchange.sendError(400, 'x-sim-completion-bytes must be a count of 300 or more.');
    return true;
  }
  exchange.writeHead(200, { 'content-type': 'application/json', 'content-length': count });
  exchange.response.write(before);
  writePages(exchange, textBytes, proseSlice, after);
  return true;
}

/** Bytes `from` to `to` of the text; at most 64 KiB. */
function proseSlice(from: number, to: number): Buffer {
  return prose.subarray(0, Math.min(to - from, patternBytes));
}

function writePages(
  exchange: SimExchange,
  count: number,
  pageOf: (from: number, to: number) => Buffer,
  after: string,
): void {
  const { response } = exchange;
  let at = 0;
  const write = (): void => {
    while (at < count && !exchange.isGone) {
      const page = pageOf(at, count);
      at += page.length;
      if (!response.write(page)) {
        response.once('drain', write);
        return;
      }
    }
    response.end(after);
  };
  write();
}
