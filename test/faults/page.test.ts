import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { faults } from './catalogue.ts';
import { pageText } from './page.ts';
import type { SuiteResult } from './result.ts';
import { missingRows, rows } from './rows.ts';

const latest = JSON.parse(readFileSync(new URL('results/latest.json', import.meta.url), 'utf8')) as SuiteResult;

test('faults: when the catalogue is read, each fault has one row, and none is listed both as made and as missing', () => {
  const made = [...rows, ...missingRows].map(({ id }) => id).sort();
  expect(made).toEqual(faults.map(({ id }) => id).sort());
});

test('faults: when the catalogue, a row, the matrix or the results change, docs/faults.md changes with them', () => {
  const page = new URL('../../docs/faults.md', import.meta.url);
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(page, pageText(latest));
  const isSame = readFileSync(page, 'utf8') === pageText(latest);
  expect(isSame, 'docs/faults.md is stale: UPDATE_DOCS=1 npx vitest run test/faults').toBe(true);
});

test('faults: when results are kept, every fault has one', () => {
  expect(latest.rows.map(({ id }) => id)).toEqual(faults.map(({ id }) => id));
});

// A row that was broken stays listed as such; one that was passed over must not look as if it had been made.
test('faults: when a fault cannot be made yet, its result is not a verdict', () => {
  for (const { id } of missingRows) expect(latest.rows.find((row) => row.id === id)?.verdict).toBe('not yet');
});
