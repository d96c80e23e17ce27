import { pino } from 'pino';
import { onTestFinished, expect, test } from 'vitest';
import { parseConfig } from '../../config/index.ts';
import { createSharedMemory, FleetTable } from '../../shm/index.ts';
import { KvEventPublisher } from '../../sim/kv-events.ts';
import { until } from '../fixtures/until.ts';
import { PrefixMemories } from '../prefix-memories.ts';
import { KvEvents } from './kv-events.ts';

async function publisher(): Promise<KvEventPublisher> {
  const made = new KvEventPublisher({
    host: '127.0.0.1',
    port: 0,
    replayPort: null,
    topic: '',
    blockSize: 16,
    keptBatches: 10,
    form: 'array',
    unixMs: () => 0,
  });
  await made.listen();
  onTestFinished(() => made.close());
  return made;
}

test('KV events: when gateways that share have requests at an endpoint, what it stores for them is not foreign', async () => {
  const publishers = [await publisher(), await publisher()];
  const endpoints = publishers.map(
    ({ port }, at) => `{ url: "http://e${at}:1", kv_events_urls: ["tcp://127.0.0.1:${port}"] }`,
  );
  const loaded = parseConfig(
    `listeners: [{ name: l, address: "127.0.0.1:0" }]\npools: [{ name: p, endpoints: [${endpoints.join(', ')}] }]`,
    'events.yaml',
    {},
  );
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const log = pino({ level: 'silent' });
  const fleet = new FleetTable(createSharedMemory({ shardCount: 1, endpointCountMax: 2, bufferedBytesMax: 1 }), -1);
  const prefixes = new PrefixMemories(log, () => 0);
  prefixes.plan(loaded.config);
  const kvEvents = new KvEvents({ log, prefixes, fleet });
  onTestFinished(() => {
    kvEvents.stop();
    prefixes.stop();
  });
  const pool = loaded.config.pools[0]!;
  const targets = pool.endpoints.map((endpoint) => ({ slot: fleet.claim(), pool, endpoint }));
  const [shared, alone] = targets.map(({ slot }) => slot);
  fleet.peers.set(shared!, { inflight: 10, inflightTokens: 0, pendingTokens: 0 });
  kvEvents.watch(targets);
  await until('both are followed', () => publishers.every(({ subscriberCount }) => subscriberCount === 1));
  // One after the other: when the second has been looked at, so has the first.
  for (const [at, each] of publishers.entries()) {
    each.onStored(
      Array.from({ length: 100 }, (_, key) => key + 1),
      0,
      [],
    );
    each.flush();
    await until('it is heard', () => kvEvents.status(targets[at]!.slot)!.events.stored === 1);
  }
  await until('what nobody sent there is foreign', () => kvEvents.status(alone!)!.foreign_tokens === 1600);
  expect(kvEvents.status(shared!)!.foreign_tokens).toBe(0);
});
