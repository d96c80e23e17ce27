import { expect, test } from 'vitest';
import { createSharedMemory, type ListedModel, ModelTable } from '../shm/index.ts';
import { hashText } from './hash.ts';
import { ModelFit } from './model-fit.ts';

const listed = (name: string, contextTokens = 0, rest: Partial<ListedModel> = {}): ListedModel => ({
  key: hashText(name),
  contextTokens,
  isAdapter: false,
  loads: false,
  ...rest,
});

/** Endpoints with these lists; null: not known. */
function fitOf(
  lists: readonly (readonly ListedModel[] | null)[],
  options: { weights?: number[]; said?: number[] } = {},
) {
  const memory = createSharedMemory({ shardCount: 1, endpointCountMax: 8, bufferedBytesMax: 1024 });
  const control = new ModelTable(memory, -1);
  for (const [slot, list] of lists.entries()) control.publish(slot, list);
  const endpoints = lists.map((_, slot) => ({ url: `http://${slot}`, slot, weight: options.weights?.[slot] ?? 1 }));
  const fit = new ModelFit(new ModelTable(memory, 0), endpoints, options.said ?? lists.map(() => 0));
  const admitted = (name: string, contextTokens = 0): number[] => {
    fit.begin({ modelKey: name === '' ? 0 : hashText(name), contextTokens });
    return endpoints.flatMap(({ slot }) => (fit.admits(slot) ? [slot] : []));
  };
  return { control, fit, admitted };
}

test('model fit: when some endpoint lists a model, those that do not are left out, and those of which nothing is known are not', () => {
  const { admitted } = fitOf([[listed('a')], [listed('a'), listed('b')], null]);
  expect(admitted('a')).toEqual([0, 1, 2]);
  expect(admitted('b')).toEqual([1, 2]);
  expect(admitted('c'), 'nobody has it: an alias, or a server that takes any name').toEqual([0, 1, 2]);
  expect(admitted(''), 'no model').toEqual([0, 1, 2]);
});

test('model fit: when a list changes, the next pick goes by it', () => {
  const { control, admitted } = fitOf([[listed('a')], [listed('b')]]);
  expect(admitted('b')).toEqual([1]);
  control.publish(0, [listed('b')]);
  expect(admitted('b')).toEqual([0, 1]);
  control.publish(1, null);
  expect(admitted('a'), 'listed by nobody any more').toEqual([0, 1]);
});

test('model fit: when only an endpoint without weight lists a model, it leaves nobody out', () => {
  const { admitted } = fitOf([[listed('a')], [listed('b')]], { weights: [0, 1] });
  expect(admitted('a')).toEqual([0, 1]);
});

test('model fit: when a prompt is longer than a context by more than a quarter, it goes where it fits, if anywhere', () => {
  const { admitted } = fitOf([[listed('a', 1000)], [listed('a', 4000)], [listed('b', 9000)]]);
  expect(admitted('a', 1250)).toEqual([0, 1]);
  expect(admitted('a', 1251)).toEqual([1]);
  expect(admitted('a', 5001), 'none has room: the engine says so in its own words').toEqual([0, 1]);
  expect(admitted('x', 6000), 'as long as its longest, for a name it does not list').toEqual([2]);
});

test('model fit: when an endpoint does not say how long its context is, it may be long enough; what is configured counts first', () => {
  const lists = [[listed('a', 1000)], [listed('a')], null];
  expect(fitOf(lists).admitted('a', 5000)).toEqual([1, 2]);
  expect(fitOf(lists, { said: [8000, 0, 2000] }).admitted('a', 5000)).toEqual([0, 1]);
});

test('model fit: when endpoints list different models the pool is mixed; what is not known makes no difference', () => {
  const { control, fit } = fitOf([[listed('a')], [listed('a', 7)], null]);
  expect(fit.isMixed).toBe(false);
  control.publish(1, [listed('a'), listed('b')]);
  expect(fit.isMixed).toBe(true);
});

test('model fit: when a model is loaded on use somewhere, it may have to be there and where nothing is known', () => {
  const adapter = listed('ad', 0, { isAdapter: true, loads: true });
  const { fit, admitted } = fitOf([[adapter], [listed('ad')], null, [listed('x')]]);
  admitted('ad');
  expect([fit.isAdapter, fit.isLoaded]).toEqual([true, true]);
  expect([0, 1, 2, 3].map((index) => fit.mayLoad(index))).toEqual([true, false, true, false]);
  admitted('x');
  expect([fit.isAdapter, fit.isLoaded, fit.mayLoad(0)]).toEqual([false, false, false]);
});
