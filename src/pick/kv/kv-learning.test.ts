import { expect, test } from 'vitest';
import { PromptParts, RequestScanner } from '../../http/index.ts';
import {
  createPrefixMemory,
  createSharedMemory,
  EndpointState,
  FleetTable,
  otherRow,
  PrefixIndex,
} from '../../shm/index.ts';
import { makePicker } from '../pickers.ts';
import { PoolView } from '../pool-view.ts';
import { TriedEndpoints } from '../tried-endpoints.ts';
import { KvLearned, KvPicker, type KvPickRequest } from './kv-picker.ts';
import { makePolicy } from './kv-policies.ts';
import { PromptKeys } from './prompt-keys.ts';

const cacheTokens = 10_000;
const bytesPerTokenAssumed = 4;

function fleet() {
  const memory = createSharedMemory({ shardCount: 1, endpointCountMax: 4, bufferedBytesMax: 1024 });
  const control = new FleetTable(memory, -1);
  const endpoints = [0, 1].map((index) => {
    const slot = control.claim();
    control.setState(slot, EndpointState.healthy);
    return { url: `http://10.0.0.${index}:8000`, slot, weight: 1 };
  });
  const view = new PoolView(endpoints, new FleetTable(memory, 0), {
    inflightMax: 0,
    pendingTokensMax: 0,
    waitingMax: 0,
    kvUsageMax: 0,
    slowStartMs: 0,
  });
  const prefixes = createPrefixMemory(4096, 4, cacheTokens * bytesPerTokenAssumed);
  const { horizon } = new PrefixIndex(prefixes);
  const ordinals = [2, 3];
  for (const ordinal of ordinals) horizon.setTokens(ordinal, cacheTokens, bytesPerTokenAssumed);
  const random = (): number => 0;
  const policy = makePolicy('kv_aware', view.hashes, random);
  const fallback = makePicker('least_load', endpoints.length, { random, shardIndex: 0 });
  const learned = new KvLearned();
  const kv = new KvPicker({
    view,
    memory: prefixes,
    ordinals,
    number: 0,
    journal: null,
    learned,
    policy,
    fallback,
    random,
  });
  return { kv, horizon, ordinals, learned };
}

function requestOf(prompt: string): KvPickRequest & { endpointIndex: number } {
  const bytes = Buffer.from(JSON.stringify({ prompt }));
  const parts = new PromptParts();
  const scanner = new RequestScanner();
  parts.reset();
  scanner.reset(parts);
  scanner.push(bytes, 0, bytes.length);
  scanner.finish();
  expect(parts.finish()).toBe(true);
  const keys = new PromptKeys();
  keys.read(parts);
  keys.seal(1, 2);
  return {
    hashKey: 0,
    tried: new TriedEndpoints(),
    modelRow: otherRow,
    mayProbe: true,
    fits: null,
    prompt: keys,
    modelLabel: 'm',
    endpointIndex: 1,
    estimatedTokens: 0,
    matchedTokens: 0,
    pendingTokens: 0,
    aheadTokens: 0,
    score: Number.NaN,
  };
}

function serve(made: ReturnType<typeof fleet>, prompt: string, promptTokens: number): void {
  const request = requestOf(prompt);
  made.kv.look(request);
  made.kv.place(request, 1);
  made.kv.finish(request, { promptTokens, completionTokens: 0, cachedTokens: 0 });
}

test('kv aware: when prompts wait behind others, nothing is learned of how fast the endpoint is', () => {
  const made = fleet();
  const [first, second] = [requestOf('a'.repeat(40_000)), requestOf('b'.repeat(40_000))];
  for (const request of [first, second]) {
    made.kv.look(request);
    made.kv.place(request, 1);
  }
  const url = 'http://10.0.0.1:8000';
  const before = made.learned.rate.of(url);
  // It had nearly all of the first when the second came.
  made.kv.answerBegan(second, 100);
  expect(made.learned.rate.of(url)).toBe(before);
  const { pendingTokens } = first;
  made.kv.answerBegan(first, 1000);
  expect(made.learned.rate.of(url)).toBe(pendingTokens);
});

// json.dumps of Python writes every letter of Russian as six bytes, so a token is eighteen; an index that took it for four
// would forget four fifths of what the engine holds.
test('kv aware: when tokens take more bytes than assumed, the cache is believed to hold as many bytes more', () => {
  const made = fleet();
  for (let number = 0; number < 5; number++) {
    const prompt = `${number}`.padEnd(18_000 - 2, '.');
    serve(made, prompt, 1000);
  }
  expect(made.horizon.capacity(made.ordinals[1]!)).toBeCloseTo(18 * cacheTokens, -3);
  expect(made.horizon.capacity(made.ordinals[0]!), 'nobody told of it').toBe(bytesPerTokenAssumed * cacheTokens);
});

test('kv aware: when the engine says again what its cache holds, what was learned of bytes stays', () => {
  const made = fleet();
  serve(made, 'x'.repeat(8998), 1000);
  const learned = made.horizon.capacity(made.ordinals[1]!);
  expect(learned).toBeCloseTo(9 * cacheTokens, -3);
  made.horizon.setTokens(made.ordinals[1]!, cacheTokens, bytesPerTokenAssumed);
  expect(made.horizon.capacity(made.ordinals[1]!)).toBe(learned);
  made.horizon.setTokens(made.ordinals[1]!, 2 * cacheTokens, bytesPerTokenAssumed);
  expect(made.horizon.capacity(made.ordinals[1]!), 'another cache: as before it was learned').toBe(80_000);
});

test('kv aware: when a prompt is an image of megabytes, a token is not taken to be as large', () => {
  const made = fleet();
  serve(made, 'i'.repeat(400_000), 1000);
  expect(made.horizon.capacity(made.ordinals[1]!)).toBeLessThanOrEqual(25 * cacheTokens);
});
