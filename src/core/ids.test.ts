import { expect, test } from 'vitest';
import { requestIdFrom, uuidV7 } from './ids.ts';

// RFC 9562 section 5.7.
test('ids: when many ids are made, each is a version 7 UUID carrying its millisecond, and all differ', () => {
  const unixMs = 0x0192_3456_789a;
  const seen = new Set<string>();
  for (let round = 0; round < 2000; round++) {
    const id = uuidV7(unixMs);
    expect(id).toMatch(/^01923456-789a-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    seen.add(id);
  }
  expect(seen.size).toBe(2000);
});

test('ids: when a client names its request, only 1 to 128 visible ASCII characters are taken', () => {
  expect(requestIdFrom('abc-123')).toBe('abc-123');
  expect(requestIdFrom('x'.repeat(128))).toBe('x'.repeat(128));
  for (const bad of ['', 'x'.repeat(129), 'a b', 'a\r\nb', 'é', '\x7f']) expect(requestIdFrom(bad)).toBeNull();
});
