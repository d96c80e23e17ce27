/**
 * Test hook: `x-sim-response-bytes: N` answers any request, on any path, with N known bytes, framed as
 * `x-sim-response-framing` says (`length`, `chunked`, or `close`: the end of the connection ends the body).
 *
 * Byte i is `(i * 31 + (i >>> 8) * 7) & 255`. It differs between neighbours and between 256-byte pages, so a proxy that
 * drops, repeats or swaps a piece is caught; it repeats every 64 KiB, so any length is sent from one page of memory.
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

/** Answers when the hook's header is there; returns whether it was. Writes at the speed the client reads. */
export function tryAnswerBytes(exchange: SimExchange): boolean {
  const wanted = exchange.header('x-sim-response-bytes');
  if (wanted === undefined) return false;
  const count = Number(wanted);
  const framing = exchange.header('x-sim-response-framing') ?? 'length';
  if (!Number.isSafeInteger(count) || count < 0 || !['length', 'chunked', 'close'].includes(framing)) {
    exchange.sendError(400, 'x-sim-response-bytes must be a count, x-sim-response-framing length, chunked or close.');
    return true;
  }
  const { response } = exchange;
  if (framing === 'close') {
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
  let at = 0;
  const write = (): void => {
    while (at < count && !exchange.isGone) {
      const slice = patternSlice(at, count);
      at += slice.length;
      if (!response.write(slice)) {
        response.once('drain', write);
        return;
      }
    }
    response.end();
  };
  write();
  return true;
}
