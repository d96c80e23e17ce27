/** native-bench/routing/http: what it sends is what the Spec says, and what it reads is what was there. */
import { expect, test } from 'vitest';
import { chatPrompt } from '../src/sim/prompt.ts';
import { detokenize, simDefaults, startSim } from '../src/sim/index.ts';
import { prosePlan } from '../src/sim/text.ts';
import { stepMs as simStepMs } from '../src/sim/step-time.ts';

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

interface Workload {
  readonly specs: readonly Spec[];
  readonly systemTokens: number;
  readonly profile: Profile;
  readonly engine: EngineSettings;
}

interface Profile {
  readonly kvTokens: number;
  readonly stepTokensMax: number;
}

interface EngineSettings {
  readonly prefillTokensPerSecond: number;
  readonly decodeTokensPerSecond: number;
}

interface Message {
  readonly role: string;
  readonly content: string;
}

interface Exchange {
  readonly id: string;
  readonly spec: Spec;
  readonly dueMs: number;
  readonly sentMs: number;
  readonly endMs: number;
  readonly ttftMs: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly endpoint: string;
  readonly failure: string;
}

interface Aftermath {
  readonly exposed: number;
  readonly failures: number;
  readonly unexplained: number;
  readonly hitBefore: number;
  readonly hitAfter: number;
  readonly hitLowest: number;
  readonly backAfter: number;
}

/** The bench is JavaScript, so the shapes are said here. */
const moduleOf = async <Shape>(file: string): Promise<Shape> =>
  (await import(new URL(`../native-bench/routing/${file}`, import.meta.url).href)) as Shape;

const text = await moduleOf<{
  openingMessages: (spec: Spec, systemTokens: number) => Message[];
  nextMessages: (messages: readonly Message[], answer: string, before: Spec, spec: Spec) => Message[];
}>('http/prompt-text.mjs');
const workloads =
  await moduleOf<Record<'shared' | 'conversations', (options: { seed: number; seconds: number }) => Workload>>(
    'http/workloads.mjs',
  );
const { blockName } = await moduleOf<{ blockName: (spec: Spec, index: number) => number }>('request.mjs');
const { flagsOf } = await moduleOf<{ flagsOf: (settings: EngineSettings) => string[] }>('http/engine-settings.mjs');
const { stepMs } = await moduleOf<{
  stepMs: (profile: Profile, tokens: number, timesContext: number, decodes: number, decodeContext: number) => number;
}>('profiles.mjs');
const measures = await moduleOf<{
  measuresOfRun: (run: object) => Record<string, number>;
  histogramQuantile: (metrics: string, name: string, q: number) => number;
}>('http/measures.mjs');
const { aftermathOf } = await moduleOf<{
  aftermathOf: (exchanges: readonly Exchange[], engine: string, fromMs: number, untilMs: number) => Aftermath;
}>('http/disturbance.mjs');
const { predict, predictedOf } = await moduleOf<{
  predict: (workload: Workload, picker: string, endpointCount: number, seed: number) => { hit: number }[];
  predictedOf: (all: object, measure: string) => { median: number; low: number; high: number };
}>('http/prediction.mjs');

const { drive } = await moduleOf<{
  drive: (options: { port: number; workload: Workload; seed: number }) => Promise<Exchange[]>;
}>('http/traffic.mjs');

const blockTokens = 16;

function tokensOf(messages: readonly Message[]): Int32Array {
  return chatPrompt({ messages }).tokens;
}

/** Tokens from the start that two prompts have in common. */
function equalTokens(one: Int32Array, other: Int32Array): number {
  let count = 0;
  while (count < one.length && one[count] === other[count]) count++;
  return count;
}

/** What an engine answers: prose of so many tokens. */
function answerOf(seed: number, tokenCount: number): string {
  const plan = prosePlan(seed, tokenCount, 'length');
  return detokenize(Array.from({ length: tokenCount }, () => plan.nextToken()));
}

test('routing http: when a Spec is written as messages, the engine counts its tokens, four bytes each', () => {
  for (const workload of [
    workloads.shared({ seed: 1, seconds: 4 }),
    workloads.conversations({ seed: 1, seconds: 8 }),
  ]) {
    expect(workload.specs.length).toBeGreaterThan(4);
    for (const spec of workload.specs) {
      const messages = text.openingMessages(spec, workload.systemTokens);
      expect(tokensOf(messages)).toHaveLength(spec.promptTokens);
      const ratio = JSON.stringify(messages).length / spec.promptTokens;
      expect(ratio).toBeGreaterThan(3.9);
      expect(ratio).toBeLessThan(4.2);
    }
  }
});

