import { expect, test } from 'vitest';
import { portsToBind } from './free-port.ts';

const listener = (port: number): Parameters<typeof portsToBind>[0][number] =>
  ({ name: 'public', address: { host: '127.0.0.1', port } }) as Parameters<typeof portsToBind>[0][number];

// uSockets src/bsd.c: SO_REUSEPORT is set for ports other than 0.
test('control: when several shards listen on port 0, they are told one free port; a single one lets the kernel choose', async () => {
  expect(await portsToBind([listener(8080), listener(0)], 1)).toEqual([8080, 0]);
  const [given, chosen, other] = await portsToBind([listener(8080), listener(0), listener(0)], 2);
  expect(given).toBe(8080);
  expect(chosen).toBeGreaterThan(0);
  expect(other).toBeGreaterThan(0);
  expect(other).not.toBe(chosen);
});
