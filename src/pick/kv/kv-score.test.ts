import { expect, test } from 'vitest';
import { KvScore, kvScoreDefaults } from './kv-score.ts';
import { emptyLoads, type KvLoads, type KvRequest } from './kv-policy.ts';
import { Rendezvous } from '../rendezvous.ts';
import { ReplicaLimiter } from './replica-limiter.ts';

const endpointCount = 4;
const hashes = Array.from({ length: endpointCount }, (_, index) => Math.imul(index + 1, 0x9e3779b1) >>> 0);
const all = Int32Array.from({ length: endpointCount }, (_, index) => index);

function idle(): KvLoads {
  const loads = emptyLoads(endpointCount);
  loads.prefillRate.fill(20_000);
  return loads;
}

function request(promptTokens: number, matched: readonly number[], root = 7): KvRequest {
  return { promptTokens, matchedTokens: Int32Array.from(matched), root, branch: root, loadKey: 0, isLoaded: false };
}

function choose(score: KvScore, loads: KvLoads, wanted: KvRequest, nowMs = 0): number {
  return score.choose(loads, wanted, all, endpointCount, nowMs);
}

test('kv score: when one endpoint holds the prompt, it is chosen, until its queue outweighs what it saves', () => {
  const score = new KvScore(hashes);
  const loads = idle();
  expect(choose(score, loads, request(8000, [0, 0, 7900, 0]))).toBe(2);
  expect(score.reason).toBe('least');
  // 0.4 s of prefill elsewhere, at most three times that with what it does to others.
  loads.pendingTokens[2] = 2 * 20_000;
  expect(choose(score, loads, request(8000, [0, 0, 7900, 0]), 60_000)).not.toBe(2);
});

test('kv score: when two hold the prompt, the less busy one is chosen', () => {
  const loads = idle();
  loads.pendingTokens[1] = 9000;
  expect(choose(new KvScore(hashes), loads, request(8000, [0, 7900, 7900, 0]))).toBe(2);
});

test('kv score: when a KV cache is nearly full, work goes elsewhere although its queue is shorter', () => {
  const loads = idle();
  loads.kvUsageRatio.fill(0.5);
  loads.kvUsageRatio[0] = 0.97;
  for (let endpoint = 1; endpoint < endpointCount; endpoint++) loads.pendingTokens[endpoint] = 5000;
  expect(choose(new KvScore(hashes), loads, request(1000, [0, 0, 0, 0]))).not.toBe(0);
});

test('kv score: when nobody knows a prompt, all gateways send it to the same home, and many prompts to all endpoints', () => {
  const homes = new Set<number>();
  for (let root = 1; root <= 100; root++) {
    const cold = request(4000, [0, 0, 0, 0], Math.imul(root, 0x85ebca6b));
    const home = choose(new KvScore(hashes), idle(), cold);
    expect(choose(new KvScore(hashes), idle(), cold)).toBe(home);
    homes.add(home);
  }
  expect(homes.size).toBe(endpointCount);
});

test('kv score: when prompts are too short to have a block, they have no home, and go where fewest are in flight', () => {
  const score = new KvScore(hashes);
  const loads = idle();
  for (let count = 0; count < 40; count++)
    loads.inflight[choose(score, loads, request(20, [0, 0, 0, 0], 0), count)]! += 1;
  expect([...loads.inflight]).toEqual([10, 10, 10, 10]);
});

test('kv score: when an endpoint writes all the tokens it can, prompts that are short or cached nowhere go past it, and those it holds do not', () => {
  const loads = idle();
  for (let endpoint = 0; endpoint < endpointCount; endpoint++) {
    loads.usedRatio.fill(0.2);
    loads.usedRatio[endpoint] = 1;
    expect(choose(new KvScore(hashes), loads, request(20, [0, 0, 0, 0], 0))).not.toBe(endpoint);
    const held = [0, 0, 0, 0];
    held[endpoint] = 7900;
    expect(choose(new KvScore(hashes), loads, request(8000, held))).toBe(endpoint);
  }
});

test('kv score: when the home of a cold prompt is much busier than others, it goes where it is served sooner', () => {
  const cold = request(4000, [0, 0, 0, 0]);
  const home = choose(new KvScore(hashes), idle(), cold);
  const loads = idle();
  loads.pendingTokens[home] = 5 * 4000;
  expect(choose(new KvScore(hashes), loads, cold)).not.toBe(home);
});

test('kv score: when a cold prompt is long, it waits at its home for half a second and no longer, not for a multiple of its own prefill', () => {
  const cold = request(100_000, [0, 0, 0, 0]);
  const home = choose(new KvScore(hashes), idle(), cold);
  const loads = idle();
  loads.pendingTokens[home] = 0.4 * 20_000;
  expect(choose(new KvScore(hashes), loads, cold)).toBe(home);
  loads.pendingTokens[home] = 0.6 * 20_000;
  expect(choose(new KvScore(hashes), loads, cold)).not.toBe(home);
});

test('kv score: when the home of a cold prompt is much slower than others, idle as all are, it goes elsewhere', () => {
  const cold = request(4000, [0, 0, 0, 0]);
  const home = choose(new KvScore(hashes), idle(), cold);
  const loads = idle();
  loads.prefillRate[home] = 20_000 / 3;
  expect(choose(new KvScore(hashes), loads, cold), 'worth it for what comes later').toBe(home);
  loads.prefillRate[home] = 20_000 / 10;
  expect(choose(new KvScore(hashes), loads, cold)).not.toBe(home);
});

