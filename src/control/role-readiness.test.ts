import { expect, test } from 'vitest';
import { parseConfig } from '../config/index.ts';
import { canServe } from './role-readiness.ts';

function serves(protocol: string, roles: readonly string[], available: readonly boolean[]): boolean {
  const endpoints = roles.map((role, index) => `{ url: "http://h:${index + 1}", role: ${role} }`);
  const split = protocol === '' ? '' : `disaggregation: { protocol: ${protocol} }, `;
  const text = `listeners: [{ name: l, address: "127.0.0.1:0" }]\npools: [{ name: p, ${split}endpoints: [${endpoints.join(', ')}] }]`;
  const loaded = parseConfig(text, 'f.yaml', {});
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return canServe(loaded.config.pools[0]!, available);
}

test('readiness: when endpoints have roles, those that are available must be able to answer together', () => {
  expect(serves('', ['both', 'both'], [false, true])).toBe(true);
  expect(serves('', ['both'], [false])).toBe(false);
  for (const [protocol, available, expected] of [
    ['vllm', [true, false], false],
    ['vllm', [false, true], true],
    ['sglang', [true, false], false],
    ['sglang', [false, true], false],
    ['sglang', [true, true], true],
  ] as const) {
    expect(serves(protocol, ['prefill', 'decode'], available), `${protocol} ${available.join()}`).toBe(expected);
  }
  expect(serves('sglang', ['prefill', 'decode', 'both'], [false, false, true])).toBe(true);
});
