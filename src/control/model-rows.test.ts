import { expect, test } from 'vitest';
import { parseConfig } from '../config/index.ts';
import type { Config } from '../config/index.ts';
import { firstModelRow, healthRowCount } from '../shm/index.ts';
import { modelRowsOf } from './model-rows.ts';

/** `models`: name to the pools it is served by. */
function configOf(models: Readonly<Record<string, readonly string[]>>, pools = ['p', 'q']): Config {
  const parsed = parseConfig(
    JSON.stringify({
      listeners: [{ name: 'a', address: '127.0.0.1:0' }],
      pools: pools.map((name) => ({ name, endpoints: [{ url: 'http://127.0.0.1:1' }] })),
      default_pool: pools[0],
      models: Object.entries(models).map(([name, targets]) => ({ name, targets: targets.map((pool) => ({ pool })) })),
    }),
    'test.yaml',
    {},
  );
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config;
}

/** Models by row, without the free ones at the end. */
function named(rows: readonly string[]): string[] {
  expect(rows).toHaveLength(healthRowCount);
  return rows.slice(firstModelRow).join(' ').trimEnd().split(' ');
}

test('model rows: when pools serve different models, each has rows for its own', () => {
  const [p, q] = modelRowsOf(configOf({ a: ['p'], b: ['p', 'q'], c: ['q'] }));
  expect([named(p!), named(q!)]).toEqual([
    ['a', 'b'],
    ['b', 'c'],
  ]);
  expect(p!.slice(0, firstModelRow), 'the endpoint itself, and other').toEqual(['', '']);
});

test('model rows: when models come and go with a reload, those that stay keep their rows', () => {
  const config = configOf({ a: ['p'], b: ['p'], c: ['p'] });
  const before = { config, modelRows: modelRowsOf(config) };
  const next = configOf({ d: ['p'], c: ['p'], e: ['p'], a: ['p'] }, ['q', 'p']);
  const [, p] = modelRowsOf(next, before);
  expect(named(p!)).toEqual(['a', 'd', 'c', 'e']);
});

test('model rows: when there are more models than rows, the first ones have them', () => {
  const names = Array.from({ length: 40 }, (_, index) => `m${index}`);
  const [p] = modelRowsOf(configOf(Object.fromEntries(names.map((name) => [name, ['p']]))));
  expect(named(p!)).toEqual(names.slice(0, healthRowCount - firstModelRow));
});
