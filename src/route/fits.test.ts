import { expect, test } from 'vitest';
import { parseConfig } from '../config/index.ts';
import { RouteTable } from './route-table.ts';

/** What the targets of each model let go where, endpoint by endpoint. */
function fitsOf(targets: string): (string | null)[] {
  const loaded = parseConfig(
    `listeners: [{ name: l, address: "127.0.0.1:0" }]
models: [{ name: m, targets: [${targets}] }]
pools:
  - name: p
    endpoints:
      - { url: "http://a", sku: h100, quantization: fp8 }
      - { url: "http://b", sku: h100, quantization: bf16 }
      - { url: "http://c", sku: l40s, quantization: fp8 }
      - { url: "http://d" }
  - { name: plain, endpoints: [{ url: "http://a" }, { url: "http://b" }] }
`,
    'f.yaml',
    {},
  );
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return new RouteTable(loaded.config).resolve('m')!.targets.map(({ fits }) => fits?.join('') ?? null);
}

test('route: when a target asks for kinds of endpoints, only those that say they are of one fit', () => {
  expect(fitsOf('{ pool: p, skus: [h100] }')).toEqual(['1100']);
  expect(fitsOf('{ pool: p, skus: [h100, l40s] }')).toEqual(['1110']);
  expect(fitsOf('{ pool: p, quantizations: [fp8] }')).toEqual(['1010']);
  expect(fitsOf('{ pool: p, skus: [h100], quantizations: [fp8] }'), 'both have to be met').toEqual(['1000']);
  expect(fitsOf('{ pool: p, skus: [l40s], quantizations: [bf16] }'), 'each is there, not together').toEqual(['0000']);
});

test('route: when a target asks for nothing, or all have it, no endpoint is looked at', () => {
  expect(fitsOf('{ pool: p }')).toEqual([null]);
  expect(fitsOf('{ pool: p, skus: [], quantizations: [] }')).toEqual([null]);
  expect(fitsOf('{ pool: plain, skus: [h100] }'), 'nobody there says what it is').toEqual(['00']);
});
