import { describe, expect, test } from 'vitest';
import { emptyLoads, type KvLoads, type KvPolicy } from '../kv/kv-policy.ts';
import { KvScore } from '../kv/kv-score.ts';
import { Blend } from './blend.ts';
import { LeastRequest } from './least-request.ts';
import { Lmetric } from './lmetric.ts';
import { Sglang } from './sglang.ts';
import { Sticky } from './sticky.ts';

// Situations in which the rules of other routers differ from one another, and from the gateway's own.

const endpointCount = 4;
const all = Int32Array.from({ length: endpointCount }, (_, index) => index);
const hashes = Array.from({ length: endpointCount }, (_, index) => Math.imul(index + 1, 0x9e3779b1) >>> 0);
const first = (): number => 0;

/** Each computes 10,000 tokens a second. */
function idle(): KvLoads {
  const loads = emptyLoads(endpointCount);
  loads.prefillRate.fill(10_000);
  return loads;
}

function choose(policy: KvPolicy, loads: KvLoads, matched: readonly number[], promptTokens = 8000): number {
  const request = {
    promptTokens,
    matchedTokens: Int32Array.from(matched),
    root: 7,
    branch: 7,
    loadKey: 0,
    isLoaded: false,
  };
  return policy.choose(loads, request, all, endpointCount, 0);
}

const policies = (): Record<'kv_aware' | 'sglang' | 'blend' | 'sticky' | 'lmetric', KvPolicy> => ({
  kv_aware: new KvScore(hashes),
  sglang: new Sglang(endpointCount),
  blend: new Blend(endpointCount, first),
  sticky: new Sticky(endpointCount, first),
  lmetric: new Lmetric(endpointCount, first),
});

function choices(loads: KvLoads, matched: readonly number[]): Record<string, number> {
  return Object.fromEntries(Object.entries(policies()).map(([name, policy]) => [name, choose(policy, loads, matched)]));
}

describe('baselines: where policies differ', () => {
  test('baselines: when one idle endpoint holds the prompt, all send it there', () => {
    expect(choices(idle(), [0, 0, 7900, 0])).toEqual({ kv_aware: 2, sglang: 2, blend: 2, sticky: 2, lmetric: 2 });
  });

  // sglang counts requests, not tokens, blend the engine's queue: neither sees work that was sent a moment ago.
  test('baselines: when much prefill waits at the holder in few requests, only those leave that count tokens', () => {
    const loads = idle();
    loads.pendingTokens[2] = 200_000; // 20 s.
    loads.inflight[2] = 4;
    const chosen = choices(loads, [0, 0, 7900, 0]);
    expect([chosen['sglang'], chosen['blend'], chosen['lmetric']]).toEqual([2, 2, 2]);
    expect(chosen['sticky']).not.toBe(2);
    expect(chosen['kv_aware']).not.toBe(2);
  });

  test('baselines: when three seconds of prefill wait at the holder, sticky stays, kv_aware computes it elsewhere', () => {
    const loads = idle();
    loads.pendingTokens[2] = 30_000;
    const chosen = choices(loads, [0, 0, 7900, 0]);
    expect(chosen['sticky']).toBe(2);
    expect(chosen['kv_aware']).not.toBe(2);
  });

  test('baselines: when half of a prompt is known somewhere, sticky does not count it, the others do', () => {
    expect(choices(idle(), [0, 0, 4000, 0])).toEqual({ kv_aware: 2, sglang: 2, blend: 2, sticky: 0, lmetric: 2 });
  });

  test('baselines: when a quarter is known, sglang does not count it either', () => {
    expect(choices(idle(), [0, 0, 2000, 0])).toMatchObject({ sglang: 0, blend: 2, sticky: 0, lmetric: 2 });
  });

  test('baselines: when the holder has the longest queue of engines, only blend leaves it for that', () => {
    const loads = idle();
    loads.queueDepth[2] = 3;
    loads.kvUsageRatio[2] = 0.9;
    // 3 * 0.9875 + 0 + 2 * 0.1 against 0 + 2 + 2.
    const chosen = choices(loads, [0, 0, 7900, 0]);
    expect(chosen['blend']).not.toBe(2);
    expect([chosen['sglang'], chosen['sticky'], chosen['lmetric']]).toEqual([2, 2, 2]);
  });

  test('baselines: when the holder serves 80 others, lmetric and sglang go elsewhere', () => {
    const loads = idle();
    loads.inflight[2] = 80;
    const chosen = choices(loads, [0, 0, 7900, 0]);
    expect(chosen['sglang'], 'more than 64 apart').not.toBe(2);
    expect(chosen['lmetric'], '100 * 81 against 8000 * 1').not.toBe(2);
    expect(chosen['sticky']).toBe(2);
  });
});

