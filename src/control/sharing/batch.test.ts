import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { BatchReader, batchVersion, BatchWriter, blockBatchBytesMax, endpointId, RecordKind } from './batch.ts';

const gateway = 0x1234_5678_9abc;

function batch(): Buffer {
  const writer = new BatchWriter(gateway);
  writer.beginBlocks(0xffff_ffff_ffff, 1_700_000_000.25, 2);
  writer.block(-5, 7, 8192);
  writer.block(2 ** 31 - 1, -(2 ** 31), 70_000);
  writer.unnamed(1, 0, 5000);
  writer.forget(2, 3);
  writer.load(3, 0, { inflight: 4, inflightTokens: 50_000, pendingTokens: 2 ** 31 - 1 });
  return writer.take(2 ** 32 + 9);
}

test('batch: when one is written, the same is read', () => {
  const reader = new BatchReader();
  expect(reader.open(batch())).toBe(true);
  expect([reader.gateway, reader.sequence]).toEqual([gateway, 9]);
  expect(reader.next()).toBe(true);
  expect([reader.kind, reader.endpoint, reader.since, reader.size]).toEqual([
    RecordKind.blocks,
    0xffff_ffff_ffff,
    1_700_000_000.25,
    2,
  ]);
  expect([reader.low(0), reader.high(0), reader.blockBytes(0)]).toEqual([-5, 7, 8192]);
  expect([reader.low(1), reader.high(1), reader.blockBytes(1)]).toEqual([2 ** 31 - 1, -(2 ** 31), 65_535]);
  expect(reader.next() && [reader.kind, reader.size]).toEqual([RecordKind.unnamed, 5000]);
  expect(reader.next() && [reader.kind, reader.since]).toEqual([RecordKind.forget, 3]);
  expect(reader.next() && { ...reader.load }).toEqual({
    inflight: 4,
    inflightTokens: 50_000,
    pendingTokens: 2 ** 31 - 1,
  });
  expect(reader.next()).toBe(false);
  expect(reader.isMalformed).toBe(false);
});

test('batch: when it is full, nothing more is taken, and it is not longer than a reader accepts', () => {
  const writer = new BatchWriter(gateway);
  expect(writer.isEmpty).toBe(true);
  const room = writer.roomFor(1_000_000);
  writer.beginBlocks(1, 0, room);
  for (let block = 0; block < room; block++) writer.block(1, 2, 3);
  expect(writer.roomFor(1)).toBeLessThanOrEqual(0);
  expect([writer.forget(1, 0), writer.unnamed(1, 0, 1)]).toEqual([false, false]);
  expect(writer.load(1, 0, { inflight: 1, inflightTokens: 1, pendingTokens: 1 })).toBe(false);
  const bytes = writer.take(0);
  expect(bytes.length).toBeLessThanOrEqual(blockBatchBytesMax);
  expect(writer.isEmpty).toBe(true);
  const reader = new BatchReader();
  expect(reader.open(bytes) && reader.next() && reader.size).toBe(room);
});

test('batch: when it is cut off anywhere, what came before is read, and the rest is malformed', () => {
  const whole = batch();
  const recordEnds = [16, 16 + 40, 16 + 60, 16 + 80, whole.length];
  for (let length = 0; length < whole.length; length++) {
    const reader = new BatchReader();
    reader.open(whole.subarray(0, length));
    let count = 0;
    while (reader.next()) count++;
    expect(reader.isMalformed, `${length} bytes`).toBe(!recordEnds.includes(length));
    expect(count, `${length} bytes`).toBe(recordEnds.filter((end) => end > 16 && end <= length).length);
  }
});

test('batch: when its bytes are changed at random, reading it neither throws nor leaves it', () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  let state = seed;
  const draw = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (state >>> 8) % below;
  };
  const reader = new BatchReader();
  for (let turn = 0; turn < 20_000; turn++) {
    const bytes = Buffer.from(batch());
    for (let count = 1 + draw(6); count > 0; count--) bytes[draw(bytes.length)] = draw(256);
    reader.open(bytes);
    for (let records = 0; reader.next(); records++) {
      expect(records, `seed ${seed}`).toBeLessThan(10);
      for (let block = 0; reader.kind === RecordKind.blocks && block < reader.size; block++)
        expect(Number.isInteger(reader.low(block) + reader.high(block) + reader.blockBytes(block))).toBe(true);
    }
  }
});

test('batch: when endpoints are named, the name follows from pool and URL, and from nothing else', () => {
  expect(endpointId('p', 'http://a')).toBe(endpointId('p', 'http://a'));
  const all = [endpointId('p', 'http://a'), endpointId('q', 'http://a'), endpointId('p', 'http://b')];
  expect(new Set(all).size).toBe(3);
  expect(all.every((id) => Number.isSafeInteger(id) && id < 2 ** 48)).toBe(true);
});

test('batch: when their form has another version, the documents have the names that go with it', () => {
  const page = readFileSync(new URL('../../../docs/sharing.md', import.meta.url), 'utf8');
  const versions = [...page.matchAll(/\{NAMESPACE\}:v(\d+):/g)].map(([, version]) => Number(version));
  expect(versions).toEqual([batchVersion, batchVersion, batchVersion]);
});
