import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { type Config, parseConfig } from '../../config/index.ts';
import {
  createSharedMemory,
  FleetTable,
  PrefixIndex,
  PrefixJournalWriter,
  PromptSecret,
  SeriesWriter,
  type SharedMemory,
} from '../../shm/index.ts';
import { engineLoad } from '../fixtures/engine-load.ts';
import { PrefixMemories } from '../prefix-memories.ts';
import { Sharing } from './sharing.ts';
import type { SharedStore, StoreEntry, StoreLink, StreamName } from './store.ts';

/** Streams in this process, with what can go wrong with a store. */
class FakeStore implements SharedStore {
  readonly streams: Record<StreamName, StoreEntry[]> = { blocks: [], loads: [] };
  secret: string | null = null;
  isAway = false;
  /** Answers nothing that is written. */
  isStuck = false;
  connectCount = 0;
  readonly #links = new Set<() => void>();
  #number = 0;
  #onEntry = new Set<() => void>();

  connect(): Promise<StoreLink> {
    this.connectCount++;
    if (this.isAway) return Promise.reject(new Error('refused'));
    let isOver = false;
    const over = new Set<() => void>();
    const check = async (): Promise<void> => {
      await Promise.resolve();
      if (isOver) throw new Error('over');
    };
    const close = (): void => {
      isOver = true;
      for (const wake of over) wake();
    };
    this.#links.add(close);
    const after = (stream: StreamName, id: string): StoreEntry[] => {
      const number = (each: string): number => Number(each.split('-')[1]);
      return this.streams[stream].filter((entry) => number(entry.id) > number(id));
    };
    return Promise.resolve({
      agreeOn: async (value) => {
        await check();
        return (this.secret ??= value);
      },
      append: async (stream, batch) => {
        await check();
        if (this.isStuck) return new Promise(() => {});
        this.streams[stream].push({ id: `0-${++this.#number}`, batch });
        for (const wake of this.#onEntry) wake();
      },
      idOfAge: () => Promise.resolve('0-0'),
      lastId: async (stream) => {
        await check();
        return this.streams[stream].at(-1)?.id ?? '0-0';
      },
      range: async (stream, afterId, count) => {
        await check();
        return after(stream, afterId).slice(0, count);
      },
      read: async (ids) => {
        for (;;) {
          await check();
          const found = { blocks: after('blocks', ids.blocks), loads: after('loads', ids.loads) };
          if (found.blocks.length + found.loads.length > 0) return found;
          await new Promise<void>((resolve) => {
            this.#onEntry.add(resolve);
            over.add(resolve);
          });
        }
      },
      close,
    });
  }

  goAway(): void {
    this.isAway = true;
    for (const close of this.#links) close();
  }
}

interface Peer {
  readonly sharing: Sharing;
  readonly memory: SharedMemory;
  readonly fleet: FleetTable;
  readonly secret: PromptSecret;
  readonly memories: PrefixMemories;
  readonly index: PrefixIndex;
  readonly ordinal: (name: string) => number;
  readonly journal: PrefixJournalWriter;
  readonly slots: readonly number[];
  readonly log: string[];
}

const peers: Peer[] = [];

afterEach(() => {
  for (const { sharing, memories } of peers.splice(0)) {
    sharing.stop();
    memories.stop();
  }
});

function configOf(names: readonly string[]): Config {
  const endpoints = names.map((name) => `{ url: "http://${name}:1" }`).join(', ');
  const text = `listeners: [{ name: l, address: "127.0.0.1:0" }]
pools: [{ name: fleet, endpoints: [${endpoints}] }]`;
  const loaded = parseConfig(text, '/f.yaml', {});
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return loaded.config;
}

async function peer(store: SharedStore, names: readonly string[], hashSeed: number): Promise<Peer> {
  const memory = createSharedMemory({
    shardCount: 1,
    endpointCountMax: 8,
    bufferedBytesMax: 1,
    hashSeed,
    isSharing: true,
  });
  const log: string[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => void log.push(line) });
  const fleet = new FleetTable(memory, -1);
  const memories = new PrefixMemories(logger, () => 0);
  const config = configOf(names);
  const [prefixes] = memories.plan(config);
  const slots = names.map(() => fleet.claim());
  const sharing = new Sharing({ store, memory, fleet, memories, series: new SeriesWriter(memory, -1), log: logger });
  sharing.plan({ config, endpointSlots: [slots] });
  const made: Peer = {
    sharing,
    memory,
    fleet,
    secret: new PromptSecret(memory.promptSecret),
    memories,
    index: new PrefixIndex(prefixes!.memory),
    ordinal: (name) => prefixes!.ordinals[names.indexOf(name)]!,
    journal: new PrefixJournalWriter(memory.journals[0]!),
    slots,
    log,
  };
  peers.push(made);
  await sharing.start();
  return made;
}

const keys = (first: number) => ({
  count: 3,
  lows: Int32Array.of(first, first + 1, first + 2),
  highs: Int32Array.of(5, 6, 7),
  ends: Int32Array.of(512, 1024, 1500),
});

/** As a shard does with a prompt that it sends there. */
function send({ index, journal, secret, ordinal }: Peer, name: string, first: number): void {
  journal.begin(0, ordinal(name), secret.value);
  index.insert(keys(first), ordinal(name), journal);
  journal.end();
}

/** Bytes of the prompt that the endpoint is believed to hold. */
function matched({ index, ordinal }: Peer, name: string, first: number): number {
  const found = new Int32Array(256);
  index.lookup(keys(first), found);
  return found[ordinal(name)]!;
}

const soon = <T>(read: () => T): ReturnType<typeof expect.poll> => expect.poll(read, { interval: 5 });

test('sharing: when one learns, the other knows it of the same endpoint, in whatever order it has them', async () => {
  const store = new FakeStore();
  const one = await peer(store, ['a', 'b', 'c'], 1);
  const other = await peer(store, ['c', 'x', 'a'], 2);
  expect([one.sharing.isUp, other.sharing.isUp]).toEqual([true, true]);
  expect(other.secret.value, 'that of the first').toBe(1);
  send(one, 'a', 100);
  send(one, 'c', 200);
  send(one, 'b', 300);
  await soon(() => matched(other, 'c', 200)).toBe(1500);
  expect(matched(other, 'a', 100)).toBe(1500);
  expect([matched(other, 'x', 300), matched(other, 'a', 200)], 'nobody else').toEqual([0, 0]);
  expect(other.sharing.counts.keys).toMatchObject({ received: 6, unknown: 3 });
  expect(one.sharing.counts.keys).toMatchObject({ sent: 9, received: 0 });
  await soon(() => one.sharing.lagMs).not.toBeNull();
});

test('sharing: when a gateway comes later, it learns the history, with the secret of those before it', async () => {
  const store = new FakeStore();
  const one = await peer(store, ['a', 'b'], 1);
  send(one, 'a', 100);
  await soon(() => one.sharing.counts.batches.sent).toBeGreaterThan(0);
  await soon(() => store.streams.blocks.length).toBe(1);
  const late = await peer(store, ['a', 'b'], 2);
  expect(matched(late, 'a', 100)).toBe(1500);
});

test('sharing: when a shard still uses keys of another secret, nobody is told of them', async () => {
  const store = new FakeStore();
  const one = await peer(store, ['a', 'b'], 1);
  one.journal.begin(0, one.ordinal('a'), 5);
  one.journal.add(1, 2, 3);
  one.journal.end();
  send(one, 'a', 100);
  await soon(() => one.sharing.counts.keys.sent).toBe(3);
  expect(one.sharing.counts.keys.dropped).toBe(1);
});

test('sharing: when the store goes away and comes back, what was learned stays, and what comes then is shared', async () => {
  const store = new FakeStore();
  const one = await peer(store, ['a', 'b'], 1);
  const other = await peer(store, ['a', 'b'], 2);
  send(one, 'a', 100);
  await soon(() => matched(other, 'a', 100)).toBe(1500);
  store.goAway();
  await soon(() => [one.sharing.isUp, other.sharing.isUp]).toEqual([false, false]);
  send(one, 'b', 200);
  await soon(() => one.sharing.counts.keys.dropped).toBe(3);
  expect(matched(other, 'a', 100)).toBe(1500);
  store.isAway = false;
  await soon(() => [one.sharing.isUp, other.sharing.isUp]).toEqual([true, true]);
  send(one, 'b', 300);
  await soon(() => matched(other, 'b', 300)).toBe(1500);
  expect(matched(other, 'b', 200), 'said while nobody listened').toBe(0);
  expect(one.log.filter((line) => line.includes('store is away') && line.includes('"level":40')).length).toBe(1);
});

test('sharing: when the store is away at the start, it does not wait; later it takes the secret over and begins anew', async () => {
  const store = new FakeStore();
  const one = await peer(store, ['a', 'b'], 1);
  send(one, 'a', 100);
  await soon(() => store.streams.blocks.length).toBe(1);
  store.isAway = true;
  const late = await peer(store, ['a', 'b'], 2);
  expect([late.sharing.isUp, late.secret.value]).toEqual([false, 2]);
  send(late, 'b', 500);
  store.isAway = false;
  await soon(() => late.sharing.isUp).toBe(true);
  expect(late.secret.value).toBe(1);
  expect(matched(late, 'b', 500), 'made with the other secret').toBe(0);
  expect(matched(late, 'a', 100)).toBe(1500);
});

test('sharing: when the secret in the store is none of a gateway, everybody goes on alone', async () => {
  const store = new FakeStore();
  store.secret = 'hello';
  const one = await peer(store, ['a', 'b'], 1);
  expect([one.sharing.isUp, one.secret.value]).toEqual([false, 1]);
});

test('sharing: when the store confirms nothing, no more than a bounded number of batches is on its way', async () => {
  const store = new FakeStore();
  const one = await peer(store, ['a', 'b'], 1);
  store.isStuck = true;
  let first = 0;
  await soon(() => {
    send(one, 'a', (first += 10));
    return one.sharing.counts.keys.sent;
  }).toBeGreaterThan(20);
  for (let turn = 0; turn < 10_000; turn++) send(one, 'a', (first += 10));
  await soon(() => one.sharing.lostCount).toBeGreaterThan(0);
});

test('sharing: when a peer says what it has, pickers see it added, limits do not, and it is gone a second after its last word', async () => {
  const store = new FakeStore();
  const one = await peer(store, ['a', 'b'], 1);
  const other = await peer(store, ['b', 'a'], 2);
  const shard = new FleetTable(one.memory, 0);
  const slot = one.slots[1]!;
  const seenAt = other.slots[0]!;
  shard.tryTakeInflight(slot, 0);
  shard.addTokens(slot, 70);
  shard.addPending(slot, 50);
  await soon(() => other.fleet.peers.pendingTokens(seenAt)).toBe(50);
  expect([other.fleet.peers.inflight(seenAt), other.fleet.peers.inflightTokens(seenAt)]).toEqual([1, 70]);
  expect(other.fleet.inflight(seenAt)).toBe(0);
  expect(one.fleet.peers.inflight(slot), 'its own it knows').toBe(0);
  await soon(() => [one.sharing.peerCount, other.sharing.peerCount]).toEqual([1, 1]);
  one.sharing.stop();
  await soon(() => other.sharing.peerCount).toBe(0);
  expect(other.fleet.peers.pendingTokens(seenAt)).toBe(0);
});

test('sharing: when one sees an endpoint restarted, the other forgets it once, and takes no word of the life before', async () => {
  const store = new FakeStore();
  const one = await peer(store, ['a', 'b'], 1);
  const other = await peer(store, ['a', 'b'], 2);
  const scrape = (startedAtSeconds: number) => engineLoad({ startedAtSeconds });
  one.memories.note('fleet', 'http://a:1', scrape(10));
  send(one, 'a', 100);
  await soon(() => matched(other, 'a', 100)).toBe(1500);
  expect(other.memories.startedAt('fleet', 'http://a:1')).toBe(10);
  one.memories.note('fleet', 'http://a:1', scrape(20));
  await soon(() => matched(other, 'a', 100)).toBe(0);
  send(other, 'a', 200);
  await soon(() => matched(one, 'a', 200)).toBe(1500);
  other.memories.note('fleet', 'http://a:1', scrape(20));
  expect(matched(other, 'a', 200), 'it has been forgotten already').toBe(1500);
  // Who has not noticed yet sends what it believes of the process before.
  const third = await peer(store, ['a', 'b'], 3);
  third.memories.note('fleet', 'http://a:1', scrape(10));
  send(third, 'a', 300);
  await soon(() => one.sharing.counts.keys.stale).toBe(3);
  expect(matched(one, 'a', 300)).toBe(0);
});

test('sharing: when an endpoint contradicts what is believed of it, and one gateway forgets it, the other does too', async () => {
  const store = new FakeStore();
  const one = await peer(store, ['a', 'b'], 1);
  const other = await peer(store, ['a', 'b'], 2);
  send(one, 'a', 100);
  await soon(() => matched(other, 'a', 100)).toBe(1500);
  one.journal.forget(0, one.ordinal('a'));
  await soon(() => matched(other, 'a', 100)).toBe(0);
});

test('sharing: when answers come into a cache, the other gateway lets them push out what is older', async () => {
  const store = new FakeStore();
  const one = await peer(store, ['a', 'b'], 1);
  const other = await peer(store, ['a', 'b'], 2);
  send(one, 'a', 100);
  await soon(() => matched(other, 'a', 100)).toBe(1500);
  one.journal.unnamed(0, one.ordinal('a'), 2 ** 31 - 1);
  await soon(() => matched(other, 'a', 100)).toBe(0);
});
