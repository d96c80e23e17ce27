import { expect, test } from 'vitest';
import { createPrefixMemory, type PrefixKeys, PrefixIndex } from '../../shm/index.ts';
import { Calibration } from './calibration.ts';
import type { EngineReport } from './calibration.ts';

const ordinal = 3;
const tokenBytes = 4;

interface Held {
  readonly index: PrefixIndex;
  readonly calibration: Calibration;
  /** The gateway sends a prompt of so many tokens that nobody has. */
  readonly send: (tokens: number) => void;
  /** Whether the endpoint is believed to hold the prompt sent as `number`, from 0. */
  readonly holds: (number: number) => boolean;
}

function held(capacityTokens: number): Held {
  const index = new PrefixIndex(createPrefixMemory(1 << 12, 8, capacityTokens * tokenBytes));
  index.horizon.setTokens(ordinal, capacityTokens, tokenBytes);
  let count = 0;
  const keysOf = (number: number, bytes: number): PrefixKeys => ({
    count: 1,
    lows: Int32Array.of(number + 1),
    highs: Int32Array.of(Math.imul(number + 1, 0x9e3779b1) | 1),
    ends: Int32Array.of(bytes),
  });
  const calibration = new Calibration({ horizon: index.horizon, ordinal }, report(), (tokens) =>
    index.horizon.setTokens(ordinal, tokens, tokenBytes),
  );
  return {
    index,
    calibration,
    send: (tokens) => index.insert(keysOf(count++, tokens * tokenBytes), ordinal),
    holds: (number) => {
      const matched = new Int32Array(256);
      index.lookup(keysOf(number, 1), matched);
      return matched[ordinal]! > 0;
    },
  };
}

function report(changes: Partial<EngineReport> = {}): EngineReport {
  return { storedTokens: 0, removedTokens: 0, fillTokens: null, inflightCount: 0, pendingTokens: 0, ...changes };
}

test('calibration: when all that the engine stores was sent there, nothing is foreign', () => {
  const { calibration, send } = held(100_000);
  let storedTokens = 0;
  for (let second = 0; second < 200; second++) {
    send(1000);
    storedTokens += 1000;
    calibration.look(report({ storedTokens }));
  }
  expect(calibration.foreignTokens).toBe(0);
});

test('calibration: when answers are stored long before they end, they are not foreign once their length is known', () => {
  const { index, calibration } = held(100_000);
  let storedTokens = 0;
  const answer = (): void => {
    for (let second = 0; second < 60; second++) {
      storedTokens += 100;
      calibration.look(report({ storedTokens, inflightCount: 1 }));
    }
    index.horizon.useUnnamed(ordinal, 6000 * tokenBytes);
    calibration.look(report({ storedTokens }));
    calibration.look(report({ storedTokens }));
  };
  for (let count = 0; count < 80; count++) answer();
  const atFirst = calibration.foreignTokens;
  expect(atFirst, 'a quarter of a thousand tokens was assumed').toBeLessThan(20 * 6000);
  for (let count = 0; count < 80; count++) answer();
  expect((calibration.foreignTokens - atFirst) / (80 * 6000)).toBeLessThan(0.02);
});

test('calibration: when prompts wait in the engine for long, they are missing in the meantime and are no surprise then', () => {
  const { calibration, send } = held(100_000);
  let storedTokens = 0;
  for (let burst = 0; burst < 10; burst++) {
    for (let count = 0; count < 8; count++) send(1000);
    for (let second = 0; second < 20; second++)
      calibration.look(report({ storedTokens, inflightCount: 8, pendingTokens: 8000 }));
    storedTokens += 8000;
    calibration.look(report({ storedTokens }));
    calibration.look(report({ storedTokens }));
  }
  expect(calibration.foreignTokens).toBe(0);
});

