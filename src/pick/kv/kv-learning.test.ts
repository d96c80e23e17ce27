import { expect, test } from 'vitest';
import { createPrefixMemory, ModelTable, PrefixIndex, ResidentTable, WorkTable } from '../../shm/index.ts';
import { fleetOf, promptOf, requestOf, type TestRequest } from '../fixtures/pool.ts';
import { modelKeyOf } from '../hash.ts';
import { ModelFit } from '../model-fit.ts';
import { pickEndpoint } from '../pick.ts';
import { makePicker } from '../pickers.ts';
import { openRule, PoolView } from '../pool-view.ts';
import { Residents } from '../residents.ts';
import { KvLearned, KvPicker } from './kv-picker.ts';
import { makePolicy } from './kv-policies.ts';

const cacheTokens = 10_000;
const adapterKey = modelKeyOf('adapter');
const bytesPerTokenAssumed = 4;

function pool() {
  const { memory, fleet, endpoints } = fleetOf(2);
  const list = [{ key: adapterKey, contextTokens: 0, isAdapter: true, loads: true }];
  for (const { slot } of endpoints) new ModelTable(memory, -1).publish(slot, list);
  const view = new PoolView(endpoints, fleet, openRule, new ModelFit(new ModelTable(memory, 0), endpoints, [0, 0]));
  const prefixes = createPrefixMemory(4096, 4, cacheTokens * bytesPerTokenAssumed);
  const { horizon } = new PrefixIndex(prefixes);
  const ordinals = [2, 3];
  for (const ordinal of ordinals) horizon.setTokens(ordinal, cacheTokens, bytesPerTokenAssumed);
  const random = (): number => 0;
  const policy = makePolicy('kv_aware', view.hashes, random);
  const fallback = makePicker('least_load', endpoints.length, { random, shardIndex: 0 });
  const learned = new KvLearned();
  const residents = new Residents(view, new ResidentTable(memory, 0), learned.loads);
  const kv = new KvPicker({
    view,
    memory: prefixes,
    ordinals,
    work: new WorkTable(memory, 0),
    number: 0,
    journal: null,
    learned,
    policy,
    residents,
    fallback,
    random,
  });
  return { kv, view, horizon, ordinals, learned, residents };
}

const sentOf = (prompt: string, modelKey = 0): TestRequest =>
  requestOf(promptOf({ prompt }), { modelKey, endpointIndex: 1 });

function serve(made: ReturnType<typeof pool>, prompt: string, promptTokens: number): void {
  const request = sentOf(prompt);
  made.kv.look(request);
  made.kv.place(request, 1);
  made.kv.finish(request, { promptTokens, completionTokens: 0, cachedTokens: 0 });
}

test('kv aware: when prompts wait behind others, nothing is learned of how fast the endpoint is', () => {
  const made = pool();
  const [first, second] = [sentOf('a'.repeat(40_000)), sentOf('b'.repeat(40_000))];
  for (const request of [first, second]) {
    made.kv.look(request);
    made.kv.place(request, 1);
  }
  const url = 'http://10.0.0.1:8000';
  const before = made.learned.rate.of(url);
  // It had nearly all of the first when the second came.
  made.kv.answerBegan(second, 100);
  made.kv.finish(second, null);
  expect(made.learned.rate.of(url)).toBe(before);
  const { pendingTokens } = first;
  made.kv.answerBegan(first, 1000);
  made.kv.finish(first, null);
  expect(made.learned.rate.of(url)).toBe(pendingTokens);
});

// Another gateway sent the engine the same beginning.
test('kv aware: when an engine had most of a prompt that is new here, it is not taken to be as fast as that made it look', () => {
  const made = pool();
  const request = sentOf('a'.repeat(40_000));
  made.kv.look(request);
  made.kv.place(request, 1);
  made.kv.answerBegan(request, 100);
  made.kv.finish(request, { promptTokens: 10_000, completionTokens: 1, cachedTokens: 9000 });
  expect(made.learned.rate.of('http://10.0.0.1:8000')).toBe(10_000);
});

test('kv aware: when an adapter had to be loaded, what its prompt does not explain is learned of loading, and nothing of prefill', () => {
  const made = pool();
  const url = 'http://10.0.0.1:8000';
  const send = (prompt: string): TestRequest => {
    const request = sentOf(prompt, adapterKey);
    made.kv.look(request);
    expect(pickEndpoint(made.view, made.kv, request, 1000)).toBeGreaterThanOrEqual(0);
    made.residents.place(request, 1, 1000);
    made.kv.place(request, 1);
    return request;
  };
  const unlearned = made.learned.rate.of(url);
  const cold = send('a'.repeat(40_000));
  const seconds = cold.pendingTokens / made.learned.rate.of(url);
  made.kv.answerBegan(cold, (seconds + 2) * 1000);
  expect(made.learned.loads.adapter.seconds, 'a step up, of what was half a second').toBeCloseTo(0.525);
  expect(made.learned.rate.of(url)).toBe(unlearned);
  const warm = send('b'.repeat(40_000));
  const { pendingTokens } = warm;
  made.kv.answerBegan(warm, 1000);
  made.kv.finish(warm, null);
  expect(made.learned.loads.adapter.seconds).toBeCloseTo(0.525);
  expect(made.learned.rate.of(url)).toBe(pendingTokens);
});

// json.dumps of Python writes every letter of Russian as six bytes, so a token is eighteen; an index that took it for four
// would forget four fifths of what the engine holds.
test('kv aware: when tokens take more bytes than assumed, the cache is believed to hold as many bytes more', () => {
  const made = pool();
  for (let number = 0; number < 5; number++) {
    const prompt = `${number}`.padEnd(18_000 - 2, '.');
    serve(made, prompt, 1000);
  }
  expect(made.horizon.capacity(made.ordinals[1]!)).toBeCloseTo(18 * cacheTokens, -3);
  expect(made.horizon.capacity(made.ordinals[0]!), 'nobody told of it').toBe(bytesPerTokenAssumed * cacheTokens);
});

test('kv aware: when the engine says again what its cache holds, what was learned of bytes stays', () => {
  const made = pool();
  serve(made, 'x'.repeat(8998), 1000);
  const learned = made.horizon.capacity(made.ordinals[1]!);
  expect(learned).toBeCloseTo(9 * cacheTokens, -3);
  made.horizon.setTokens(made.ordinals[1]!, cacheTokens, bytesPerTokenAssumed);
  expect(made.horizon.capacity(made.ordinals[1]!)).toBe(learned);
  made.horizon.setTokens(made.ordinals[1]!, 2 * cacheTokens, bytesPerTokenAssumed);
  expect(made.horizon.capacity(made.ordinals[1]!), 'another cache: as before it was learned').toBe(80_000);
});

test('kv aware: when a prompt is an image of megabytes, a token is not taken to be as large', () => {
  const made = pool();
  serve(made, 'i'.repeat(400_000), 1000);
  expect(made.horizon.capacity(made.ordinals[1]!)).toBeLessThanOrEqual(25 * cacheTokens);
});
