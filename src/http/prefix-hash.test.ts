import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { blockCountMax, PrefixHash } from './prefix-hash.ts';

interface Block {
  readonly high: number;
  readonly low: number;
  readonly end: number;
}

function blocksOf(hash: PrefixHash): Block[] {
  return Array.from({ length: hash.blockCount }, (_, index) => ({
    high: hash.high(index),
    low: hash.low(index),
    end: hash.endOf(index),
  }));
}

/** Hashes `body` cut before each of `cuts`, with checkpoints at `checkpoints`; both ascending offsets. */
function hashed(body: Buffer, cuts: readonly number[] = [], checkpoints: readonly number[] = []): Block[] {
  const hash = new PrefixHash();
  let at = 0;
  for (const end of [...new Set([...cuts, ...checkpoints, body.length])].sort((a, b) => a - b)) {
    // Another alignment for every piece, and bytes around it that must not count.
    const piece = Buffer.alloc(end - at + 16, 0xa5);
    body.copy(piece, 1 + (end & 7), at, end);
    hash.push(piece, 1 + (end & 7), 1 + (end & 7) + end - at);
    if (checkpoints.includes(end)) hash.checkpoint();
    at = end;
  }
  return blocksOf(hash);
}

test('prefix hash: when a body is cut anywhere, its blocks are the same', () => {
  const body = randomBytes(1700);
  const whole = hashed(body);
  expect(whole.map(({ end }) => end)).toEqual([512, 1024, 1536]);
  for (let cut = 0; cut <= body.length; cut++) expect(hashed(body, [cut]), `cut at ${cut}`).toEqual(whole);
  expect(
    hashed(
      body,
      Array.from({ length: 1700 }, (_, index) => index),
    ),
  ).toEqual(whole);
});

test('prefix hash: when a body grows large, its blocks do too, and 3 MiB have 544', () => {
  const body = randomBytes(3 * 1024 * 1024);
  const blocks = hashed(body);
  expect(blocks).toHaveLength(544);
  expect(blocks[127]!.end).toBe(64 * 1024);
  expect(blocks[128]!.end).toBe(66 * 1024);
  expect(blocks[351]!.end).toBe(512 * 1024);
  expect(blocks[415]!.end).toBe(1024 * 1024);
  expect(blocks[543]!.end).toBe(body.length);
  expect(new Set(blocks.map(({ high, low }) => `${high} ${low}`)).size).toBe(544);
});

test('prefix hash: when 3 MiB are messages of any one length, they have at most 680 blocks', () => {
  const body = randomBytes(3 * 1024 * 1024);
  for (const length of [7, 100, 410, 412, 1000, 1024, 1060, 1639, 1700, 4000, 6554, 13_108]) {
    const hash = new PrefixHash();
    for (let at = 0; at < body.length; at += length) {
      hash.push(body, at, Math.min(body.length, at + length));
      hash.checkpoint();
    }
    hash.finish();
    expect(hash.byteCount).toBe(body.length);
    expect(hash.blockCount, `messages of ${length}`).toBeLessThanOrEqual(680);
  }
});

test('prefix hash: when two bodies part at a byte, the blocks before it agree and none behind it does', () => {
  const one = randomBytes(8192);
  for (const at of [0, 511, 512, 3000, 8191]) {
    const other = Buffer.from(one);
    other[at]! ^= 0x20;
    const a = hashed(one);
    const b = hashed(other);
    const same = a.filter((block, index) => block.high === b[index]!.high && block.low === b[index]!.low).length;
    expect(same, `changed at ${at}`).toBe(Math.floor(at / 512));
  }
});

test('prefix hash: when a conversation goes on, everything up to its last checkpoint is found again', () => {
  const first = randomBytes(4980);
  const next = Buffer.concat([first, randomBytes(3000)]);
  const turn = hashed(first, [], [1440, 4980]);
  const grown = hashed(next, [37, 4979], [1440, 4980, 7980]);
  expect(turn.at(-1)!.end).toBe(4980);
  expect(grown.slice(0, turn.length)).toEqual(turn);
});

test('prefix hash: when a checkpoint comes early in a block, the block stays open', () => {
  const body = randomBytes(512);
  expect(hashed(body, [], [409])).toEqual(hashed(body));
  expect(hashed(body, [], [410]).map(({ end }) => end)).toEqual([410]);
});

test('prefix hash: when the last word of a block is padded, zeroes in its place are something else', () => {
  const short = Buffer.alloc(450, 1);
  const padded = Buffer.concat([short, Buffer.alloc(6)]);
  expect(hashed(short, [], [450])[0]).not.toMatchObject({ high: hashed(padded, [], [456])[0]!.high });
});

test('prefix hash: when there are more blocks than room, hashing ends and nothing is overwritten', () => {
  const hash = new PrefixHash();
  const neighbour = new PrefixHash();
  neighbour.push(Buffer.alloc(512, 7), 0, 512);
  const before = blocksOf(neighbour);
  const piece = Buffer.alloc(8192, 3);
  for (let index = 0; index < 9000; index++) {
    hash.push(piece, 0, 3000);
    hash.checkpoint();
  }
  expect(hash.blockCount).toBe(blockCountMax);
  expect(blocksOf(neighbour)).toEqual(before);
  hash.reset();
  expect(hash.blockCount).toBe(0);
});
