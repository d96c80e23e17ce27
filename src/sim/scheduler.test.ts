import { expect, test } from 'vitest';
import { ManualTime } from './manual-time.ts';
import { resolveSettings } from './options.ts';
import type { SimOptions } from './options.ts';
import { Random } from './random.ts';
import { Engine } from './scheduler.ts';
import { Phase, Sequence } from './sequence.ts';
import type { FinishReason } from './sequence.ts';

/** A step takes 10 ms plus 1 ms for each prompt token, so that times are easy to add up. */
const plainTimes = {
  decodeTokensPerSecond: 100,
  prefillTokensPerSecond: 1000,
  decodeMsPerSequence: 0,
  decodeMsPerContextToken: 0,
  prefillMsPerTokenPair: 0,
} as const;

interface Told {
  readonly sequence: Sequence;
  /** Virtual time of each token. */
  readonly tokenMs: number[];
  finished: FinishReason | null;
}

function rig(options: SimOptions = {}) {
  const time = new ManualTime();
  const settings = resolveSettings({ ...plainTimes, clock: time.clock, timers: time.timers, kvBlocks: 64, ...options });
  const engine = new Engine(settings);
  const submit = (
    prompt: readonly number[],
    outputCount: number,
    extra: { priority?: number; prefixSeed?: number; adapter?: string } = {},
  ): Told => {
    const told: Told = {
      tokenMs: [],
      finished: null,
      sequence: new Sequence({
        prompt: Int32Array.from(prompt),
        blockSize: settings.blockSize,
        priority: extra.priority ?? 0,
        adapter: extra.adapter ?? '',
        prefixSeed: extra.prefixSeed ?? 0,
        sink: {
          onToken: () => {
            told.tokenMs.push(time.nowMs);
            return false;
          },
          onFinish: (_sequence, reason) => {
            told.finished = reason;
          },
        },
      }),
    };
    told.sequence.plan = { tokenCount: outputCount, finishReason: 'length', nextToken: () => 7 };
    engine.submit(told.sequence);
    return told;
  };
  return { engine, time, submit };
}

const promptOf = (count: number, base = 0): number[] => Array.from({ length: count }, (_, index) => base + index + 1);

test('scheduler: when one sequence runs alone, its first token takes the prefill and each further one a step', () => {
  const { engine, time, submit } = rig();
  const told = submit(promptOf(20), 3);
  expect(told.sequence.phase).toBe(Phase.prefill);
  time.runUntilIdle();
  expect(told.tokenMs).toEqual([30, 40, 50]);
  expect(told.finished).toBe('length');
  expect(engine.cache.usedCount).toBe(0);
  expect(time.armedCount).toBe(0);
});

test('scheduler: when a prompt is longer than the token budget, it is computed in chunks between decodes', () => {
  const { time, submit } = rig({ maxBatchedTokens: 11 });
  const short = submit(promptOf(5), 6);
  const long = submit(promptOf(25, 1000), 1);
  time.runUntilIdle();
  // Step 1 is the short prompt alone (the long one arrived during it); then 10 + 10 + 5 prompt tokens beside one decode.
  expect(short.tokenMs).toEqual([15, 35, 55, 70, 80, 90]);
  expect(long.tokenMs, 'the first token comes with the last chunk').toEqual([70]);
});

test('scheduler: when the batch is full, later arrivals wait, lower priority values first', () => {
  const { engine, time, submit } = rig({ maxBatchSize: 1 });
  const order: string[] = [];
  const first = submit(promptOf(4), 2);
  const late = submit(promptOf(4, 100), 1);
  const later = submit(promptOf(4, 200), 1);
  const urgent = submit(promptOf(4, 300), 1, { priority: -5 });
  expect(engine.runningCount).toBe(1);
  expect(engine.waitingCount).toBe(3);
  time.runUntilIdle();
  for (const [name, told] of Object.entries({ first, late, later, urgent })) order[told.tokenMs.at(-1)!] = name;
  expect(order.filter(Boolean)).toEqual(['first', 'urgent', 'late', 'later']);
});

test('scheduler: when a prompt repeats, all its full blocks but the last token come from the cache', () => {
  const { engine, time, submit } = rig();
  submit(promptOf(48), 1);
  time.runUntilIdle();
  const exact = submit(promptOf(48), 1);
  const longer = submit(promptOf(60), 1);
  const salted = submit(promptOf(48), 1, { prefixSeed: 9 });
  time.runUntilIdle();
  expect(exact.sequence.cachedTokens, 'one token at least is computed, so 47 / 16 blocks').toBe(32);
  expect(longer.sequence.cachedTokens).toBe(48);
  expect(salted.sequence.cachedTokens, 'another salt or adapter shares nothing').toBe(0);
  expect(engine.metrics.prefixQueryTokens).toBe(48 + 48 + 60 + 48);
  expect(engine.metrics.prefixHitTokens).toBe(80);
});

