import pino from 'pino';
import { expect, test } from 'vitest';
import { StallWatch, watchPeriodMs } from './stall-watch.ts';

interface Scene {
  readonly watch: StallWatch;
  readonly said: string[];
  readonly givenUp: number[];
  readonly beats: number[];
  readonly watched: Set<number>;
  /** Lets `ms` pass in looks of the usual period, in which the shards named beat. */
  readonly pass: (ms: number, ...beating: number[]) => void;
  readonly jump: (ms: number) => void;
}

function scene(stallMs = 10_000): Scene {
  let nowMs = 1000;
  const beats = [0, 0];
  const watched = new Set([0, 1]);
  const said: string[] = [];
  const givenUp: number[] = [];
  const write = (line: string): void => {
    const { shard, msg } = JSON.parse(line) as { shard: number; msg: string };
    said.push(`${shard}: ${msg}`);
  };
  const watch = new StallWatch({
    shardCount: 2,
    stallMs,
    log: pino({}, { write }),
    readBeat: (shard) => beats[shard]!,
    isWatched: (shard) => watched.has(shard),
    onGivenUp: (shard) => void givenUp.push(shard),
    nowMs: () => nowMs,
  });
  const pass = (ms: number, ...beating: number[]): void => {
    for (let left = ms; left > 0; left -= watchPeriodMs) {
      nowMs += watchPeriodMs;
      for (const shard of beating) beats[shard]!++;
      watch.look();
    }
  };
  return { watch, said, givenUp, beats, watched, pass, jump: (ms) => (nowMs += ms) };
}

test('stall watch: when all shards beat, nothing is said', () => {
  const { said, pass, watch } = scene();
  pass(60_000, 0, 1);
  expect(said).toEqual([]);
  expect(watch.silentShards()).toEqual([]);
});

// FAULTS F16, F17.
test('stall watch: when a shard stands still, it is told after 1 s and given up after the limit, once', () => {
  const { said, givenUp, pass, watch } = scene();
  pass(1000, 0, 1);
  pass(1250, 0);
  expect(said).toEqual(['1: shard does not respond']);
  expect(watch.silentShards()).toEqual([1]);
  pass(8000, 0);
  expect(givenUp).toEqual([]);
  pass(20_000, 0);
  expect(givenUp).toEqual([1]);
  expect(said).toHaveLength(1);
});

test('stall watch: when it comes back in time, it is ready again and starts from zero', () => {
  const { said, givenUp, pass, watch } = scene();
  for (let round = 0; round < 3; round++) {
    pass(8000, 0);
    pass(500, 0, 1);
    expect(watch.silentShards()).toEqual([]);
  }
  expect(said.filter((line) => line === '1: shard responds again')).toHaveLength(3);
  expect(givenUp).toEqual([]);
});

// FAULTS F18: SIGSTOP and SIGCONT of the process.
test('stall watch: when control itself was stopped, no shard is blamed', () => {
  const { said, givenUp, pass, jump, watch } = scene();
  pass(1000, 0, 1);
  jump(60_000);
  watch.look();
  pass(250);
  expect([said, givenUp]).toEqual([[], []]);
  pass(1000, 0, 1);
  expect(said).toEqual([]);
});

test('stall watch: when a shard loads or ends, or the limit is 0, none is given up', () => {
  const loading = scene();
  loading.watched.delete(1);
  loading.pass(60_000, 0);
  expect([loading.said, loading.givenUp]).toEqual([[], []]);
  const never = scene(0);
  never.pass(60_000, 0);
  expect(never.givenUp).toEqual([]);
  expect(never.said).toEqual(['1: shard does not respond']);
});
