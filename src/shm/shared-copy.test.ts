import { expect, test } from 'vitest';
import { copyShared } from './shared-copy.ts';

test('shared copy: when source and target are aligned differently, the bytes arrive and their neighbours stay', () => {
  const target = Buffer.from(new SharedArrayBuffer(64));
  const memory = Uint8Array.from({ length: 64 }, (_, index) => index + 100);
  for (const length of [0, 1, 7, 8, 31]) {
    for (const [offset, from] of [
      [0, 0],
      [1, 0],
      [0, 3],
      [5, 2],
    ] as const) {
      target.fill(1);
      const source = memory.subarray(from, from + length);
      expect(copyShared(target, offset, source)).toBe(length);
      expect(target.subarray(offset, offset + length)).toEqual(Buffer.from(source));
      expect(target.subarray(0, offset).every((byte) => byte === 1)).toBe(true);
      expect(target.subarray(offset + length).every((byte) => byte === 1)).toBe(true);
    }
  }
});