// ROUTING section 4.1: 30 prompts of 159.2 tokens on one server hit 29 * 144 of 4,776 tokens.
test('scheduler: when one prompt of 159 tokens is asked 30 times, 29 times 144 tokens are hits', () => {
  const { engine, time, submit } = rig();
  for (let round = 0; round < 30; round++) {
    submit(promptOf(159), 2);
    time.runUntilIdle();
  }
  expect(engine.metrics.prefixHitTokens).toBe(29 * 144);
});

test('scheduler: when an answer comes back as history, its blocks are hit too', () => {
  const { time, submit } = rig();
  submit(promptOf(20), 20);
  time.runUntilIdle();
  const next = submit([...promptOf(20), ...Array.from({ length: 20 }, () => 7), 1, 2, 3], 1);
  time.runUntilIdle();
  expect(next.sequence.cachedTokens, 'the last generated token was never computed: 39 / 16 blocks').toBe(32);
});

test('scheduler: when blocks run out while decoding, the last sequence is preempted and still finishes in full', () => {
  const { engine, time, submit } = rig({ kvBlocks: 6 });
  const first = submit(promptOf(40), 40);
  const second = submit(promptOf(40, 1000), 40);
  time.runUntilIdle();
  expect(engine.metrics.preemptions).toBeGreaterThan(0);
  expect(first.tokenMs.length).toBe(40);
  expect(second.tokenMs.length).toBe(40);
  expect(first.tokenMs.at(-1)!).toBeLessThan(second.tokenMs.at(-1)!);
  expect(engine.cache.usedCount).toBe(0);
});

test('scheduler: when a sequence is aborted in any phase, its blocks are free at once and the phase is counted', () => {
  const { engine, time, submit } = rig({ maxBatchSize: 2, maxBatchedTokens: 32 });
  const decoding = submit(promptOf(16), 50);
  time.advance(45);
  expect(decoding.sequence.phase).toBe(Phase.decode);
  const prefilling = submit(promptOf(100, 1000), 5);
  time.advance(45);
  expect(prefilling.sequence.phase).toBe(Phase.prefill);
  const queued = submit(promptOf(16, 2000), 5);
  expect(queued.sequence.phase).toBe(Phase.waiting);

  engine.abort(queued.sequence, 'client');
  expect(engine.waitingCount).toBe(0);
  engine.abort(prefilling.sequence, 'client');
  expect(engine.cache.usedCount).toBe(decoding.sequence.blocks.length);
  engine.abort(decoding.sequence, 'client');
  engine.abort(decoding.sequence, 'client');
  expect(engine.cache.usedCount).toBe(0);
  expect(engine.metrics.aborted).toEqual({ queued: 1, prefill: 1, decode: 1 });
  const tokenCount = decoding.tokenMs.length;
  time.runUntilIdle();
  expect(decoding.tokenMs.length, 'the step under way must not revive it').toBe(tokenCount);
});

test('scheduler: when speed is 10, everything takes a tenth; when it is 0, submit returns after the last token', () => {
  const fast = rig({ speed: 10 });
  const told = fast.submit(promptOf(20), 3);
  fast.time.runUntilIdle();
  expect(told.tokenMs).toEqual([3, 4, 5]);
  const instant = rig({ speed: 0 });
  expect(instant.submit(promptOf(20), 3).finished).toBe('length');
  expect(instant.time.armedCount).toBe(0);
  expect(instant.submit(promptOf(20), 3).sequence.cachedTokens, 'blocks are accounted all the same').toBe(16);
});

test('scheduler: when a timer fires late, the steps that are due run at once and keep their times', () => {
  const { engine, submit, time } = rig();
  const told = submit(promptOf(10), 30);
  time.jump(215); // The first step ended at 20; nothing ran since.
  time.advance(0);
  expect(told.tokenMs).toEqual(Array.from({ length: 20 }, () => 215));
  expect(engine.metrics.interTokenLatency.sum).toBeCloseTo(0.19);
  time.runUntilIdle();
  expect(told.tokenMs.at(-1), 'the end is where it would have been').toBe(310);
});

