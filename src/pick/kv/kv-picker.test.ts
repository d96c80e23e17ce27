import { describe, expect, test } from 'vitest';
import {
  createPrefixMemory,
  EndpointState,
  Fault,
  JournalKind,
  otherRow,
  PrefixJournalReader,
  PrefixJournalWriter,
  WorkTable,
} from '../../shm/index.ts';
import { Random } from '../../sim/random.ts';
import { explainPick } from '../explain.ts';
import { fleetOf, promptOf, requestOf, type TestRequest } from '../fixtures/pool.ts';
import { pickEndpoint } from '../pick.ts';
import { makePicker } from '../pickers.ts';
import { openRule, PoolView } from '../pool-view.ts';
import { KvLearned, KvPicker } from './kv-picker.ts';
import { makePolicy } from './kv-policies.ts';

const names = ['kv_aware', 'sglang', 'blend', 'sticky', 'lmetric'];
/** Every estimate here is by the initial ratio. */
const tokensPerByte = 0.27;

/** A pool with its index, as a shard has it. */
function pool(name: string, endpointCount = 3) {
  const { memory, control, fleet, endpoints } = fleetOf(endpointCount);
  const view = new PoolView(endpoints, fleet, { ...openRule, slowStartMs: 10_000 });
  const generator = new Random(7);
  const random = (): number => generator.ratio();
  const kv = new KvPicker({
    view,
    memory: createPrefixMemory(4096, 256, 1_000_000),
    ordinals: endpoints.map((_, index) => index),
    work: new WorkTable(memory, 0),
    number: 5,
    journal: new PrefixJournalWriter(memory.journals[0]!),
    learned: new KvLearned(),
    policy: makePolicy(name, view.hashes, random),
    residents: null,
    fallback: makePicker(name, endpointCount, { random, shardIndex: 0 }),
    random,
  });
  /** Picked, placed, and still there. */
  const send = (text: string | null, nowMs = 1_000_000): TestRequest => {
    const made = requestOf(text === null ? null : promptOf({ prompt: text }));
    kv.look(made);
    made.endpointIndex = pickEndpoint(view, kv, made, nowMs);
    kv.place(made, made.endpointIndex);
    return made;
  };
  const end = (made: TestRequest): void => {
    kv.finish(made, null);
    kv.giveUp(made);
    fleet.giveInflight(endpoints[made.endpointIndex]!.slot);
  };
  /** Sent, and over at once. */
  const serve = (text: string | null, nowMs?: number): number => {
    const made = send(text, nowMs);
    end(made);
    return made.endpointIndex;
  };
  const explain = (made: TestRequest): string => explainPick(view, kv, kv, name, made, made.endpointIndex);
  const journal = new PrefixJournalReader(memory.journals[0]!);
  return { control, fleet, view, endpoints, kv, send, end, serve, explain, journal };
}

const textOf = (number: number): string => `${number} is what the gauge says. `.repeat(400);

test('kv picker: when a prompt is sent, the blocks that were not known there are written down for other gateways', () => {
  const { serve, journal } = pool('kv_aware');
  const read = (): number[][] => {
    const found: number[][] = [];
    while (journal.next()) {
      expect([journal.kind, journal.pool, journal.secret]).toEqual([JournalKind.blocks, 5, 2]);
      found.push([journal.endpoint, ...Array.from({ length: journal.count }, (_, block) => journal.low(block))]);
    }
    return found;
  };
  const prompt = textOf(1);
  const home = serve(prompt);
  const keys = promptOf({ prompt });
  expect(read(), 'when it is placed; nothing when it ends').toEqual([
    [home, ...[...keys.lows.subarray(0, keys.count)].toReversed()],
  ]);
  expect([serve(prompt), read()], 'known').toEqual([home, []]);
  const longer = `${prompt} And now?`.padEnd(prompt.length + 3000, ' Is it high?');
  expect(serve(longer)).toBe(home);
  const known = new Set(keys.lows.subarray(0, keys.count));
  const next = promptOf({ prompt: longer });
  const unknown = [...next.lows.subarray(0, next.count)].filter((low) => !known.has(low));
  expect(unknown.length).toBeGreaterThan(3);
  expect(read(), 'only those behind the match').toEqual([[home, ...unknown.toReversed()]]);
});

test('kv picker: when an endpoint claims an answer longer than its cache, that counts as one that fills it', () => {
  const { send, kv, journal } = pool('kv_aware');
  kv.finish(send(textOf(1)), { promptTokens: 1000, completionTokens: 2 ** 33, cachedTokens: 0 });
  const told: number[] = [];
  while (journal.next()) if (journal.kind === JournalKind.unnamed) told.push(journal.bytes);
  expect(told).toEqual([1_000_000]);
});

