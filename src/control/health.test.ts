import pino from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { parseConfig } from '../config/index.ts';
import { Clock } from '../core/index.ts';
import { createSharedMemory, EndpointState, FleetTable, otherRow } from '../shm/index.ts';
import { HealthMonitor } from './health.ts';
import type { ProbeAnswer, ProbeTarget } from './probe-client.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A monitor of one endpoint. `answers` are statuses, or errors as text; the last one repeats. */
async function watchOne(pool: string, answers: (number | string)[]) {
  const text = `{ listeners: [{ name: a, address: "127.0.0.1:0" }],
    pools: [{ name: p, endpoints: [{ url: "http://a:1" }], ${pool} }] }`;
  const parsed = parseConfig(text, 'test.yaml', {});
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const memory = createSharedMemory({ shardCount: 1, endpointCountMax: 2, bufferedBytesMax: 1024 });
  const fleet = new FleetTable(memory, -1);
  const slot = fleet.claim();
  const poolConfig = parsed.config.pools[0]!;
  const target: ProbeTarget = { slot, pool: poolConfig, endpoint: poolConfig.endpoints[0]! };
  const asked: string[] = [];
  const lines: { msg: string; reason?: string }[] = [];
  const monitor = new HealthMonitor({
    fleet,
    probe: (_, path): Promise<ProbeAnswer> => {
      const answer = answers[Math.min(asked.length, answers.length - 1)]!;
      asked.push(path);
      if (typeof answer === 'string') return Promise.reject(Object.assign(new Error('failed'), { code: answer }));
      return Promise.resolve({ status: answer, text: '' });
    },
    log: pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) }),
    clock: new Clock(),
    random: () => 0.5, // No jitter.
  });
  const watched = monitor.watch([target]);
  const stateBefore = fleet.state(slot);
  await watched;
  /** States after each further check, `count` times. */
  const states = async (count: number): Promise<string[]> => {
    const seen: string[] = [];
    for (let round = 0; round < count; round++) {
      await vi.advanceTimersToNextTimerAsync();
      seen.push(fleet.state(slot) === EndpointState.healthy ? 'up' : 'down');
    }
    return seen;
  };
  return { fleet, slot, monitor, target, asked, lines, states, stateBefore };
}

const checks = 'health: { path: /up, interval_ms: 1s, unhealthy_after: 2, healthy_after: 2 }';

test('health: when checks are configured, the endpoint is unhealthy until the first one, which decides at once', async () => {
  const good = await watchOne(checks, [200]);
  expect(good.stateBefore).toBe(EndpointState.unhealthy);
  expect(good.fleet.state(good.slot)).toBe(EndpointState.healthy);
  expect(good.asked).toEqual(['/up']);
  const bad = await watchOne(checks, [500]);
  expect(bad.fleet.state(bad.slot)).toBe(EndpointState.unhealthy);
});

test('health: when checks fail and recover, the state follows with hysteresis, and each change is logged', async () => {
  const { states, lines } = await watchOne(checks, [200, 500, 200, 'ECONNREFUSED', 503, 200, 500, 200, 204]);
  expect(await states(8)).toEqual(['up', 'up', 'up', 'down', 'down', 'down', 'down', 'up']);
  expect(lines.map(({ msg, reason }) => [msg, reason])).toEqual([
    ['endpoint is healthy', undefined],
    ['endpoint is unhealthy', 'status 503'],
    ['endpoint is healthy', undefined],
  ]);
});

test('health: when an endpoint is down, it is asked twice as often, and its share grows again once it is back', async () => {
  const { asked, fleet, slot, states } = await watchOne(checks, [500, 500, 500, 200]);
  await vi.advanceTimersByTimeAsync(500);
  expect(asked.length).toBe(2);
  await vi.advanceTimersByTimeAsync(500);
  expect(asked.length).toBe(3);
  await states(2);
  expect(fleet.state(slot)).toBe(EndpointState.healthy);
  expect(fleet.health.share(slot, otherRow, new Clock().refresh(), 3_600_000)).toBeLessThan(0.11);
  await vi.advanceTimersByTimeAsync(500);
  expect(asked.length).toBe(5);
});

test('health: when the engine is a known one, it is checked without being asked for, on its own path', async () => {
  const { asked, monitor, slot } = await watchOne('engine: triton', [200]);
  expect(asked).toEqual(['/v2/health/ready']);
  expect(monitor.mode(slot)).toBe('active');
});

test('health: when the engine is none and no checks are configured, nothing is asked and the endpoint is healthy', async () => {
  const { asked, states, stateBefore } = await watchOne('engine: none', [500]);
  expect(stateBefore).toBe(EndpointState.healthy);
  expect(await states(3)).toEqual(['up', 'up', 'up']);
  expect(asked).toEqual([]);
});

test('health: when an auto endpoint has no health path, it is asked once and left to passive checks', async () => {
  const { asked, states, monitor, slot } = await watchOne('engine: auto', [404]);
  expect(await states(3)).toEqual(['up', 'up', 'up']);
  expect(asked).toEqual(['/health']);
  expect(monitor.mode(slot)).toBe('passive');
});

test('health: when an auto endpoint answers 200 or 503, it is checked from then on', async () => {
  for (const status of [200, 503]) {
    const { monitor, slot, states } = await watchOne('engine: auto', [status, 503]);
    await vi.advanceTimersByTimeAsync(0);
    expect(monitor.mode(slot)).toBe('active');
    expect((await states(3)).at(-1)).toBe('down');
  }
});

test('health: when nobody listens at an auto endpoint, it goes down, and its first answer brings it back', async () => {
  const { states, monitor, slot } = await watchOne('engine: auto', [
    'ECONNREFUSED',
    'ECONNREFUSED',
    'ECONNREFUSED',
    404,
  ]);
  expect(await states(4)).toEqual(['down', 'down', 'up', 'up']);
  expect(monitor.mode(slot)).toBe('passive');
});

test('health: when an endpoint leaves while a check is under way, its slot is not written any more', async () => {
  const { monitor, fleet, slot, states } = await watchOne(checks, [200, 500]);
  await monitor.watch([]);
  fleet.setState(slot, EndpointState.draining);
  await states(4);
  expect(fleet.state(slot)).toBe(EndpointState.draining);
});

test('health: when a reload keeps the settings of a check, its history is kept', async () => {
  const { monitor, target, asked, states } = await watchOne(checks, [200, 500]);
  await states(1);
  await monitor.watch([{ ...target }]);
  expect(asked, 'not asked again at once').toHaveLength(2);
  expect(await states(1)).toEqual(['down']);
});
