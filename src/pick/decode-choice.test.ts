import { expect, test } from 'vitest';
import { DecodeChoice } from './decode-choice.ts';
import { servedBy, Serves } from './endpoint-role.ts';
import { fleetOf, promptOf, requestOf } from './fixtures/pool.ts';
import type { KvPicker } from './kv/kv-picker.ts';
import { pickEndpoint } from './pick.ts';
import { openRule, PoolView } from './pool-view.ts';

type Role = 'prefill' | 'decode' | 'both';

function pool(protocol: 'vllm' | 'sglang', roles: readonly Role[], matched: readonly number[] = []) {
  const serving = roles.map((role) => ({ serves: servedBy(protocol, role) }));
  const { control, fleet, endpoints } = fleetOf(roles.length, serving);
  const view = new PoolView(endpoints, fleet, openRule);
  const kv = { matchedTokens: (index: number) => matched[index] ?? 0 } as KvPicker;
  const choice = new DecodeChoice(roles.length, 256, kv);
  const prompt = promptOf({ prompt: 'What does the gauge say?' });
  const pick = (
    splitTokens: number,
    wants: number = Serves.whole | Serves.decode,
  ): [index: number, isAlone: boolean] => {
    const made = { ...requestOf(prompt), splitTokens, wants };
    const index = pickEndpoint(view, choice, made, 1000);
    if (index < 0) return [index, false];
    fleet.giveInflight(endpoints[index]!.slot);
    return [index, choice.isServedAlone(view, made, index)];
  };
  const load = (index: number, tokens: number): void => void fleet.addTokens(endpoints[index]!.slot, tokens);
  const scraped = (index: number, kvCacheUsageRatio: number): void =>
    control.publishScrape(endpoints[index]!.slot, {
      queueDepth: 0,
      runningRequests: 1,
      kvCacheUsageRatio,
      scrapedAtMs: 1000,
    });
  return { pick, load, scraped };
}

test('decode choice: when endpoints have different loads, the least loaded answers, wherever the prompt is cached', () => {
  const { pick, load } = pool('vllm', ['prefill', 'decode', 'decode', 'decode'], [0, 3000, 0, 0]);
  load(1, 9000);
  load(2, 3000);
  load(3, 5000);
  for (let round = 0; round < 5; round++) expect(pick(8000)).toEqual([2, false]);
});

test('decode choice: when a KV cache is nearly full, its endpoint counts as more loaded', () => {
  const { pick, load, scraped } = pool('vllm', ['decode', 'decode']);
  load(0, 1000);
  load(1, 4000);
  expect(pick(1000)[0]).toBe(0);
  scraped(0, 0.9);
  expect(pick(1000)[0]).toBe(1);
});

test('decode choice: when endpoints are equal, they take turns', () => {
  const { pick } = pool('vllm', ['decode', 'decode', 'decode']);
  expect(new Set([pick(900)[0], pick(900)[0], pick(900)[0]]).size).toBe(3);
});

test('decode choice: when an endpoint lacks little of the prompt, it serves it alone, unless it has too much to do', () => {
  const { pick, load } = pool('vllm', ['decode', 'decode', 'prefill'], [0, 7900, 8000]);
  load(1, 6000);
  expect(pick(8000)).toEqual([1, true]);
  load(1, 20_000);
  expect(pick(8000)).toEqual([0, false]);
});

test('decode choice: when a prompt is short, the least loaded that does not only compute prompts serves it alone', () => {
  const { pick, load } = pool('vllm', ['prefill', 'decode', 'both']);
  load(1, 500);
  expect(pick(255)).toEqual([2, true]);
  expect(pick(256)).toEqual([2, false]);
  const sglang = pool('sglang', ['prefill', 'decode', 'both']);
  expect(sglang.pick(255)).toEqual([2, true]);
  expect(sglang.pick(256), 'an engine without a mode has no part in pairs').toEqual([1, false]);
});

test('decode choice: when a request cannot be split, or needs no model, only who can serve it alone is asked', () => {
  const { pick } = pool('sglang', ['prefill', 'decode', 'both']);
  for (let round = 0; round < 4; round++) expect(pick(9000, Serves.whole)).toEqual([2, true]);
  const decoding = pool('sglang', ['prefill', 'decode']);
  expect(decoding.pick(9000, Serves.whole)[0]).toBeLessThan(0);
  expect(decoding.pick(0, Serves.plain)).toEqual([1, true]);
});