describe('kv picker: whatever the policy', () => {
  test.each(names)('kv picker: when the same prompt comes again, %s sends it where it was', (name) => {
    const { serve } = pool(name);
    for (let number = 0; number < 20; number++) {
      const home = serve(textOf(number));
      for (let again = 0; again < 3; again++) expect(serve(textOf(number)), `prompt ${number}`).toBe(home);
    }
  });

  test.each(names)('kv picker: when many prompts are new, %s leaves no endpoint without any', (name) => {
    const { send } = pool(name);
    const chosen = new Set(Array.from({ length: 30 }, (_, number) => send(textOf(number)).endpointIndex));
    expect(chosen.size).toBe(3);
  });

  test.each(names)('kv picker: when a request has no prompt, %s goes by load, and there is no score', (name) => {
    const { send, endpoints, fleet, kv } = pool(name);
    for (const index of [0, 2]) fleet.addTokens(endpoints[index]!.slot, 1000);
    const counts = [0, 0, 0];
    for (let number = 0; number < 60; number++) {
      const made = send(null);
      counts[made.endpointIndex]!++;
      expect(made.score).toBeNaN();
      expect(made.estimatedTokens).toBe(-1);
    }
    expect(kv.comparison).toBeNull();
    expect(counts[1], String(counts)).toBeGreaterThan(30);
  });

  test.each(names)('kv picker: when requests with prompts end, %s leaves nothing counted as waiting', (name) => {
    const { send, end, fleet, endpoints } = pool(name);
    const open = Array.from({ length: 12 }, (_, number) => send(textOf(number % 4)));
    expect(endpoints.some(({ slot }) => fleet.pendingTokens(slot) > 0)).toBe(true);
    for (const each of open) end(each);
    expect(endpoints.map(({ slot }) => fleet.pendingTokens(slot))).toEqual([0, 0, 0]);
    expect(endpoints.map(({ slot }) => fleet.inflight(slot))).toEqual([0, 0, 0]);
  });

  // kv_aware weighs it as a lower prefill rate; others leave the endpoint out of most choices.
  test.each(names)(
    'kv picker: when an endpoint has just come, %s gives it far fewer new prompts than the others',
    (name) => {
      const { send, control, endpoints } = pool(name);
      control.health.warmUp(endpoints[0]!.slot, 1_000_000);
      const counts = [0, 0, 0];
      for (let number = 0; number < 150; number++) counts[send(textOf(number)).endpointIndex]!++;
      expect(counts[0], String(counts)).toBeLessThan(150 / 3 / 2);
      expect(counts[0], String(counts)).toBeGreaterThan(0);
    },
  );

  test('kv picker: when all who could take part are warming up, one of them is chosen', () => {
    const { serve, control, endpoints } = pool('lmetric');
    for (const { slot } of endpoints) control.health.warmUp(slot, 1_000_000);
    for (let number = 0; number < 50; number++) expect([0, 1, 2]).toContain(serve(textOf(number)));
  });

  test('kv picker: when engines tell nothing, blend takes what is in flight for their queues', () => {
    const { send, fleet, endpoints } = pool('blend');
    for (const index of [0, 2]) expect(fleet.tryTakeInflight(endpoints[index]!.slot, 0)).toBe(true);
    expect(send(textOf(1)).endpointIndex).toBe(1);
  });

  test('kv picker: when engines tell their queues, blend takes those, and not what is in flight', () => {
    const { send, control, fleet, endpoints } = pool('blend');
    for (const [index, { slot }] of endpoints.entries()) {
      const queueDepth = index === 2 ? 0 : 4;
      control.publishScrape(slot, { queueDepth, runningRequests: 9, kvCacheUsageRatio: 0.5, scrapedAtMs: 990_000 });
    }
    for (let count = 0; count < 5; count++) expect(fleet.tryTakeInflight(endpoints[2]!.slot, 0)).toBe(true);
    expect(send(textOf(1)).endpointIndex).toBe(2);
  });

  test('kv picker: when what engines told is old, blend goes by what is in flight, as if they had told nothing', () => {
    const { send, control, fleet, endpoints } = pool('blend');
    for (const [index, { slot }] of endpoints.entries()) {
      const queueDepth = index === 2 ? 0 : 4;
      const kvCacheUsageRatio = index === 2 ? 0 : 1;
      control.publishScrape(slot, { queueDepth, runningRequests: 9, kvCacheUsageRatio, scrapedAtMs: 1_000_000 });
    }
    for (const index of [0, 2]) expect(fleet.tryTakeInflight(endpoints[index]!.slot, 0)).toBe(true);
    expect(send(textOf(1), 1_015_000).endpointIndex, 'it still counts').toBe(2);
    expect(send(textOf(2), 1_015_001).endpointIndex).toBe(1);
  });

  test('kv picker: when a full KV cache was told of long ago, kv_aware forgets it', () => {
    const { send, end: kvEnd, control, endpoints } = pool('kv_aware', 2);
    const [first, second] = endpoints;
    for (const [slot, kvCacheUsageRatio] of [
      [first!.slot, 0.98],
      [second!.slot, 0],
    ] as const)
      control.publishScrape(slot, { queueDepth: 0, runningRequests: 0, kvCacheUsageRatio, scrapedAtMs: 1_000_000 });
    const at = (nowMs: number): number[] => {
      const counts = [0, 0];
      for (let number = 0; number < 20; number++) {
        const made = send(textOf(number + nowMs * 100), nowMs);
        counts[made.endpointIndex]!++;
        kvEnd(made);
      }
      return counts;
    };
    expect(at(1_015_000)).toEqual([0, 20]);
    expect(at(1_015_001)[0], 'cold prompts have homes at both').toBeGreaterThan(3);
  });
});

