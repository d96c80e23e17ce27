import { expect, test } from 'vitest';
import { loadedModelsPath, parseLoadedModels, parseModelList } from './listed-models.ts';

const list = (...data: object[]): string => JSON.stringify({ object: 'list', data });
const plain = { aliases: [], parent: null, contextTokens: 0, isLoaded: null, ownedBy: '' };

test('models: when vLLM lists a model with adapters, they are told apart, and have the context of their base', () => {
  const text = list(
    { id: 'base', object: 'model', owned_by: 'vllm', root: 'base', parent: null, max_model_len: 8192 },
    { id: 'sql', owned_by: 'vllm', root: '/adapters/sql', parent: 'base', max_model_len: null },
  );
  expect(parseModelList(text)).toEqual([
    { ...plain, name: 'base', contextTokens: 8192, ownedBy: 'vllm' },
    { ...plain, name: 'sql', parent: 'base', contextTokens: 8192, ownedBy: 'vllm' },
  ]);
});

test('models: when servers that swap models list them, what is loaded is known, or where to ask for it', () => {
  const llama = parseModelList(
    list({ id: 'a', aliases: ['a-chat'], status: { value: 'loaded' } }, { id: 'b', status: { value: 'unloaded' } }),
  )!;
  expect(llama.map(({ name, isLoaded }) => [name, isLoaded])).toEqual([
    ['a', true],
    ['b', false],
  ]);
  expect(llama[0]!.aliases).toEqual(['a-chat']);
  expect(loadedModelsPath(llama, 'openai')).toBeNull();
  const ollama = parseModelList(list({ id: 'llama3:latest', owned_by: 'library' }))!;
  expect(ollama[0]!.aliases).toEqual(['llama3']);
  expect(loadedModelsPath(ollama, 'openai')).toBe('/api/ps');
  expect(loadedModelsPath(parseModelList(list({ id: 'x', owned_by: 'llama-swap' }))!, 'openai')).toBe('/running');
  expect(parseLoadedModels('{"models":[{"name":"llama3:latest","size":1}]}')).toEqual(['llama3:latest']);
  expect(parseLoadedModels('{"running":[{"model":"x","state":"ready"},{"model":"y","state":"stopping"}]}')).toEqual([
    'x',
  ]);
  expect(parseLoadedModels('{}')).toBeNull();
});

test('models: when names are UTF-8, repeated, or no names, they are read once or left out', () => {
  const text = list({ id: 'naïve' }, { id: 'naïve' }, { id: 7 }, { id: '' }, { id: 'x'.repeat(513) });
  expect(parseModelList(Buffer.from(text).toString('latin1'))).toEqual([{ ...plain, name: 'naïve' }]);
  expect(parseModelList(list({ id: 'm', context_length: 131_072.5 }, { id: 'n', max_model_len: -1 }))).toEqual([
    { ...plain, name: 'm', contextTokens: 131_072 },
    { ...plain, name: 'n' },
  ]);
});

test('models: when the text is no list, there is none; an empty list is one', () => {
  for (const text of ['', '<html>', '[]', '{"data":{}}', '{"object":"list"}', 'null', '"data"'])
    expect(parseModelList(text), text).toBeNull();
  expect(parseModelList('{"data":[null,7,[]]}')).toEqual([]);
});

test('models: when there are more names than anybody has, that is no list', () => {
  const many = (count: number, prefix: string): string[] => Array.from({ length: count }, (_, at) => `${prefix}${at}`);
  const ids = many(2048, 'm').map((id) => ({ id, aliases: [`${id}-chat`] }));
  expect(parseModelList(list(...ids))).toHaveLength(2048);
  expect(parseModelList(list(...ids, { id: 'one more' }))).toBeNull();
  expect(parseModelList(list({ id: 'm', aliases: many(200_000, 'a') }))).toBeNull();
});
