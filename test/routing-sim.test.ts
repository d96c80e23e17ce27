/** The simulated fleet behind native-bench/routing: engines that take as long as measured ones, and hit what vLLM would. */
import { expect, test } from 'vitest';

interface Spec {
  readonly atMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly chain: Int32Array;
  readonly chainCount: number;
  readonly ownName: number;
  readonly boundaries: readonly number[];
  readonly following: Spec | null;
}

interface Profile {
  readonly kvTokens: number;
}

interface Workload {
  readonly specs: readonly Spec[];
  readonly profile: Profile;
  readonly nameCount: number;
}

interface Sequence {
  readonly hitTokens: number;
}

interface Engine {
  readonly preemptionCount: number;
  readonly kvUsageRatio: number;
  readonly isIdle: boolean;
  add(spec: Spec, tag: unknown): void;
  begin(): number;
  end(): void;
  heldTokens(spec: Spec): number;
}

interface EngineOptions {
  blockTokens: number;
  nameCount: number;
  onFirstToken: (tag: unknown, sequence: Sequence) => void;
  onEnd: (tag: unknown) => void;
}

interface Flight {
  readonly endpoint: number;
  readonly ttftMs: number;
}

interface Policy {
  readonly name: string;
}

interface Run {
  readonly flights: readonly Flight[];
  readonly durationMs: number;
}

interface Outcome {
  readonly checks: readonly { what: string; value: number; limit: number; relation: string }[];
}

/** The bench is JavaScript, so the shapes are said here. */
const moduleOf = async <Shape>(file: string): Promise<Shape> =>
  (await import(new URL(`../native-bench/routing/${file}`, import.meta.url).href)) as Shape;

const { profiles, stepMs, prefillRate } = await moduleOf<{
  profiles: Record<string, Profile>;
  stepMs: (profile: Profile, tokens: number, timesContext: number, decodes: number, decodeContext: number) => number;
  prefillRate: (profile: Profile) => number;
}>('profiles.mjs');
const { Engine: EngineClass } = await moduleOf<{ Engine: new (profile: Profile, options: EngineOptions) => Engine }>(
  'engine.mjs',
);
const workloads = await moduleOf<{
  b2b: (options: { seed: number; perSecond: number; seconds: number }) => Workload;
  mooncakeConversation: (options: { seed: number; speed: number; seconds: number }) => Workload;
  mooncakeSynthetic: (options: { seed: number; speed: number; seconds: number }) => Workload;
}>('workloads/index.mjs');
const { hitOf } = await moduleOf<{ hitOf: (specs: readonly Spec[], workload: Workload, blockCount: number) => number }>(
  'bounds.mjs',
);
const policies = await moduleOf<Record<string, Policy>>('policies/index.mjs');
const { simulate } = await moduleOf<{
  simulate: (options: { workload: Workload; policy: Policy; seed: number; endpointCount?: number }) => Run;
}>('simulation.mjs');
const { measuresOf } = await moduleOf<{ measuresOf: (run: Run) => { hit: number; ttftP90: number } }>('measures.mjs');
const comparisons = await moduleOf<{ thirtyTimes: () => Outcome }>('experiments/comparisons.mjs');

const qwen = profiles['qwen3-32b']!;

/** One engine, and what it told of each request. */
function rig(profile: Profile): {
  engine: Engine;
  hits: number[];
  firstAtMs: number[];
  ended: unknown[];
  runUntilIdle: () => void;
} {
  const [hits, firstAtMs, ended]: [number[], number[], unknown[]] = [[], [], []];
  let nowMs = 0;
  const engine = new EngineClass(profile, {
    blockTokens: 16,
    nameCount: 10_000,
    onFirstToken: (tag, { hitTokens }) => {
      hits[tag as number] = hitTokens;
      firstAtMs[tag as number] = nowMs;
    },
    onEnd: (tag) => ended.push(tag),
  });
  const runUntilIdle = (): void => {
    for (let ms = engine.begin(); ms > 0; ms = engine.begin()) {
      nowMs += ms;
      engine.end();
    }
  };
  return { engine, hits, firstAtMs, ended, runUntilIdle };
}

function prompt(firstName: number, promptTokens: number, outputTokens: number, ownName: number): Spec {
  const chainCount = Math.floor(promptTokens / 16);
  const chain = Int32Array.from({ length: chainCount }, (_, index) => firstName + index);
  return { atMs: 0, promptTokens, outputTokens, chain, chainCount, ownName, boundaries: [], following: null };
}

// llm-d gives 0.40 s for a step of 8,192 tokens of Qwen3-32B on two H100, so R = 20,480 tokens a second; 41,000 for an 8B model.
test('routing sim: when a step is full of prefill, it takes what was measured, within 5 %', () => {
  expect(stepMs(qwen, 8192, 8192 ** 2 / 2, 0, 0) / 400).toBeCloseTo(1, 1.5);
  for (const [name, rate] of [
    ['qwen3-32b', 20_480],
    ['llama-8b', 41_000],
  ] as const) {
    const ratio = prefillRate(profiles[name]!) / rate;
    expect(ratio, name).toBeGreaterThan(0.95);
    expect(ratio, name).toBeLessThan(1.05);
  }
});