describe('explain: what a client is told', () => {
  test('explain: when a prompt is known somewhere, the chosen endpoint comes first, the others by their scores', () => {
    const { serve, send, fleet, endpoints, explain } = pool('lmetric');
    const home = serve(textOf(1));
    const [near, far] = [0, 1, 2].filter((index) => index !== home) as [number, number];
    for (let count = 0; count < 3; count++) fleet.tryTakeInflight(endpoints[far]!.slot, 0);
    const made = send(textOf(1));
    const prompt = Math.ceil(promptOf({ prompt: textOf(1) }).byteCount * tokensPerByte);
    expect(made.estimatedTokens).toBe(prompt);
    expect(made.matchedTokens).toBeGreaterThan(prompt * 0.9);
    const uncached = prompt - made.matchedTokens;
    expect(made.score).toBe(Math.max(1, uncached));
    const members = explain(made).split(', ');
    expect(members[0]).toBe(
      `"http://10.0.0.${home}:8000";picker=lmetric;reason=least;candidates=3;prompt=${prompt};matched=${made.matchedTokens}` +
        `;pending=${Math.max(1, uncached)};inflight=0;tokens=0;score=${Math.max(1, uncached)}`,
    );
    expect(members[1]).toBe(`"http://10.0.0.${near}:8000";matched=0;pending=0;inflight=0;tokens=0;score=${prompt}`);
    expect(members[2]).toBe(`"http://10.0.0.${far}:8000";matched=0;pending=0;inflight=3;tokens=0;score=${prompt * 4}`);
  });

  test.each(names)('explain: when a pool is large, what is said of %s stays within its bound', (name) => {
    const { send, explain } = pool(name, 200);
    const text = explain(send(textOf(1)));
    expect(text.length).toBeLessThanOrEqual(2048);
    expect(text.split(', ').length).toBeGreaterThan(10);
    expect(text).toContain(';candidates=200;');
    // RFC 9651: a list of strings with parameters, no control character, nothing above ASCII.
    const value = /^"http:\/\/[\d.:]+"(?:;[a-z]+=(?:[a-z_]+|-?\d{1,12}(?:\.\d{1,3})?))+$/;
    for (const member of text.split(', ')) expect(member).toMatch(value);
  });

  test('explain: when a request is the probe of an endpoint, nothing was compared', () => {
    const { control, fleet, endpoints, send, explain } = pool('kv_aware');
    const rule = { consecutiveFailures: 1, baseMs: 1000, maxMs: 60_000 };
    const attempt = { slot: endpoints[1]!.slot, row: otherRow, probes: 0, nowMs: 1_000_000 };
    fleet.health.noteFault({ ...attempt, fault: Fault.reset, rule, modelCount: 1, mayEject: true });
    expect(control.state(endpoints[1]!.slot)).toBe(EndpointState.healthy);
    const made = send(textOf(1), 1_001_000);
    expect(made.endpointIndex).toBe(1);
    expect(made.score).toBeNaN();
    const text = explain(made);
    expect(text).toMatch(/^"http:\/\/10\.0\.0\.1:8000";picker=kv_aware;reason=probe;candidates=2;/);
    expect(text).not.toContain('score=');
  });

  test('explain: when a picker compares nothing, the loads are told', () => {
    const { view, endpoints, fleet } = pool('sglang');
    const picker = makePicker('round_robin', 3, { random: () => 0, shardIndex: 0 });
    fleet.addTokens(endpoints[1]!.slot, 700);
    const index = pickEndpoint(view, picker, requestOf(null), 1_000_000);
    expect(index).toBe(0);
    const text = explainPick(view, picker, null, 'round_robin', requestOf(null), index);
    expect(text).toBe(
      '"http://10.0.0.0:8000";picker=round_robin;candidates=3;inflight=0;tokens=0, ' +
        '"http://10.0.0.1:8000";inflight=0;tokens=700, "http://10.0.0.2:8000";inflight=0;tokens=0',
    );
  });
});
