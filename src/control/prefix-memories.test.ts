import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { type Config, parseConfig } from '../config/index.ts';
import { type PrefixKeys, PrefixIndex } from '../shm/index.ts';
import type { EngineLoad } from './engine-metrics.ts';
import { engineLoad } from './fixtures/engine-load.ts';
import { PrefixMemories } from './prefix-memories.ts';

const running: PrefixMemories[] = [];

afterEach(() => {
  for (const each of running.splice(0)) each.stop();
});

function memories(): { readonly made: PrefixMemories; readonly lines: string[]; readonly time: { ms: number } } {
  const lines: string[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(line) });
  const time = { ms: 0 };
  const made = new PrefixMemories(log, () => time.ms);
  running.push(made);
  return { made, lines, time };
}

function configOf(urls: readonly string[], picker = 'kv_aware'): Config {
  const endpoints = urls.map((url) => `{ url: "http://${url}:1" }`).join(', ');
  const parsed = parseConfig(
    `listeners: [{ name: l, address: "127.0.0.1:0" }]\npools: [{ name: p, picker: ${picker}, endpoints: [${endpoints}] }]`,
    'memories.yaml',
    {},
  );
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config;
}

const keys: PrefixKeys = {
  count: 1,
  lows: Int32Array.of(5),
  highs: Int32Array.of(6),
  ends: Int32Array.of(512),
};

/** Bytes of the prompt that each endpoint of the configuration holds. */
function held(made: PrefixMemories, config: Config): number[] {
  const { memory, ordinals } = made.plan(config)[0]!;
  const matched = new Int32Array(256);
  new PrefixIndex(memory).lookup(keys, matched);
  return ordinals.map((ordinal) => matched[ordinal]!);
}

function hold(made: PrefixMemories, config: Config, endpointIndex: number): void {
  const { memory, ordinals } = made.plan(config)[0]!;
  new PrefixIndex(memory).insert(keys, ordinals[endpointIndex]!);
}

function loadOf(startedAtSeconds: number, cacheTokens = 0): EngineLoad {
  return engineLoad({ startedAtSeconds, cacheTokens });
}

test('prefix memories: when a reload reorders, adds and removes endpoints, each keeps what it holds, and nobody inherits', () => {
  const { made } = memories();
  const first = configOf(['a', 'b', 'c']);
  hold(made, first, 0);
  hold(made, first, 2);
  expect(held(made, first)).toEqual([512, 0, 512]);
  expect(held(made, configOf(['c', 'd', 'a']))).toEqual([512, 0, 512]);
  expect(held(made, configOf(['d', 'e', 'c', 'f'])), 'a is gone').toEqual([0, 0, 512, 0]);
  expect(held(made, configOf(['a', 'c'])), 'a is back, and may have been anything meanwhile').toEqual([0, 512]);
});

test('prefix memories: when a plan is refused, endpoints are where shards know them, and what nobody else touched is known', () => {
  const { made } = memories();
  const first = configOf(['a', 'b', 'c']);
  const planned = made.plan(first);
  for (const index of [0, 1, 2]) hold(made, first, index);
  const before = planned[0]!.ordinals;
  made.plan(configOf(['d', 'a'])); // Who comes has what b or c had.
  made.restore(first, planned);
  expect(made.plan(first)[0]!.ordinals).toEqual(before);
  expect(held(made, first)).toEqual([512, 0, 512]);
  made.note('p', first.pools[0]!.endpoints[1]!.url, loadOf(1, 1000));
  expect(new PrefixIndex(planned[0]!.memory).horizon.tokens(before[1]!), 'it is heard').toBe(1000);
});

test('prefix memories: when an engine says that it was started anew, it holds nothing; its first word is no news', () => {
  const { made, lines } = memories();
  const config = configOf(['a', 'b']);
  hold(made, config, 0);
  hold(made, config, 1);
  const url = config.pools[0]!.endpoints[0]!.url;
  made.note('p', url, loadOf(1000));
  made.note('p', url, loadOf(1000));
  made.note('p', url, loadOf(0));
  expect(held(made, config)).toEqual([512, 512]);
  made.note('p', url, loadOf(2000));
  expect(held(made, config)).toEqual([0, 512]);
  expect(lines.filter((line) => line.includes('was restarted'))).toHaveLength(1);
});

