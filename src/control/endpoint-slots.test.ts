import { expect, test } from 'vitest';
import { parseConfig } from '../config/index.ts';
import type { Config } from '../config/index.ts';
import { createSharedMemory, EndpointState, FleetTable } from '../shm/index.ts';
import { EndpointSlots } from './endpoint-slots.ts';

function configOf(...urls: string[]): Config {
  const endpoints = urls.map((url) => `{ url: "${url}" }`).join(', ');
  const text = `{ listeners: [{ name: a, address: "127.0.0.1:0" }], pools: [{ name: p, endpoints: [${endpoints}] }] }`;
  const parsed = parseConfig(text, 'test.yaml', {});
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config;
}

function setup(endpointCountMax = 4) {
  const memory = createSharedMemory({ shardCount: 1, endpointCountMax, bufferedBytesMax: 1024 });
  const fleet = new FleetTable(memory, -1);
  return { fleet, shard: new FleetTable(memory, 0), endpointSlots: new EndpointSlots(fleet) };
}

test('endpoint slots: when a reload keeps pool and URL, the slot stays, wherever in the list the endpoint moved', () => {
  const { endpointSlots } = setup();
  const first = endpointSlots.plan(configOf('http://a:1', 'http://b:1'))!;
  endpointSlots.commit(first);
  const second = endpointSlots.plan(configOf('http://c:1', 'http://b:1', 'http://a:1'))!;
  const [[a, b]] = first.endpointSlots as [[number, number]];
  expect(second.endpointSlots[0]!.slice(1)).toEqual([b, a]);
  expect([a, b]).not.toContain(second.endpointSlots[0]![0]);
});

test('endpoint slots: when an endpoint is removed, it drains, and its slot is free once nothing is in flight there', () => {
  const { endpointSlots, fleet, shard } = setup();
  const first = endpointSlots.plan(configOf('http://a:1', 'http://b:1'))!;
  endpointSlots.commit(first);
  const slot = first.endpointSlots[0]![1]!;
  expect(shard.tryTakeInflight(slot, 0)).toBe(true);
  endpointSlots.commit(endpointSlots.plan(configOf('http://a:1'))!);
  expect(fleet.state(slot)).toBe(EndpointState.draining);
  expect(endpointSlots.drainingCount).toBe(1);
  shard.giveInflight(slot);
  endpointSlots.releaseDrained();
  expect(fleet.state(slot)).toBe(EndpointState.free);
  expect(endpointSlots.drainingCount).toBe(0);
});

test('endpoint slots: when a draining endpoint is named again, it has its old slot', () => {
  const { endpointSlots, shard } = setup();
  const first = endpointSlots.plan(configOf('http://a:1', 'http://b:1'))!;
  endpointSlots.commit(first);
  shard.tryTakeInflight(first.endpointSlots[0]![1]!, 0);
  endpointSlots.commit(endpointSlots.plan(configOf('http://a:1'))!);
  const third = endpointSlots.plan(configOf('http://a:1', 'http://b:1'))!;
  expect(third.endpointSlots).toEqual(first.endpointSlots);
  expect(third.added).toEqual([]);
  expect(third.revived).toHaveLength(1);
});

test('endpoint slots: when a plan is rolled back, its new endpoints are gone and the old ones untouched', () => {
  const { endpointSlots, fleet } = setup();
  const first = endpointSlots.plan(configOf('http://a:1'))!;
  endpointSlots.commit(first);
  fleet.setState(first.endpointSlots[0]![0]!, EndpointState.healthy);
  const second = endpointSlots.plan(configOf('http://b:1'))!;
  endpointSlots.rollback(second);
  expect(fleet.state(first.endpointSlots[0]![0]!)).toBe(EndpointState.healthy);
  expect(fleet.state(second.endpointSlots[0]![0]!)).toBe(EndpointState.free);
});

test('endpoint slots: when the table is full, nothing is claimed', () => {
  const { endpointSlots, fleet } = setup(2);
  endpointSlots.commit(endpointSlots.plan(configOf('http://a:1'))!);
  expect(endpointSlots.plan(configOf('http://b:1', 'http://c:1'))).toBeNull();
  expect(fleet.state(1)).toBe(EndpointState.free);
});