// Llama-3-8B on one H100, ROUTING section 5.2: a full budget of 8,192 tokens at a peak of about 41,000 tokens/s.
test('scheduler: when the default profile prefills 8,192 tokens, it takes 0.2 s within 5 percent', () => {
  const time = new ManualTime();
  const settings = resolveSettings({ clock: time.clock, timers: time.timers });
  const engine = new Engine(settings);
  const sequence = new Sequence({
    prompt: Int32Array.from(promptOf(8192)),
    blockSize: 16,
    priority: 0,
    adapter: '',
    prefixSeed: 0,
    sink: { onToken: () => false, onFinish: () => {} },
  });
  sequence.plan = { tokenCount: 1, finishReason: 'length', nextToken: () => 7 };
  engine.submit(sequence);
  expect(Math.abs(time.runUntilIdle() / (8192 / 41) - 1)).toBeLessThan(0.05);
});

test('scheduler: when random work comes and goes, no block is lost and every sequence ends', () => {
  const seed = 20_261_121;
  const random = new Random(seed);
  const { engine, time, submit } = rig({ kvBlocks: 24, maxBatchSize: 5, maxBatchedTokens: 40 });
  const all: Told[] = [];
  for (let round = 0; round < 400; round++) {
    all.push(submit(promptOf(1 + random.below(200), random.below(3) * 1000), 1 + random.below(60)));
    if (random.below(3) === 0) engine.abort(all[random.below(all.length)]!.sequence, 'client');
    time.advance(random.below(200));
  }
  time.runUntilIdle();
  const hint = `seed ${seed}`;
  expect(engine.cache.usedCount, hint).toBe(0);
  expect(engine.runningCount + engine.waitingCount, hint).toBe(0);
  for (const { sequence, tokenMs, finished } of all) {
    if (sequence.phase === Phase.aborted) expect(finished, hint).toBe(null);
    else expect(tokenMs.length, hint).toBe(sequence.plan.tokenCount);
  }
  const { finished, aborted, preemptions } = engine.metrics;
  expect(preemptions, 'the case must be hard enough to preempt').toBeGreaterThan(0);
  expect(finished.length + finished.abort, hint).toBe(400);
  expect(aborted.queued + aborted.prefill + aborted.decode, hint).toBe(finished.abort);
});

test('sequence: when each pair of phases is tried, only the drawn transitions are legal', () => {
  const legal = new Set(['0-1', '0-4', '1-0', '1-2', '1-3', '1-4', '2-0', '2-3', '2-4']);
  const paths: Record<Phase, readonly Phase[]> = { 0: [], 1: [1], 2: [1, 2], 3: [1, 2, 3], 4: [4] };
  for (const from of Object.values(Phase)) {
    for (const next of Object.values(Phase)) {
      const sequence = new Sequence({
        prompt: Int32Array.of(1),
        blockSize: 16,
        priority: 0,
        adapter: '',
        prefixSeed: 0,
        sink: { onToken: () => false, onFinish: () => {} },
      });
      for (const step of paths[from]) sequence.become(step);
      const attempt = (): void => sequence.become(next);
      if (legal.has(`${from}-${next}`)) expect(attempt).not.toThrow();
      else expect(attempt, `${from} to ${next}`).toThrow('illegal sequence transition');
    }
  }
});

test('scheduler: when an adapter is not in memory, the batch waits while it is loaded, and the next time it does not', () => {
  const { engine, time, submit } = rig({ loraCountMax: 1, loraLoadMs: 100 });
  const first = submit([1], 1, { adapter: 'a' });
  time.advance(1000);
  expect(first.tokenMs).toEqual([111]);
  const again = submit([1], 1, { adapter: 'a' });
  time.advance(1000);
  expect(again.tokenMs).toEqual([1011]);
  submit([1], 1, { adapter: 'b' });
  time.advance(1000);
  expect([engine.adapters.loadCount, [...engine.adapters.loaded]]).toEqual([2, ['b']]);
});

test('scheduler: when all places for adapters run, another one waits, and those behind it do not', () => {
  const { engine, time, submit } = rig({ loraCountMax: 1, loraLoadMs: 0 });
  const running = submit([1], 4, { adapter: 'a' });
  time.advance(1);
  const blocked = submit([1], 1, { adapter: 'b' });
  const base = submit([1], 1);
  const same = submit([1], 1, { adapter: 'a' });
  time.advance(20);
  expect([base.finished, same.finished, blocked.finished], 'in the next step').toEqual([null, null, null]);
  time.advance(10);
  expect([base.finished, same.finished, blocked.finished]).toEqual(['length', 'length', null]);
  expect(engine.waitingCount).toBe(1);
  time.advance(1000);
  expect([running.finished, blocked.finished]).toEqual(['length', 'length']);
  expect(engine.adapters.loadCount).toBe(2);
});
