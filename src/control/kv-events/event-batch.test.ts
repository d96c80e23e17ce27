import { expect, test } from 'vitest';
import { encodeMsgpack } from '../../sim/msgpack.ts';
import type { MsgpackValue } from '../../sim/msgpack.ts';
import { BatchDecoder, emptyTally } from './event-batch.ts';
import type { BatchTally } from './event-batch.ts';
import { arrayForm, mapForm, sglangStored } from './fixtures/recorded.ts';

const decode = (hex: string, decoder = new BatchDecoder()): BatchTally | null =>
  decoder.decode(Buffer.from(hex, 'hex'));
const forms = [
  ['array', arrayForm],
  ['map', mapForm],
] as const;

/** What `changes` says, and nothing of anything else. */
const tally = (timestamp: number, changes: Partial<BatchTally>): BatchTally => ({
  ...emptyTally(),
  timestamp,
  ...changes,
});

test.each(forms)(
  'event batch: when vLLM writes the %s form, tokens are counted by blocks and their size',
  (_, form) => {
    expect(decode(form.stored)).toEqual(tally(1753900000.25, { storedTokens: 8, storedCount: 1 }));
    expect(decode(form.adapter)).toEqual(tally(1753900001.5, { storedTokens: 4, storedCount: 1 }));
    expect(decode(form.empty)).toEqual(tally(1753900005, {}));
  },
);

test.each(forms)(
  'event batch: when there are several cache groups (%s), the one prefixes are looked up in counts',
  (_, form) => {
    expect(decode(form.groups)).toEqual(
      tally(1753900002, { storedTokens: 4, removedTokens: 4, storedCount: 2, removedCount: 2 }),
    );
  },
);

test.each(forms)('event batch: when blocks go to a tier behind the device (%s), they are counted apart', (_, form) => {
  const decoder = new BatchDecoder();
  decode(form.stored, decoder);
  expect(decode(form.tiers, decoder)).toEqual(
    tally(1753900003, {
      lowerStoredTokens: 32,
      lowerRemovedTokens: 16,
      removedTokens: 4,
      storedCount: 1,
      removedCount: 2,
    }),
  );
});

test.each(forms)('event batch: when the cache is cleared (%s), what came before it counts no more', (_, form) => {
  expect(decode(form.cleared)).toEqual(
    tally(1753900004, { isCleared: true, storedTokens: 8, storedCount: 2, clearedCount: 1 }),
  );
});

test('event batch: when SGLang writes it, pages of one token and fields that are missing are no trouble', () => {
  expect(decode(sglangStored)).toEqual(
    tally(1753900000.25, { storedTokens: 2, removedTokens: 1, storedCount: 2, removedCount: 1 }),
  );
});

test('event batch: when an engine does not say which group is which, the first is the one', () => {
  const stored = (group: number): MsgpackValue => ({
    type: 'BlockStored',
    block_hashes: [1],
    block_size: 16,
    group_idx: group,
  });
  const decoder = new BatchDecoder();
  const batch = encodeMsgpack([1.5, [stored(0), stored(1), { type: 'BlockRemoved', block_hashes: [1], group_idx: 1 }]]);
  expect(decoder.decode(batch)).toMatchObject({ storedTokens: 16, removedTokens: 0, storedCount: 2, removedCount: 1 });
});

test('event batch: when there are events and fields of a time to come, they are counted and stepped over', () => {
  const batch = encodeMsgpack({
    ts: 2.5,
    novelty: [{ deep: [1, 'x'.repeat(300), new Uint8Array(70_000), null, true, -1, -100_000, 2.5, 1n << 63n] }],
    events: [
      { type: 'BlockMoved', block_hashes: [1, 2] },
      ['Another', 1, 2, 3],
      ['BlockStored', [1], null, [1, 2], 2, null, 'GPU', null, null, 0, 'full_attention', null, 'and', { more: 1 }],
    ],
  });
  expect(new BatchDecoder().decode(batch)).toEqual(tally(2.5, { storedTokens: 2, storedCount: 1, otherCount: 2 }));
});

test('event batch: when a batch is cut anywhere, or goes on behind its end, it is none', () => {
  const decoder = new BatchDecoder();
  for (const form of [arrayForm, mapForm]) {
    for (const hex of Object.values(form)) {
      const bytes = Buffer.from(hex, 'hex');
      const lengths = Array.from({ length: bytes.length }, (_, length) => length);
      expect(lengths.filter((length) => decoder.decode(bytes.subarray(0, length)) !== null)).toEqual([]);
      expect(decoder.decode(Buffer.concat([bytes, Buffer.of(0xc0)]))).toBeNull();
    }
  }
});

test('event batch: when any byte of it is another, it is read or refused, and nothing is thrown', () => {
  const decoder = new BatchDecoder();
  // One of each kind of value, and the ends of their ranges.
  const bytesTried = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc3, 0xc4, 0xc6, 0xc9, 0xca, 0xcb];
  bytesTried.push(0xcc, 0xcf, 0xd0, 0xd3, 0xd4, 0xd8, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xff);
  let refusedCount = 0;
  const odd: string[] = [];
  for (const hex of [arrayForm.adapter, mapForm.adapter]) {
    const bytes = Buffer.from(hex, 'hex');
    for (let at = 0; at < bytes.length; at++) {
      for (const value of bytesTried) {
        const changed = Buffer.from(bytes);
        changed[at] = value;
        const read = decoder.decode(changed);
        if (read === null) refusedCount++;
        else if (!(read.storedTokens >= 0 && read.removedTokens >= 0)) odd.push(changed.toString('hex'));
      }
    }
  }
  expect(odd).toEqual([]);
  expect(refusedCount).toBeGreaterThan(1000);
});

test.each([
  ['an array that claims four billion', Buffer.of(0x92, 0x01, 0xdd, 0xff, 0xff, 0xff, 0xff)],
  ['a map that claims four billion', Buffer.of(0xdf, 0xff, 0xff, 0xff, 0xff)],
  ['a text that claims four gigabytes', Buffer.of(0x93, 0x01, 0x90, 0xdb, 0xff, 0xff, 0xff, 0xff)],
  ['a million arrays in one another', Buffer.concat([Buffer.of(0x93, 0x01, 0x90), Buffer.alloc(1_000_000, 0x91)])],
  ['an event without a tag', encodeMsgpack([1, [[]]])],
  ['an event that is a number', encodeMsgpack([1, [7]])],
  ['a batch that is a number', encodeMsgpack(7)],
  ['a batch of one', encodeMsgpack([7])],
  ['the byte that is no type', Buffer.of(0x93, 0x01, 0x90, 0xc1)],
])('event batch: when it is %s, it is refused', (_, bytes) => {
  expect(new BatchDecoder().decode(bytes)).toBeNull();
});

test('event batch: when a block size is out of all reason, it counts for nothing', () => {
  const stored = (size: MsgpackValue): Buffer => encodeMsgpack([1, [['BlockStored', [1], null, [], size]]]);
  for (const size of [0, -1, 2 ** 40, 'x', null, [1], NaN])
    expect(new BatchDecoder().decode(stored(size))?.storedTokens, String(size)).toBe(0);
});