test('calibration: when others use the cache as much, what was sent there is held half as long', () => {
  const { calibration, send, holds } = held(64_000);
  let storedTokens = 0;
  for (let second = 0; second < 64; second++) {
    send(1000);
    storedTokens += 2000;
    calibration.look(report({ storedTokens }));
  }
  expect(calibration.foreignTokens).toBeGreaterThan(60_000);
  expect(calibration.foreignTokens).toBeLessThanOrEqual(64_000);
  expect([holds(63), holds(40), holds(24), holds(0)]).toEqual([true, true, false, false]);
});

test('calibration: when an engine claims to have stored more than there is in the world, all is out, and soon', () => {
  const { calibration, send, holds } = held(64_000);
  send(1000);
  const startMs = performance.now();
  for (let second = 1; second < 10; second++) calibration.look(report({ storedTokens: second * 1e15 }));
  expect(holds(0)).toBe(false);
  expect(calibration.believedTokens).toBeLessThanOrEqual(66_000);
  expect(performance.now() - startMs, 'a pass over 1e15 would take days').toBeLessThan(2000);
});

test('calibration: when an amount stands out once, it waits for the next look', () => {
  const { calibration, send } = held(64_000);
  calibration.look(report({ storedTokens: 8000 }));
  expect(calibration.foreignTokens).toBe(0);
  send(8000); // The index hears of it a little later.
  calibration.look(report({ storedTokens: 8000 }));
  calibration.look(report({ storedTokens: 8000 }));
  expect(calibration.foreignTokens).toBe(0);
});

test('calibration: when prompts are sent and never stored, that hides nothing later', () => {
  const { calibration, send } = held(64_000);
  for (let turn = 0; turn < 20; turn++) {
    send(1000);
    calibration.look(report());
  }
  let storedTokens = 0;
  for (let second = 0; second < 10; second++) {
    storedTokens += 1000;
    calibration.look(report({ storedTokens }));
  }
  expect(calibration.foreignTokens).toBeGreaterThanOrEqual(7000);
});

test('calibration: when the engine evicts, what it holds then is what it can hold', () => {
  const { calibration } = held(300_000);
  let removedTokens = 0;
  for (let second = 0; second < 30; second++) {
    removedTokens += 100;
    calibration.look(report({ removedTokens, fillTokens: 50_000 + (second % 3) * 100 }));
  }
  expect(calibration.capacityTokens).toBeGreaterThan(49_500);
  expect(calibration.capacityTokens).toBeLessThan(51_000);
  // Emptied, and not full: what it can hold is what it was.
  calibration.restart(report({ removedTokens }));
  for (let second = 0; second < 30; second++) calibration.look(report({ removedTokens, fillTokens: 100 }));
  expect(calibration.capacityTokens).toBeGreaterThan(49_500);
});

test('calibration: when the engine holds more than was thought possible, it can', () => {
  const { calibration } = held(10_000);
  calibration.look(report({ fillTokens: 25_000 }));
  expect(calibration.capacityTokens).toBe(25_000);
});

test('calibration: when the engine holds far less than is believed, the oldest are let go', () => {
  const { calibration, send, holds } = held(64_000);
  for (let turn = 0; turn < 60; turn++) send(1000);
  const few = report({ fillTokens: 20_000, storedTokens: 60_000 });
  calibration.look(few);
  expect(holds(0), 'once is not enough').toBe(true);
  calibration.look(few);
  expect([holds(0), holds(15), holds(25), holds(59)]).toEqual([false, false, true, true]);
  expect(calibration.believedTokens).toBeLessThanOrEqual(41_024);
  calibration.look(report({ fillTokens: null }));
  expect(holds(59)).toBe(true);
});

test('calibration: when the count of what arrived wraps, it is still a difference', () => {
  const { index, calibration } = held(1_000_000);
  let storedTokens = 0;
  // 2^32 bytes are a billion tokens of four.
  for (let turn = 0; turn < 1200; turn++) {
    index.horizon.useUnnamed(ordinal, 4_000_000);
    storedTokens += 1_000_000;
    calibration.look(report({ storedTokens }));
  }
  expect(calibration.foreignTokens).toBe(0);
});