// The same source: 11 to 29 ms between tokens.
test('routing sim: when sequences decode, a step takes as long as between tokens of the measured engine', () => {
  expect(stepMs(qwen, 0, 0, 1, 1000)).toBeGreaterThan(10);
  expect(stepMs(qwen, 0, 0, 40, 40 * 7700)).toBeGreaterThan(25);
  expect(stepMs(qwen, 0, 0, 40, 40 * 7700)).toBeLessThan(30);
});

// vLLM: full blocks only, at least one token is computed, and what is scheduled can be shared at once.
test('routing sim: when prompts share blocks, the later one computes the rest, and never less than its last token', () => {
  const { engine, hits, ended, runUntilIdle } = rig(qwen);
  engine.add(prompt(1, 160, 8, 5000), 0);
  engine.add(prompt(1, 160, 8, 5100), 1);
  engine.add(prompt(1, 100, 8, 5200), 2);
  engine.add(prompt(900, 160, 8, 5300), 3);
  runUntilIdle();
  expect(hits).toEqual([0, 144, 96, 0]);
  expect(ended).toHaveLength(4);
  expect(engine.kvUsageRatio).toBe(0);
});

test('routing sim: when the next turn comes, the answer before it is cached, too', () => {
  const { engine, hits, runUntilIdle } = rig(qwen);
  const chain = Int32Array.from({ length: 40 }, (_, index) => index + 1);
  const turn = { atMs: 0, outputTokens: 160, chain, chainCount: 40, ownName: 0, boundaries: [], following: null };
  engine.add({ ...turn, promptTokens: 160 }, 0);
  runUntilIdle();
  engine.add({ ...turn, promptTokens: 400 }, 1);
  runUntilIdle();
  // The last token of the answer was sent, not computed.
  expect(hits).toEqual([0, 304]);
});

test('routing sim: when a prompt is longer than a step, it is computed in pieces beside those that decode', () => {
  const { engine, firstAtMs, runUntilIdle } = rig(qwen);
  engine.add(prompt(1, 16, 200, 8000), 0);
  engine.add(prompt(100, 20_000, 4, 9000), 1);
  runUntilIdle();
  expect(firstAtMs[0]).toBeLessThan(firstAtMs[1]!);
  // Three steps: 8,176 and 8,191 tokens, then what is left.
  expect(firstAtMs[1]).toBeGreaterThan(3 * 10 + 0.037 * 20_000);
});

test('routing sim: when blocks run out, the last to come starts over, and everybody still gets a whole answer', () => {
  const { engine, ended, runUntilIdle } = rig({ ...qwen, kvTokens: 640 });
  for (let tag = 0; tag < 3; tag++) engine.add(prompt(1 + tag * 100, 160, 200, 5000 + tag * 100), tag);
  runUntilIdle();
  expect(engine.preemptionCount).toBeGreaterThan(0);
  expect(new Set(ended)).toEqual(new Set([0, 1, 2]));
  expect(ended).toHaveLength(3);
  expect([engine.isIdle, engine.kvUsageRatio]).toEqual([true, 0]);
});

test('routing sim: when a cache is full, the longest unused prefix goes first, from its tail', () => {
  const { engine, runUntilIdle } = rig({ ...qwen, kvTokens: 640 });
  const old = prompt(1, 320, 1, 5000);
  engine.add(old, 0);
  runUntilIdle();
  const young = prompt(100, 480, 1, 5100);
  engine.add(young, 1);
  runUntilIdle();
  expect(engine.heldTokens(young)).toBe(480);
  expect(engine.heldTokens(old)).toBe(160);
});

// Mooncake's traces: 37.4 % and 65.1 % of prompt tokens in a cache without an end.
test('routing sim: when a cache has no end, workloads hit what is published of the traces they are drawn after', () => {
  const conversation = workloads.mooncakeConversation({ seed: 1, speed: 1, seconds: 3537 });
  expect(conversation.specs.length / 12_031).toBeCloseTo(1, 1);
  expect(Math.abs(hitOf(conversation.specs, conversation, conversation.nameCount) - 0.374)).toBeLessThan(0.02);
  const synthetic = workloads.mooncakeSynthetic({ seed: 1, speed: 1, seconds: 1022 });
  expect(Math.abs(hitOf(synthetic.specs, synthetic, synthetic.nameCount) - 0.651)).toBeLessThan(0.02);
});

test('routing sim: when one prompt is sent thirty times, the published hit rates come out to the token', () => {
  for (const { what, value, limit } of comparisons.thirtyTimes().checks) expect(value, what).toBeLessThanOrEqual(limit);
});

test('routing sim: when a run is repeated, it is the same; and the score keeps a load that round robin drowns in', () => {
  const runOf = (policy: Policy): Run =>
    simulate({ workload: workloads.b2b({ seed: 3, perSecond: 12, seconds: 90 }), policy, seed: 3 });
  const scored = runOf(policies['penstock']!);
  expect(runOf(policies['penstock']!).flights.map(({ endpoint, ttftMs }) => [endpoint, ttftMs])).toEqual(
    scored.flights.map(({ endpoint, ttftMs }) => [endpoint, ttftMs]),
  );
  expect(measuresOf(scored).ttftP90).toBeLessThan(1);
  expect(measuresOf(scored).hit).toBeGreaterThan(2 * measuresOf(runOf(policies['roundRobin']!)).hit);
});
