import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RequestBody } from '../exchange/index.ts';
import { createSharedMemory, largeSlabBytes, SharedBudget, SlabPool } from '../shm/index.ts';
import { type BodyEdit, editedBytes } from './body-edit.ts';
import { JoinBuffer, RequestRelay, type RequestSink } from './request-relay.ts';

const pool = new SlabPool(
  new SharedBudget(createSharedMemory({ shardCount: 1, endpointCountMax: 1, bufferedBytesMax: 64 * 1024 * 1024 }), 0),
);
const join = new JoinBuffer();

/** Everything written, as it would stand on the wire. */
class Wire implements RequestSink {
  readonly pieces: Buffer[] = [];
  readonly unsentBytes = 0;
  cork(): void {}
  uncork(): void {}
  writeText(text: string): void {
    this.pieces.push(Buffer.from(text));
  }
  writeBytes(bytes: Uint8Array): void {
    this.pieces.push(Buffer.from(bytes));
  }
  get text(): string {
    return Buffer.concat(this.pieces).toString('latin1');
  }
}

function append(body: RequestBody, bytes: Buffer): void {
  for (let from = 0; from < bytes.length;) {
    body.makeRoom(pool, bytes.length - from, true);
    from += body.append(pool, bytes, from);
  }
}

function unchunked(text: string): string {
  let whole = '';
  for (let at = 0; ;) {
    const end = text.indexOf('\r\n', at);
    const count = parseInt(text.slice(at, end), 16);
    if (count === 0) {
      expect(text.slice(end)).toBe('\r\n\r\n');
      return whole;
    }
    whole += text.slice(end + 2, end + 2 + count);
    at = end + 2 + count + 2;
  }
}

const sizes = [1, 500, 20_000, 30_000, largeSlabBytes, largeSlabBytes + 1, 2 * largeSlabBytes + 7];

test('request relay: when a body is edited, the wire has the new bytes in their places, whatever the slabs and the framing', () => {
  const length = fc.oneof({ weight: 3, arbitrary: fc.nat(40) }, { weight: 1, arbitrary: fc.nat(2 * largeSlabBytes) });
  const edit = fc.record({ at: fc.nat(), length, replacement: fc.string({ maxLength: 30 }) });
  fc.assert(
    fc.property(
      fc.constantFrom(...sizes),
      fc.array(edit, { maxLength: 6 }),
      fc.boolean(),
      fc.boolean(),
      (size, drawn, isChunked, isPiecewise) => {
        const bytes = Buffer.from(Array.from({ length: size }, (_, index) => 97 + (index % 23)));
        // At both ends of slabs too; none reaches into another.
        const starts = drawn.map(({ at }, index) =>
          index % 2 === 0 ? at % size : Math.min(size - 1, largeSlabBytes - (at % 3)),
        );
        const order = drawn.map((_, index) => index).sort((a, b) => starts[a]! - starts[b]!);
        const edits: BodyEdit[] = [];
        for (const index of order) {
          const start = Math.max(starts[index]!, edits.at(-1)?.end ?? 0);
          const end = Math.min(size, start + drawn[index]!.length);
          edits.push({ start, end, replacement: Buffer.from(drawn[index]!.replacement, 'latin1') });
        }
        // An edit begins at a byte of the body: in JSON there is always the last brace.
        if (edits.some(({ start }) => start >= size)) return;
        let expected = '';
        let from = 0;
        for (const { start, end, replacement } of edits) {
          expected += bytes.toString('latin1', from, start) + replacement.toString('latin1');
          from = end;
        }
        expected += bytes.toString('latin1', from);
        expect(expected.length).toBe(editedBytes(size, edits));

        const body = new RequestBody();
        const relay = new RequestRelay(pool, join);
        const wire = new Wire();
        append(body, bytes);
        body.isComplete = !isPiecewise;
        relay.start(wire, '', body, edits, isChunked);
        body.isComplete = true;
        relay.pump();
        expect(relay.isFinished).toBe(true);
        expect((isChunked ? unchunked(wire.text) : wire.text) === expected, JSON.stringify({ edits, size })).toBe(true);
        body.giveBefore(pool, body.slabCount);
      },
    ),
    { numRuns: 60 },
  );
  expect(pool.inUse).toBe(0);
});

// `content-length` is what should go out: with fewer bytes the next request on the connection would be read as the rest of this one.
test('request relay: when edits leave little of a body that lies in several slabs, what is behind them goes out too', () => {
  const bytes = Buffer.from(`{"a":${'x'.repeat(largeSlabBytes)},"b":1}`);
  const edits = [{ start: 5, end: bytes.length - 7, replacement: Buffer.from('0') }];
  const body = new RequestBody();
  const relay = new RequestRelay(pool, join);
  const wire = new Wire();
  append(body, bytes);
  body.isComplete = true;
  relay.start(wire, 'head ', body, edits, false);
  expect(wire.text).toBe('head {"a":0,"b":1}');
  expect(relay.isFinished).toBe(true);
  body.giveBefore(pool, body.slabCount);
});