describe('baselines: each by itself', () => {
  test('least_request: when endpoints are equal, they take turns; when one has fewer for its weight, it is next', () => {
    const policy = new LeastRequest(endpointCount);
    const loads = idle();
    const turns = Array.from({ length: 8 }, () => policy.choose(loads, all, endpointCount));
    expect(turns).toEqual([0, 1, 2, 3, 0, 1, 2, 3]);
    loads.inflight.set([4, 4, 4, 4]);
    loads.weight[3] = 2;
    expect(policy.choose(loads, all, endpointCount)).toBe(3);
    loads.inflight[3] = 9;
    loads.inflight[1] = 3;
    expect(policy.choose(loads, all, endpointCount)).toBe(1);
    expect([...policy.scores]).toEqual([4, 3, 4, 4.5]);
  });

  test('sglang: when loads are apart by one of its two bounds only, the match still decides', () => {
    const loads = idle();
    loads.inflight.set([100, 100, 165, 150]);
    const policy = new Sglang(endpointCount);
    expect(choose(policy, loads, [0, 0, 7900, 0]), '165 > 1.5 * 100 and 65 > 64').not.toBe(2);
    expect(policy.reason).toBe('unbalanced');
    loads.inflight.set([200, 200, 290, 250]);
    expect(choose(policy, loads, [0, 0, 7900, 0]), '290 < 1.5 * 200').toBe(2);
    loads.inflight.set([10, 10, 70, 10]);
    expect(choose(policy, loads, [0, 0, 7900, 0]), '70 - 10 < 64').toBe(2);
    expect(policy.reason).toBe('match');
  });

  test('sglang: when several hold as much, the one with the fewest requests is taken, whatever comes first', () => {
    const loads = idle();
    loads.inflight.set([3, 5, 2, 0]);
    expect(choose(new Sglang(endpointCount), loads, [7000, 7000, 7000, 100])).toBe(2);
    expect(choose(new Sglang(endpointCount), loads, [7000, 7001, 7000, 100])).toBe(1);
  });

  test('blend: when nothing tells endpoints apart, they take turns by chance', () => {
    let draws = 0;
    const policy = new Blend(endpointCount, () => (draws++ % 4) / 4);
    const chosen = Array.from({ length: 4 }, () => choose(policy, idle(), [0, 0, 0, 0]));
    expect(chosen).toEqual([0, 1, 2, 3]);
    expect([...policy.scores]).toEqual([4, 4, 4, 4]);
  });

  test('sticky: when endpoints differ in speed, waiting is in seconds, not in tokens', () => {
    const loads = idle();
    loads.prefillRate[1] = 40_000;
    loads.pendingTokens.set([20_000, 40_000, 20_000, 20_000]);
    const policy = new Sticky(endpointCount, first);
    expect(choose(policy, loads, [0, 0, 0, 0])).toBe(1);
    expect(policy.reason).toBe('unknown');
    expect([...policy.scores]).toEqual([2, 1, 2, 2]);
  });

  test('sticky: when the holder is just within its bound it keeps its prompts, beyond it they move', () => {
    const loads = idle();
    const policy = new Sticky(endpointCount, first);
    loads.pendingTokens[3] = 140_000;
    expect(choose(policy, loads, [0, 0, 0, 6400])).toBe(3);
    expect(policy.reason).toBe('cached');
    loads.pendingTokens[3] = 140_001;
    expect(choose(policy, loads, [0, 0, 0, 6400])).toBe(0);
    expect(policy.reason).toBe('saturated');
  });

  test('lmetric: when the whole prompt is cached somewhere, one token is still computed', () => {
    const loads = idle();
    loads.inflight.fill(9);
    const policy = new Lmetric(endpointCount, first);
    expect(choose(policy, loads, [0, 8000, 0, 0])).toBe(1);
    expect([...policy.scores]).toEqual([80_000, 10, 80_000, 80_000]);
  });

  test.each(Object.keys(policies()) as (keyof ReturnType<typeof policies>)[])(
    'baselines: when some endpoints are screened out, %s chooses among the others',
    (name) => {
      const policy = policies()[name];
      const candidates = Int32Array.of(1, 3);
      for (let root = 0; root < 50; root++) {
        const request = {
          promptTokens: 4000,
          matchedTokens: Int32Array.of(4000, 0, 4000, 0),
          root,
          branch: root,
          loadKey: 0,
          isLoaded: false,
        };
        expect([1, 3]).toContain(policy.choose(idle(), request, candidates, 2, 0));
      }
    },
  );

  test.each(Object.keys(policies()) as (keyof ReturnType<typeof policies>)[])(
    'baselines: when %s has chosen, its score is the best of those compared, or a rule says why not',
    (name) => {
      const policy = policies()[name];
      const loads = idle();
      for (let turn = 0; turn < 200; turn++) {
        for (let index = 0; index < endpointCount; index++) {
          loads.pendingTokens[index] = Math.imul(turn + 1, 7919 * (index + 1)) & 0xffff;
          loads.inflight[index] = Math.imul(turn + 3, 104_729 * (index + 2)) & 0x3f;
          loads.queueDepth[index] = Math.imul(turn + 5, 1299 * (index + 1)) & 7;
        }
        policy.scores.fill(Number.NaN);
        const best = choose(policy, loads, [0, (turn * 613) % 8000, (turn * 1277) % 8000, 0]);
        const scores = [...policy.scores].filter((score) => !Number.isNaN(score));
        expect(scores).toContain(policy.scores[best]);
        const extreme = policy.highestWins ? Math.max(...scores) : Math.min(...scores);
        if (['least', 'most', 'copying', 'short_match', 'unbalanced', 'saturated', 'unknown'].includes(policy.reason)) {
          expect(policy.scores[best], `${policy.reason}, turn ${turn}`).toBe(extreme);
        } else expect(['home', 'match', 'cached']).toContain(policy.reason);
      }
    },
  );
});
