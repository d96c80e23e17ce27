import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { metricsMarkdown } from './metrics-doc.ts';

test('metrics: when the table changes, docs/metrics.md changes with it', () => {
  const page = new URL('../../docs/metrics.md', import.meta.url);
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(page, metricsMarkdown());
  const isSame = readFileSync(page, 'utf8') === metricsMarkdown();
  expect(isSame, 'docs/metrics.md is stale: UPDATE_DOCS=1 npx vitest run src/account').toBe(true);
});
