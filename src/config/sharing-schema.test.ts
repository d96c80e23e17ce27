import { expect, test } from 'vitest';
import { formatProblem, maskedConfig, parseConfig } from './index.ts';
import { readStoreUrl } from './sharing-schema.ts';

const plain = { tls: false, port: 6379, database: 0, username: null, password: null };

test.each([
  ['redis://10.0.0.1', { ...plain, host: '10.0.0.1' }],
  ['valkey://store:7000/3', { ...plain, host: 'store', port: 7000, database: 3 }],
  ['rediss://[::1]/', { ...plain, tls: true, host: '::1' }],
  ['valkeys://me:p%40ss@store', { ...plain, tls: true, host: 'store', username: 'me', password: 'p@ss' }],
  ['redis://:secret@store', { ...plain, host: 'store', password: 'secret' }],
])('config: when the URL of a store is %s, its parts are known', (text, value) => {
  expect(readStoreUrl(text)).toEqual({ value });
});

test.each([
  'http://store',
  'store:6379',
  'redis:store',
  'redis:///0',
  'redis://store/db',
  'redis://store?x=1',
  'redis://store:0',
  'redis://store:70000',
  'redis://256.1.1.1',
  'redis://:%zz@store',
])('config: when the URL of a store is %s, it is refused without repeating it', (text) => {
  const reading = readStoreUrl(text);
  expect(reading).toHaveProperty('complaint');
  expect(JSON.stringify(reading)).not.toContain(text);
});

test('config: when the configuration is shown, the passwords of the store are not', () => {
  const text = `
listeners: [{ name: l, address: "127.0.0.1:0" }]
pools: [{ name: p, endpoints: [{ url: "http://h:1" }] }]
sharing: { url: "redis://me:hush@store", password: quiet }
`;
  const loaded = parseConfig(text, '/etc/f.yaml', {});
  if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  const shown = maskedConfig(loaded.config);
  expect(shown['sharing']).toMatchObject({ url: { host: 'store', username: 'me', password: '***' }, password: '***' });
  expect(JSON.stringify(shown)).not.toMatch(/hush|quiet/);
  expect(shown['pools']).toMatchObject([{ endpoints: [{ url: 'http://h:1' }] }]);
});
