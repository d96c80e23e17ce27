import { expect, test } from 'vitest';
import { Admission } from './admission.ts';
import { createSharedMemory } from './memory.ts';

function shards(count: number): { control: Admission; shards: Admission[] } {
  const memory = createSharedMemory({ shardCount: count, endpointCountMax: 1, bufferedBytesMax: 1024 });
  return {
    control: new Admission(memory, -1),
    shards: Array.from({ length: count }, (_, index) => new Admission(memory, index)),
  };
}

const v4 = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);

test('admission: when several shards count, each sees the total, and a dead one takes its share with it', () => {
  const { control, shards: all } = shards(3);
  for (const [index, shard] of all.entries()) {
    shard.addConnections(index + 1);
    shard.setRequests(10 * (index + 1));
  }
  all[2]!.addConnections(-1);
  expect(all.map((shard) => [shard.connections(), shard.requests()])).toEqual(Array.from({ length: 3 }, () => [5, 60]));
  control.reclaimShard(1);
  expect([control.connections(), control.requests()]).toEqual([3, 40]);
});

test('admission: when connections of an address come and go in two shards, the count is of both, and 0 in the end', () => {
  const { control, shards: all } = shards(2);
  const key = all[0]!.addressKey(v4(10, 0, 0, 1));
  for (const shard of all) for (let count = 0; count < 3; count++) shard.addAddress(key, 1);
  expect(all[1]!.addressConnections(key)).toBe(6);
  for (let count = 0; count < 3; count++) all[0]!.addAddress(key, -1);
  expect(all[0]!.addressConnections(key)).toBe(3);
  control.reclaimShard(1);
  expect(all[0]!.addressConnections(key)).toBe(0);
});

test('admission: when 20 000 addresses have a connection each, hardly any is taken for busier than it is', () => {
  const { shards: all } = shards(1);
  const shard = all[0]!;
  const keys = Array.from({ length: 20_000 }, (_, n) => shard.addressKey(v4(172, n >> 16, (n >> 8) & 255, n & 255)));
  for (const key of keys) shard.addAddress(key, 1);
  expect(keys.filter((key) => shard.addressConnections(key) > 8).length).toBe(0);
  for (const key of keys) shard.addAddress(key, -1);
  expect(keys.every((key) => shard.addressConnections(key) === 0)).toBe(true);
});

// One customer has a /64; a dual-stack socket shows IPv4 addresses in their IPv6 form.
test('admission: when addresses belong together, they are counted together', () => {
  const { shards: all } = shards(1);
  const shard = all[0]!;
  const v6 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));
  const one = shard.addressKey(v6('20010db8000000010000000000000001'));
  expect(shard.addressKey(v6('20010db80000000100ff00000000beef'))).toBe(one);
  expect(shard.addressKey(v6('20010db8000000020000000000000001'))).not.toBe(one);
  expect(shard.addressKey(v6('00000000000000000000ffff0a000001'))).toBe(shard.addressKey(v4(10, 0, 0, 1)));
});

test('admission: when control says how short memory is, shards read it', () => {
  const { control, shards: all } = shards(2);
  expect(all[1]!.memoryPercent()).toBe(0);
  control.setMemoryPercent(93.4);
  expect(all[1]!.memoryPercent()).toBe(93);
});
