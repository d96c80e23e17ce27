import { expect, test } from 'vitest';
import { parseConfig } from '../config/index.ts';
import type { Config } from '../config/index.ts';
import { createSharedMemory, EndpointState, FleetTable } from '../shm/index.ts';
import { EndpointRegistry } from './endpoint-registry.ts';

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
  return { fleet, shard: new FleetTable(memory, 0), registry: new EndpointRegistry(fleet) };
}

test('registry: when a reload keeps pool and URL, the slot stays, wherever in the list the endpoint moved', () => {
  const { registry } = setup();
  const first = registry.plan(configOf('http://a:1', 'http://b:1'))!;
  registry.commit(first);
  const second = registry.plan(configOf('http://c:1', 'http://b:1', 'http://a:1'))!;
  const [[a, b]] = first.endpointSlots as [[number, number]];
  expect(second.endpointSlots[0]!.slice(1)).toEqual([b, a]);
  expect([a, b]).not.toContain(second.endpointSlots[0]![0]);
});

test('registry: when an endpoint is removed, it drains, and its slot is free once nothing is in flight there', () => {
  const { registry, fleet, shard } = setup();
  const first = registry.plan(configOf('http://a:1', 'http://b:1'))!;
  registry.commit(first);
  const slot = first.endpointSlots[0]![1]!;
  expect(shard.tryTakeInflight(slot, 0)).toBe(true);
  registry.commit(registry.plan(configOf('http://a:1'))!);
  expect(fleet.state(slot)).toBe(EndpointState.draining);
  expect(registry.drainingCount).toBe(1);
  shard.giveInflight(slot);
  registry.releaseDrained();
  expect(fleet.state(slot)).toBe(EndpointState.free);
  expect(registry.drainingCount).toBe(0);
});

test('registry: when a draining endpoint is named again, it has its old slot', () => {
  const { registry, shard } = setup();
  const first = registry.plan(configOf('http://a:1', 'http://b:1'))!;
  registry.commit(first);
  shard.tryTakeInflight(first.endpointSlots[0]![1]!, 0);
  registry.commit(registry.plan(configOf('http://a:1'))!);
  const third = registry.plan(configOf('http://a:1', 'http://b:1'))!;
  expect(third.endpointSlots).toEqual(first.endpointSlots);
  expect(third.added).toEqual([]);
  expect(third.revived).toHaveLength(1);
});

test('registry: when a plan is rolled back, its new endpoints are gone and the old ones untouched', () => {
  const { registry, fleet } = setup();
  const first = registry.plan(configOf('http://a:1'))!;
  registry.commit(first);
  fleet.setState(first.endpointSlots[0]![0]!, EndpointState.healthy);
  const second = registry.plan(configOf('http://b:1'))!;
  registry.rollback(second);
  expect(fleet.state(first.endpointSlots[0]![0]!)).toBe(EndpointState.healthy);
  expect(fleet.state(second.endpointSlots[0]![0]!)).toBe(EndpointState.free);
});

test('registry: when the table is full, nothing is claimed', () => {
  const { registry, fleet } = setup(2);
  registry.commit(registry.plan(configOf('http://a:1'))!);
  expect(registry.plan(configOf('http://b:1', 'http://c:1'))).toBeNull();
  expect(fleet.state(1)).toBe(EndpointState.free);
});
