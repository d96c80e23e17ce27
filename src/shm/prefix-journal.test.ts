import { expect, test } from 'vitest';
import { createPrefixMemory, JournalKind, journalBlocksMax, PrefixIndex } from './index.ts';
import { PrefixJournalReader, PrefixJournalWriter } from './index.ts';
import { createPrefixJournal } from './prefix-journal.ts';

function journal(): { writer: PrefixJournalWriter; reader: PrefixJournalReader; memory: SharedArrayBuffer } {
  const memory = createPrefixJournal();
  return { memory, writer: new PrefixJournalWriter(memory), reader: new PrefixJournalReader(memory) };
}

function write(writer: PrefixJournalWriter, pool: number, endpoint: number, count: number, first = 1): void {
  writer.begin(pool, endpoint, 77);
  for (let block = 0; block < count; block++) writer.add(first + block, -first - block, 512);
  writer.end();
}

test('journal: when a shard has written, control reads the same, in order, once', () => {
  const { writer, reader } = journal();
  expect(reader.next()).toBe(false);
  write(writer, 300, 255, 3);
  writer.unnamed(2, 1, 4096);
  writer.forget(2, 9);
  expect(reader.next()).toBe(true);
  expect([reader.kind, reader.pool, reader.endpoint, reader.secret, reader.count]).toEqual([
    JournalKind.blocks,
    300,
    255,
    77,
    3,
  ]);
  expect([0, 1, 2].map((block) => [reader.low(block), reader.high(block), reader.blockBytes(block)])).toEqual([
    [1, -1, 512],
    [2, -2, 512],
    [3, -3, 512],
  ]);
  expect(reader.next()).toBe(true);
  expect([reader.kind, reader.pool, reader.endpoint, reader.bytes]).toEqual([JournalKind.unnamed, 2, 1, 4096]);
  expect(reader.next()).toBe(true);
  expect([reader.kind, reader.pool, reader.endpoint, reader.count]).toEqual([JournalKind.forget, 2, 9, 0]);
  expect(reader.next()).toBe(false);
  expect(reader.lostCount).toBe(0);
});

test('journal: when nothing of a prompt is new, there is no entry', () => {
  const { writer, reader } = journal();
  write(writer, 0, 0, 0);
  expect(reader.next()).toBe(false);
});

test('journal: when a prompt has more blocks than an entry, it has several, and none is lost', () => {
  const { writer, reader } = journal();
  write(writer, 0, 0, journalBlocksMax + 5);
  expect(reader.next() && reader.count).toBe(journalBlocksMax);
  expect(reader.next() && reader.count).toBe(5);
  expect(reader.low(0)).toBe(1 + journalBlocksMax);
  expect(reader.next()).toBe(false);
});

test('journal: when nobody reads, it fills up, loses what comes and counts it; what was written stays whole', () => {
  const { writer, reader } = journal();
  let written = 0;
  for (let turn = 0; turn < 40; turn++, written += 1000) write(writer, 0, 0, 1000, 1 + written);
  let read = 0;
  while (reader.next()) {
    for (let block = 0; block < reader.count; block++) expect(reader.high(block)).toBe(-reader.low(block));
    read += reader.count;
  }
  expect(read).toBeGreaterThan(20_000);
  expect(read + reader.lostCount).toBe(written);
  write(writer, 0, 0, 2, 5);
  expect(reader.next() && reader.low(1), 'there is room again').toBe(6);
});

test('journal: when it has gone round many times, and counts have passed 2^32 words, entries are whole', () => {
  const { writer, reader, memory } = journal();
  const words = new Int32Array(memory);
  // Just before the signed and the unsigned end.
  for (const start of [0x7fff_ff00, -256]) {
    words[0] = start;
    words[16] = start;
    const again = new PrefixJournalWriter(memory);
    const reading = new PrefixJournalReader(memory);
    for (let turn = 0; turn < 500; turn++) {
      write(again, 1, 2, 1 + (turn % 300), turn + 1);
      expect(reading.next() && reading.count).toBe(1 + (turn % 300));
      expect(reading.low(turn % 300)).toBe(turn + 1 + (turn % 300));
    }
    expect(reading.next()).toBe(false);
    expect(reading.lostCount).toBe(0);
  }
  expect([writer, reader]).toHaveLength(2);
});

test('journal: when the thread that wrote dies in the middle, the next one goes on behind the last whole entry', () => {
  const { writer, reader, memory } = journal();
  write(writer, 0, 0, 2);
  writer.begin(0, 0, 1);
  writer.add(9, 9, 9);
  write(new PrefixJournalWriter(memory), 3, 0, 1, 40);
  expect(reader.next() && reader.count).toBe(2);
  expect(reader.next() && [reader.pool, reader.low(0)]).toEqual([3, 40]);
  expect(reader.next()).toBe(false);
});

test('index: when blocks are inserted, those that others cannot know are news, and those in use again after an eighth of the cache', () => {
  const capacity = 64 * 1024;
  const index = new PrefixIndex(createPrefixMemory(4096, 2, capacity));
  const keysOf = (first: number, count: number) => ({
    count,
    lows: Int32Array.from({ length: count }, (_, block) => first + block),
    highs: Int32Array.from({ length: count }, (_, block) => Math.imul(first + block, 0x9e37_79b1)),
    ends: Int32Array.from({ length: count }, (_, block) => (block + 1) * 512),
  });
  const newsOf = (first: number, count: number, endpoint = 0): number[] => {
    const found: number[] = [];
    index.insert(keysOf(first, count), endpoint, { add: (low) => void found.push(low) });
    return found;
  };
  expect(newsOf(1, 3), 'the last first').toEqual([3, 2, 1]);
  expect(newsOf(1, 3), 'known').toEqual([]);
  expect(newsOf(1, 5)).toEqual([5, 4]);
  expect(newsOf(1, 2, 1), 'of another endpoint').toEqual([2, 1]);
  for (let block = 100; block < 116; block++) newsOf(block, 1);
  expect(newsOf(1, 3), 'used again, an eighth of the cache later').toEqual([3, 2, 1]);
  index.horizon.forget(0);
  expect(newsOf(1, 3), 'not held any more').toEqual([3, 2, 1]);
});
