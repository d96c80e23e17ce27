import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { parseConfig } from '../../config/index.ts';
import { createSharedMemory, FleetTable, PromptSecret } from '../../shm/index.ts';
import { PrefixMemories } from '../prefix-memories.ts';
import { BatchReader, endpointId } from './batch.ts';
import { emptyCounts } from './counts.ts';
import { Directory } from './directory.ts';
import { Sender } from './sender.ts';

test('sender: when every endpoint of the largest configuration has something to do, all of it is told', () => {
  const urls = Array.from({ length: 1024 }, (_, index) => `http://e${index}:1`);
  const loaded = parseConfig(
    `listeners: [{ name: l, address: "127.0.0.1:0" }]\npools: [{ name: p, endpoints: [${urls.map((url) => `{ url: "${url}" }`).join(', ')}] }]`,
    'sender.yaml',
    {},
  );
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const memory = createSharedMemory({ shardCount: 1, endpointCountMax: urls.length, bufferedBytesMax: 1 });
  const fleet = new FleetTable(memory, -1);
  const shard = new FleetTable(memory, 0);
  const memories = new PrefixMemories(pino({ level: 'silent' }), () => 0);
  onTestFinished(() => memories.stop());
  const slots = urls.map(() => fleet.claim());
  for (const slot of slots) shard.tryTakeInflight(slot, 0);
  const directory = new Directory();
  directory.rebuild(loaded.config, [slots], memories);
  const secret = new PromptSecret(memory.promptSecret);
  const sender = new Sender({ gateway: 1, journals: [], directory, memories, fleet, secret, counts: emptyCounts() });
  const batch = new BatchReader();
  expect(batch.open(sender.load())).toBe(true);
  const told = new Map<number, number>();
  while (batch.next()) told.set(batch.endpoint, batch.load.inflight);
  expect(batch.isMalformed).toBe(false);
  expect(told).toEqual(new Map(urls.map((url) => [endpointId('p', url), 1])));
});