test('routing http: when two Specs share blocks, their prompts share those tokens, and no block more', () => {
  const { specs, systemTokens } = workloads.shared({ seed: 2, seconds: 6 });
  const prompts = specs.map((spec) => tokensOf(text.openingMessages(spec, systemTokens)));
  let sharingCount = 0;
  for (const [index, spec] of specs.entries()) {
    for (const [other, otherSpec] of specs.entries()) {
      const blockCount = Math.floor(spec.promptTokens / blockTokens);
      let shared = 0;
      while (shared < blockCount && blockName(spec, shared) === blockName(otherSpec, shared)) shared++;
      if (shared > 0 && shared < blockCount) sharingCount++;
      // The template opens every prompt alike, which is less than a block.
      expect(Math.floor(equalTokens(prompts[index]!, prompts[other]!) / blockTokens)).toBe(shared);
    }
  }
  expect(sharingCount).toBeGreaterThan(10);
});

test('routing http: when a conversation goes on, a turn begins with all tokens of the turn before and its answer', () => {
  const { specs, systemTokens } = workloads.conversations({ seed: 3, seconds: 6 });
  let turnCount = 0;
  for (const [seed, first] of specs.entries()) {
    let messages = text.openingMessages(first, systemTokens);
    for (let spec = first; spec.following !== null; spec = spec.following) {
      const answer = answerOf(seed, spec.outputTokens);
      const before = tokensOf(messages);
      messages = text.nextMessages(messages, answer, spec, spec.following);
      const tokens = tokensOf(messages);
      expect(tokens).toHaveLength(spec.following.promptTokens);
      expect(equalTokens(tokens, before)).toBe(before.length);
      turnCount++;
    }
  }
  expect(turnCount).toBeGreaterThan(20);
});

test('routing http: when an engine runs with the flags of a profile, both compute the same time for a step', () => {
  const { profile, engine } = workloads.shared({ seed: 1, seconds: 1 });
  const { kvTokens } = profile;
  expect(flagsOf(engine)).toEqual(expect.arrayContaining(['--kv-blocks', String(kvTokens / blockTokens)]));
  const settings = { ...simDefaults, ...engine };
  const prefill = { scheduledCount: 2000, phase: 1, computedCount: 1000, tokenCount: 3000 };
  const decode = { scheduledCount: 1, phase: 2, computedCount: 4999, tokenCount: 5000 };
  const running = [prefill, decode, decode] as unknown as Parameters<typeof simStepMs>[0];
  expect(stepMs(profile, 2000, 2000 * 2000, 2, 10_000)).toBeCloseTo(simStepMs(running, settings), 6);
});

test('routing http: when requests are the same, the one that goes by caches is predicted to hit more than turns do', () => {
  const workload = workloads.shared({ seed: 4, seconds: 5 });
  const hit = (picker: string): number => predictedOf(predict(workload, picker, 4, 4), 'hit').median;
  expect(hit('kv_aware')).toBeGreaterThan(1.5 * hit('round_robin'));
});

/** The same requests in a fiftieth of the time. */
function hurried(spec: Spec): Spec {
  return { ...spec, atMs: spec.atMs / 50, following: spec.following === null ? null : hurried(spec.following) };
}

test('routing http: when conversations are driven, each turn is sent once, hits all of the turn before, and is timed', async () => {
  const workload = workloads.conversations({ seed: 5, seconds: 3 });
  const sim = await startSim({ models: ['sim'], name: 'e0', speed: 0 });
  try {
    const specs = workload.specs.map(hurried);
    const exchanges = await drive({ port: sim.port, workload: { ...workload, specs }, seed: 5 });
    let turnCount = 0;
    for (const first of specs) for (let spec: Spec | null = first; spec !== null; spec = spec.following) turnCount++;
    expect(turnCount).toBeGreaterThan(specs.length);
    expect(exchanges).toHaveLength(turnCount);
    expect(new Set(exchanges.map(({ spec }) => spec)).size).toBe(turnCount);
    const before = new Map(exchanges.map(({ spec }) => [spec.following, spec]));
    for (const { spec, promptTokens, cachedTokens, ttftMs, sentMs, endMs, dueMs, endpoint, failure } of exchanges) {
      expect([failure, endpoint, promptTokens]).toEqual(['', 'e0', spec.promptTokens]);
      expect(sentMs).toBeGreaterThanOrEqual(dueMs);
      expect(endMs).toBeGreaterThanOrEqual(dueMs + ttftMs);
      const past = before.get(spec);
      // The last token of an answer was sent, not computed.
      const known = past === undefined ? 0 : past.promptTokens + past.outputTokens - 1;
      expect(cachedTokens).toBeGreaterThanOrEqual(Math.floor(known / blockTokens) * blockTokens);
    }
  } finally {
    await sim.close();
  }
});

