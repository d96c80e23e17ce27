import { onTestFinished, expect, test } from 'vitest';
import { parseConfig } from '../config/index.ts';
import { Clock } from '../core/index.ts';
import type { Snapshot } from '../shard/protocol.ts';
import { createSharedMemory, EndpointState, FleetTable, WorkTable } from '../shm/index.ts';
import { samplePeriodMs, Throughput } from './throughput.ts';

function watched() {
  const memory = createSharedMemory({ shardCount: 2, endpointCountMax: 8, bufferedBytesMax: 1024 });
  const fleet = new FleetTable(memory, -1);
  const slot = fleet.claim();
  const equal = fleet.claim();
  const other = fleet.claim();
  for (const each of [slot, equal, other]) fleet.setState(each, EndpointState.healthy);
  const time = { ms: 1_000_000 };
  const snapshotWith = (url: string, rest = ''): Snapshot => {
    const endpoints = `{ url: "${url}", sku: h100 }, { url: "http://equal", sku: h100, weight: 2 }, { url: "http://other" }`;
    const text = `{ listeners: [{ name: l, address: "127.0.0.1:0" }], pools: [{ name: p, ${rest} endpoints: [${endpoints}] }] }`;
    const loaded = parseConfig(text, 'f.yaml', {});
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- What is read of it is here.
    return { config: loaded.config, endpointSlots: [[slot, equal, other]] } as unknown as Snapshot;
  };
  let snapshot = snapshotWith('http://a');
  const throughput = new Throughput(memory, fleet, new Clock(() => time.ms), () => snapshot);
  onTestFinished(() => throughput.stop());
  throughput.sample();
  const shards = [new WorkTable(memory, 0), new WorkTable(memory, 1)] as const;
  /** So many tokens a second of each kind, by both shards together. */
  const run = (seconds: number, prompt: number, completion: number, at = slot): void => {
    for (let left = seconds * 1000; left > 0; left -= samplePeriodMs) {
      for (const shard of shards) {
        shard.addPrompt(at, (prompt * samplePeriodMs) / 2000);
        shard.addCompletion(at, (completion * samplePeriodMs) / 2000);
      }
      time.ms += samplePeriodMs;
      throughput.sample();
    }
  };
  const move = (url: string): void => void (snapshot = snapshotWith(url));
  const limit = (rate: number): void => void (snapshot = snapshotWith('http://a', `completion_rate_max: ${rate},`));
  return { throughput, run, move, limit, slot, equal, other, work: shards[0], pending: new FleetTable(memory, 0) };
}

test('throughput: when an endpoint works less than it did, what is left is its headroom', () => {
  const { throughput, run, slot } = watched();
  expect(throughput.of(slot)).toEqual({ prompt: { now: 0, headroom: null }, completion: { now: 0, headroom: null } });
  run(20, 8000, 3000);
  expect(throughput.of(slot).prompt.now).toBe(8000);
  expect(throughput.of(slot).completion.headroom, 'it does its best').toBeLessThan(1);
  run(10, 2000, 500);
  const { prompt, completion } = throughput.of(slot);
  expect([prompt.now, completion.now]).toEqual([2000, 500]);
  expect(prompt.headroom).toBeGreaterThan(5900);
  expect(prompt.headroom).toBeLessThanOrEqual(6000);
  expect(completion.headroom).toBeGreaterThan(2450);
});

test('throughput: when it was at its best long ago, half of that is forgotten in an hour', () => {
  const { throughput, run, slot } = watched();
  run(10, 8000, 0);
  run(3600, 1000, 0);
  expect(throughput.of(slot).prompt.headroom).toBeGreaterThan(2800);
  expect(throughput.of(slot).prompt.headroom).toBeLessThan(3200);
});

test('throughput: when there was a burst shorter than the window, the best is what it made of the window', () => {
  const { throughput, run, slot } = watched();
  run(2, 50_000, 0);
  expect(throughput.of(slot).prompt).toEqual({ now: 50_000, headroom: null });
  run(8, 0, 0);
  expect(throughput.of(slot).prompt.now).toBe(10_000);
  run(20, 0, 0);
  expect(throughput.of(slot).prompt.headroom).toBeLessThanOrEqual(10_000);
});

// It shows in the counts when it is done.
test('throughput: when a long prompt is being computed, there is no room for another', () => {
  const { throughput, run, slot, pending } = watched();
  run(20, 8000, 0);
  run(10, 0, 0);
  expect(throughput.of(slot).prompt.headroom).toBeGreaterThan(7000);
  pending.addPending(slot, 200_000);
  expect(throughput.of(slot).prompt).toEqual({ now: 0, headroom: 0 });
  pending.addPending(slot, -200_000);
});

test('throughput: when another endpoint has the slot, nothing of the one before is said of it', () => {
  const { throughput, run, move, slot } = watched();
  run(20, 8000, 3000);
  move('http://b');
  run(2, 0, 0);
  expect(throughput.of(slot)).toEqual({ prompt: { now: 0, headroom: null }, completion: { now: 0, headroom: null } });
  run(10, 100, 0);
  expect(throughput.of(slot).prompt.now).toBe(100);
});

test('throughput: when counts are taken back, no rate is below 0', () => {
  const { throughput, run, slot } = watched();
  run(10, 0, 100);
  run(10, 0, -50);
  expect(throughput.of(slot).completion.now).toBe(0);
});

test('throughput: when an endpoint was never busy, it has the headroom of those that are like it, by its weight', () => {
  const { throughput, run, slot, equal, other, work } = watched();
  run(20, 4000, 300, slot);
  expect(work.usedRatio(slot), 'nobody was seen to be at its limit').toBeCloseTo(0.3, 2);
  run(20, 16_000, 4000, equal); // Of twice the weight.
  expect(throughput.of(equal).completion.headroom).toBeLessThan(1);
  expect(throughput.of(slot).completion).toEqual({ now: 0, headroom: 2000 });
  expect(throughput.of(slot).prompt.headroom).toBe(8000);
  expect(work.usedRatio(equal), 'it does the best that anybody did').toBe(1);
  run(10, 0, 500, slot);
  expect(work.usedRatio(slot)).toBeCloseTo(0.25, 2);
  expect(throughput.of(other), 'of another kind').toEqual({
    prompt: { now: 0, headroom: null },
    completion: { now: 0, headroom: null },
  });
  expect(work.usedRatio(other)).toBe(0);
});

test('throughput: when an endpoint has requests, shards read how fast it writes for each, and what it has left', () => {
  const { run, limit, slot, equal, work, pending: fleet } = watched();
  expect([work.pace(slot), work.headroom(slot)], 'nothing was seen').toEqual([0, -1]);
  for (let count = 0; count < 4; count++) fleet.tryTakeInflight(slot, 0);
  run(20, 0, 200);
  expect(work.pace(slot)).toBe(50);
  expect(work.headroom(slot)).toBe(0);
  for (let count = 0; count < 4; count++) fleet.giveInflight(slot);
  run(20, 0, 0);
  expect(work.pace(slot), 'of its last requests').toBe(50);
  expect([work.headroom(slot), work.headroom(equal)]).toEqual([199, 399]);
  limit(1000);
  run(10, 0, 300);
  expect([work.usedRatio(slot), work.headroom(slot)]).toEqual([0.3, 700]);
  expect([work.usedRatio(equal), work.headroom(equal)], 'of twice the weight').toEqual([0, 2000]);
});