test('kv score: when nothing is ever shared, rho falls to 0 and homes have no more say', () => {
  const score = new KvScore(hashes);
  const loads = idle();
  for (let turn = 0; turn < 500; turn++) choose(score, loads, request(4000, [0, 0, 0, 0], turn), turn * 1000);
  expect(score.rho).toBeLessThan(0.001);
  const cold = request(4000, [0, 0, 0, 0]);
  const home = choose(score, loads, cold);
  loads.pendingTokens[home] = 100;
  expect(choose(score, loads, cold)).not.toBe(home);
});

test('kv score: when a hot prompt outgrows its endpoint, copies are begun one after another, not all at once', () => {
  const score = new KvScore(hashes);
  const loads = idle();
  const matched = [0, 0, 0, 0];
  const first = choose(score, loads, request(20_000, matched));
  matched[first] = 19_990;
  loads.pendingTokens[first] = 200_000;
  // Computing it takes a second, so the next copy may be begun a quarter of one later.
  expect(choose(score, loads, request(20_000, matched), 249)).toBe(first);
  const second = choose(score, loads, request(20_000, matched), 250);
  expect(second).not.toBe(first);
  matched[second] = 19_990;
  loads.pendingTokens[second] = 200_000;
  expect([first, second]).toContain(choose(score, loads, request(20_000, matched), 499));
  expect([first, second]).not.toContain(choose(score, loads, request(20_000, matched), 500));
});

test('kv score: when some endpoints are screened out, only the others are chosen', () => {
  const candidates = Int32Array.of(1, 3);
  for (let root = 0; root < 50; root++) {
    const wanted = request(4000, [4000, 0, 4000, 0], root);
    expect([1, 3]).toContain(new KvScore(hashes).choose(idle(), wanted, candidates, 2, 0));
  }
});

test('kv score: when every cache is crowded, a computed token is charged for more of those it delays', () => {
  const loads = idle();
  loads.inflight.fill(20);
  const wanted = request(8000, [0, 0, 0, 0]);
  const secondsAt = (kvUsageRatio: number): number => {
    loads.kvUsageRatio.fill(kvUsageRatio);
    const score = new KvScore(hashes, { ...kvScoreDefaults, lambda: 0 });
    return score.scores[choose(score, loads, wanted)]!;
  };
  expect(secondsAt(0.8)).toBeCloseTo(secondsAt(0.2), 9);
  // 0.4 s for each of 20, at 0.3 instead of 0.1.
  expect(secondsAt(0.95) - secondsAt(0.2)).toBeCloseTo(0.4 * 20 * 0.2, 9);
});

test('rendezvous: when an endpoint goes, only its own keys move, each to its second home', () => {
  const full = new Rendezvous();
  const without = new Rendezvous();
  const rest = Int32Array.of(0, 1, 3);
  for (let key = 0; key < 300; key++) {
    full.rank(Math.imul(key, 0x27d4eb2f), all, 4, hashes);
    without.rank(Math.imul(key, 0x27d4eb2f), rest, 3, hashes);
    expect(without.first).toBe(full.first === 2 ? full.second : full.first);
    expect(full.second).not.toBe(full.first);
  }
  full.rank(1, all, 1, hashes);
  expect([full.first, full.second]).toEqual([0, -1]);
});

test('replica limiter: when two roots share a place, the later one counts', () => {
  const limiter = new ReplicaLimiter(16);
  limiter.close(3, 1000);
  expect([limiter.isOpen(3, 999), limiter.isOpen(3, 1000), limiter.isOpen(4, 0)]).toEqual([false, true, true]);
  limiter.close(19, 1000);
  expect([limiter.isOpen(3, 0), limiter.isOpen(19, 0)]).toEqual([true, false]);
  // A negative root, as hashes are.
  limiter.close(-5, 10);
  expect(limiter.isOpen(-5, 9)).toBe(false);
});

/** A prompt that nobody knows, for an adapter; `penalties` are what loading it costs. */
function forAdapter(root: number, penalties: readonly number[], loads: KvLoads, promptTokens = 500): KvRequest {
  loads.penaltySeconds.set(penalties);
  const isLoaded = penalties.includes(0);
  return { ...request(promptTokens, [0, 0, 0, 0], root), loadKey: 77, isLoaded };
}

test('kv score: when nobody has an adapter, all of its prompts have one home, which is not that of every adapter', () => {
  const cold = [0.5, 0.5, 0.5, 0.5];
  const homes = new Set<number>();
  for (let root = 1; root <= 50; root++) {
    const loads = idle();
    homes.add(choose(new KvScore(hashes), loads, forAdapter(Math.imul(root, 0x85ebca6b), cold, loads)));
  }
  expect(homes.size).toBe(1);
  const [home] = homes;
  const busy = idle();
  busy.pendingTokens[home!] = 4 * 20_000;
  const second = choose(new KvScore(hashes), busy, forAdapter(1, cold, busy));
  expect(second).not.toBe(home);
  for (let root = 2; root <= 20; root++) {
    busy.pendingTokens[home!] = 4 * 20_000;
    expect(choose(new KvScore(hashes), busy, forAdapter(root, cold, busy)), 'a second home, not any').toBe(second);
  }
});

test('kv score: when an endpoint has the adapter, prompts go there however long they are, until it is busier than loading takes', () => {
  for (const tokens of [100, 500, 50_000]) {
    const loads = idle();
    expect(choose(new KvScore(hashes), loads, forAdapter(3, [0.5, 0.5, 0.5, 0], loads, tokens)), `${tokens}`).toBe(3);
    expect(choose(new KvScore(hashes), loads, forAdapter(3, [0, 0.5, 0.5, 0.5], loads, tokens)), `${tokens}`).toBe(0);
  }
  const loads = idle();
  loads.pendingTokens[3] = 0.6 * 20_000;
  expect(choose(new KvScore(hashes), loads, forAdapter(3, [0.5, 0.5, 0.5, 0], loads))).not.toBe(3);
});
