import { expect, test } from 'vitest';
import { catalogueStatus } from './catalogue-status.ts';
import type { ModelEntry } from './listed-models.ts';

function observersOf(list: readonly ModelEntry[] | null): Parameters<typeof catalogueStatus>[0] {
  return { catalogue: { list: () => list, residents: () => [] }, scraper: { load: () => null } };
}

const model = (name: string, rest: Partial<ModelEntry> = {}): ModelEntry => ({
  name,
  aliases: [],
  parent: null,
  contextTokens: 0,
  isLoaded: null,
  ownedBy: '',
  ...rest,
});

test('catalogue status: when a list is known, its models and adapters are shown, and the longest context', () => {
  expect(catalogueStatus(observersOf(null), 0)).toBeNull();
  const list = [model('base', { contextTokens: 4096 }), model('sql', { parent: 'base', contextTokens: 8192 })];
  expect(catalogueStatus(observersOf(list), 0)).toMatchObject({
    models: ['base'],
    adapters: ['sql'],
    further: 0,
    context_tokens: 8192,
  });
  expect(catalogueStatus(observersOf([]), 0)).toMatchObject({ models: [], context_tokens: null });
});

// As many as 4 MiB, the most that is read of a list, have room for.
test('catalogue status: when a list is as long as it can be, the status page is one all the same', () => {
  const list = Array.from({ length: 300_000 }, (_, index) => model(`${index}`));
  expect(catalogueStatus(observersOf(list), 0)).toMatchObject({ further: 299_900, context_tokens: null });
});