test('prefix memories: when an engine says how much its cache holds, that is what is believed of it', () => {
  const { made } = memories();
  const config = configOf(['a', 'b']);
  const { memory, ordinals } = made.plan(config)[0]!;
  made.note('p', config.pools[0]!.endpoints[1]!.url, loadOf(1, 1_000_000));
  const { horizon } = new PrefixIndex(memory);
  expect(horizon.capacity(ordinals[1]!)).toBe(3_700_000);
  expect(horizon.capacity(ordinals[0]!)).toBe(1_110_000);
  made.note('gone', 'http://x', loadOf(1, 1));
});

test('prefix memories: when events say that a cache is empty, it is, and a restart they tell of is no news in the metrics', () => {
  const { made, lines } = memories();
  const config = configOf(['a', 'b']);
  const url = config.pools[0]!.endpoints[0]!.url;
  const told: string[] = [];
  made.onRestart = () => void told.push('others');
  made.onForgotten = () => void told.push('events');
  hold(made, config, 0);
  hold(made, config, 1);
  made.note('p', url, loadOf(1000));
  made.empty('p', url, false);
  expect(held(made, config)).toEqual([0, 512]);
  made.empty('p', url, true);
  hold(made, config, 0);
  made.note('p', url, loadOf(2000));
  expect(held(made, config), 'it is known').toEqual([512, 512]);
  expect(told, 'other gateways may not know').toEqual(['others']);
  made.note('p', url, loadOf(3000));
  expect(held(made, config)).toEqual([0, 512]);
  expect(told).toEqual(['others', 'events', 'others']);
  expect(lines.filter((line) => line.includes('was restarted'))).toHaveLength(1);
  made.empty('gone', 'http://x', true);
});

// Ranks of one engine begin anew one after the other, and one may be heard after the metrics.
test('prefix memories: when events tell of a restart that the metrics have told, the next one is news all the same', () => {
  const { made, time } = memories();
  const config = configOf(['a', 'b']);
  const url = config.pools[0]!.endpoints[0]!.url;
  hold(made, config, 1);
  for (const startedAt of [1000, 2000]) made.note('p', url, loadOf(startedAt));
  made.empty('p', url, true);
  hold(made, config, 0);
  time.ms += 61_000;
  expect(held(made, config)).toEqual([512, 512]);
  made.note('p', url, loadOf(3000));
  expect(held(made, config)).toEqual([0, 512]);
});

test('prefix memories: when a full cache was seen to hold less than the metrics say, that is believed, and never more', () => {
  const { made } = memories();
  const config = configOf(['a', 'b']);
  const [first, second] = config.pools[0]!.endpoints.map(({ url }) => url);
  const { memory, ordinals } = made.plan(config)[0]!;
  const { horizon } = new PrefixIndex(memory);
  const tokens = (): number[] => ordinals.map((ordinal) => horizon.tokens(ordinal));
  made.setSeenTokens('p', first!, 500_000);
  expect(tokens(), 'metrics say nothing').toEqual([500_000, 300_000]);
  made.note('p', first!, loadOf(1, 400_000));
  expect(tokens()).toEqual([400_000, 300_000]);
  horizon.fit(ordinals[0]!, 6);
  made.setSeenTokens('p', first!, 100_000);
  made.note('p', first!, loadOf(1, 400_000));
  expect(tokens()).toEqual([100_000, 300_000]);
  expect(horizon.capacity(ordinals[0]!), 'tokens are as long as they were learned to be').toBe(600_000);
  made.empty('p', first!, true);
  made.note('p', first!, loadOf(2, 400_000));
  expect(tokens(), 'another process').toEqual([400_000, 300_000]);
  made.setSeenTokens('p', second!, 1);
  expect(tokens()[1]).toBe(1);
});

test('prefix memories: when there is nothing to choose, or another picker chooses, no memory is made', () => {
  const { made } = memories();
  expect(made.plan(configOf(['a']))).toEqual([null]);
  expect(made.plan(configOf(['a', 'b'], 'round_robin'))).toEqual([null]);
});

test.each(['sglang', 'blend', 'sticky', 'lmetric'])(
  'prefix memories: when %s chooses, it has an index as kv_aware has, which stays when the picker changes',
  (picker) => {
    const { made } = memories();
    hold(made, configOf(['a', 'b'], picker), 1);
    expect(held(made, configOf(['a', 'b']))).toEqual([0, 512]);
  },
);