test('routing http: when nobody answers, every request is a failure and the run ends', async () => {
  const workload = workloads.shared({ seed: 6, seconds: 1 });
  const sim = await startSim({ models: ['sim'], name: 'e0', speed: 0 });
  const { port } = sim;
  await sim.close();
  const exchanges = await drive({ port, workload, seed: 6 });
  expect(exchanges).toHaveLength(workload.specs.length);
  expect(exchanges.every(({ failure }) => failure !== '')).toBe(true);
});

function exchange(index: number, rest: Partial<Exchange> = {}): Exchange {
  return {
    id: `r${index}`,
    spec: {} as Spec,
    dueMs: index * 100,
    sentMs: index * 100 + 1,
    endMs: index * 100 + 250,
    ttftMs: 50 + index,
    promptTokens: 1000,
    cachedTokens: 800,
    endpoint: `e${index % 4}`,
    failure: '',
    ...rest,
  };
}

test('routing http: when a run is measured, the first tenth, failures and what was believed wrongly are told apart', () => {
  const exchanges = Array.from({ length: 20 }, (_, index) =>
    exchange(index, index < 2 ? { cachedTokens: 0 } : index === 19 ? { failure: 'reset' } : {}),
  );
  const lines = exchanges.map(({ id }, index) => ({ request_id: id, matched_tokens: 900, shard: index % 2 }));
  const metrics = [
    'penstock_prefix_lookups_total{pool="fleet"} 20',
    'penstock_prefix_hits_total{pool="fleet"} 15',
    'penstock_event_loop_lag_seconds_bucket{shard="0",le="0.001"} 90',
    'penstock_event_loop_lag_seconds_bucket{shard="0",le="0.01"} 100',
    'penstock_event_loop_lag_seconds_bucket{shard="0",le="+Inf"} 100',
    'penstock_event_loop_lag_seconds_bucket{shard="1",le="0.001"} 100',
    'penstock_event_loop_lag_seconds_bucket{shard="1",le="0.01"} 100',
    'penstock_event_loop_lag_seconds_bucket{shard="1",le="+Inf"} 100',
  ].join('\n');
  const cpu = { gatewayS: 0.1, enginesS: 1, clientS: 0.5, wallS: 2 };
  const found = measures.measuresOfRun({ exchanges, lines, metrics, cpu });
  expect(found).toMatchObject({ requests: 17, failures: 1, hit: 0.8, mispredicted: 0.1, lookupHits: 0.75 });
  expect(found).toMatchObject({
    gatewayCpuMs: 5,
    gatewayCpu: 0.05,
    enginesCpu: 0.5,
    clientCpu: 0.25,
    busiestShard: 0.5,
  });
  expect(found['ttftP50']).toBeCloseTo(0.06, 6);
  expect(found['lagP99']).toBe(0.01);
  expect(measures.histogramQuantile(metrics, 'penstock_event_loop_lag_seconds', 0.5)).toBe(0.001);
});

test('routing http: when an engine was killed, only what was with it may fail, and the hit rate is followed until it is back', () => {
  // Killed at 5 s, back at 5.2 s: 49 and 50 were under way, of those with e0 only 48 was; caches are cold for 10 requests.
  const exchanges = Array.from({ length: 120 }, (_, index) =>
    exchange(index, index >= 51 && index < 61 ? { cachedTokens: 0 } : index === 48 ? { failure: 'reset' } : {}),
  );
  const found = aftermathOf(exchanges, 'e0', 5000, 5200);
  expect(found).toMatchObject({ failures: 1, unexplained: 0, hitBefore: 0.8 });
  expect(found.exposed).toBeGreaterThanOrEqual(1);
  expect(found.hitAfter).toBeCloseTo(0.6, 6);
  expect(found.hitLowest).toBeCloseTo(0.4, 6);
  expect(found.backAfter).toBe(29);
  const other = exchanges.map((one, index) => (index === 90 ? { ...one, failure: 'reset' } : one));
  expect(aftermathOf(other, 'e0', 5000, 5200)).toMatchObject({ failures: 2, unexplained: 1 });
});
