import { expect, test } from 'vitest';
import { createSharedMemory, FleetTable, type ListedModel, ModelTable, ResidentTable } from '../shm/index.ts';
import { modelKeyOf } from './hash.ts';
import { LoadTimes } from './load-time.ts';
import { ModelFit } from './model-fit.ts';
import { openRule, PoolView } from './pool-view.ts';
import { Loading, type LoadingRequest, Residents } from './residents.ts';

/** Two endpoints with an adapter `a`, two more `b` and `c`, a base model, and a model `swapped` of a server that swaps it. */
function pool() {
  const memory = createSharedMemory({ shardCount: 1, endpointCountMax: 4, bufferedBytesMax: 1024 });
  const models = new ModelTable(memory, -1);
  const listed = (name: string, isAdapter: boolean, loads: boolean): ListedModel => ({
    key: modelKeyOf(name),
    contextTokens: 0,
    isAdapter,
    loads,
  });
  const adapters = ['a', 'b', 'c'].map((name) => listed(name, true, true));
  const list = [...adapters, listed('base', false, false), listed('swapped', false, true)];
  const endpoints = [0, 1].map((slot) => ({ url: `http://${slot}`, slot, weight: 1 }));
  for (const { slot } of endpoints) models.publish(slot, list);
  const fit = new ModelFit(new ModelTable(memory, 0), endpoints, [0, 0]);
  const view = new PoolView(endpoints, new FleetTable(memory, 0), openRule, fit);
  const residents = new Residents(view, new ResidentTable(memory, 0), new LoadTimes());
  const request = (model: string): LoadingRequest => {
    const made = { modelKey: modelKeyOf(model), contextTokens: 0, loading: Loading.none };
    fit.begin(made); // As a screen does.
    return made;
  };
  const seconds = (model: string): number[] => {
    const key = residents.keyOf(request(model));
    return endpoints.map((_, index) => residents.seconds(index, key));
  };
  const send = (model: string, index: number, nowMs = 1000): LoadingRequest => {
    const made = request(model);
    residents.place(made, index, nowMs);
    return made;
  };
  return { control: new ResidentTable(memory, -1), residents, seconds, send };
}

test('residents: when an adapter was sent somewhere, it is there, and costs its loading elsewhere', () => {
  const { seconds, send } = pool();
  expect(seconds('a')).toEqual([0.5, 0.5]);
  expect(send('a', 1).loading).toBe(Loading.cold);
  expect(seconds('a')).toEqual([0.5, 0]);
  expect(send('a', 1).loading).toBe(Loading.warm);
});

test('residents: when all places of an engine run, another adapter waits for one of them besides', () => {
  const { control, seconds, send } = pool();
  control.note(0, 2, [], 500);
  send('a', 0);
  send('b', 0);
  expect(seconds('c')).toEqual([1.5, 0.5]);
});

test('residents: when a model is always in memory, or nobody lists it, it costs nothing and nothing is noted', () => {
  const { seconds, send } = pool();
  expect([seconds('base'), seconds('nobody')]).toEqual([
    [0, 0],
    [0, 0],
  ]);
  expect(send('base', 0).loading).toBe(Loading.none);
});

test('residents: when a whole model is loaded, it costs more than an adapter, and each is learned for itself', () => {
  const { residents, seconds, send } = pool();
  expect(seconds('swapped')).toEqual([10, 10]);
  residents.learn(send('swapped', 0), 20);
  expect(seconds('swapped')[1]).toBeCloseTo(10.5);
  expect(seconds('a')).toEqual([0.5, 0.5]);
  const cold = send('a', 0);
  residents.learn(cold, 0.2);
  residents.learn(send('a', 0), 4);
  expect(seconds('a')[1], 'the second found it there').toBeCloseTo(0.475);
  residents.finish(cold, 21);
  expect(residents.times.holdSeconds).toBeCloseTo(2);
});
