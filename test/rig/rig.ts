import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, expect } from 'vitest';
import { metricById } from '../../src/account/index.ts';
import { parseConfig } from '../../src/config/index.ts';
import { modelRowsOf } from '../../src/control/model-rows.ts';
import { PrefixMemories } from '../../src/control/prefix-memories.ts';
import { bugCounts, Clock } from '../../src/core/index.ts';
import { leaseNames } from '../../src/exchange/index.ts';
import { Shard } from '../../src/shard/index.ts';
import {
  Admission,
  createSharedMemory,
  EndpointState,
  FleetTable,
  Heartbeats,
  SeriesReader,
} from '../../src/shm/index.ts';
import type { SharedMemory } from '../../src/shm/index.ts';
import { RawClient } from './raw-client.ts';
import { ScriptedUpstream } from './scripted-upstream.ts';
import { until } from './until.ts';

export interface RigOptions {
  /** The file but for `listeners`. `$UPSTREAM` (or `$UPSTREAM0`, `$UPSTREAM1`, ...) stands for the upstreams' URLs. */
  readonly yaml?: string;
  /** Keys of the one listener beside its name and address, as YAML flow: `filter_chains: [edge]`. */
  readonly listener?: string;
  readonly upstreamCount?: number;
  /** As in a gateway with so many accept threads, but all in this one, and each on a port of its own. */
  readonly shardCount?: number;
}

/** One pool, everything goes to it, bodies untouched; no retry hides what an attempt met. */
const plainYaml = `
pools:
  - { name: only, engine: none, picker: round_robin, retries: { attempts: 0 }, endpoints: [{ url: "$UPSTREAM" }] }
`;

/** Of `pass`: well below what a shard takes for a gap, on a busy machine too. */
const stepMs = 250;

/** A client paused for memory is not seen to leave before its pause ends, which takes 5 s at the most. */
const idleBoundMs = 7000;

const live: Rig[] = [];

afterEach(async () => {
  const rigs = live.splice(0);
  try {
    for (const each of rigs) await each.assertIdle();
  } finally {
    for (const each of rigs) each.close();
  }
});

/**
 * Real shards, mostly one, in this process between scripted peers. When the test is over the rig asserts by itself that nothing is
 * held any more, and closes everything.
 */
export async function rig(options: RigOptions = {}): Promise<Rig> {
  const upstreams: ScriptedUpstream[] = [];
  for (let count = options.upstreamCount ?? 1; count > 0; count--) upstreams.push(await ScriptedUpstream.listen());
  const yaml = (options.yaml ?? plainYaml).replace(
    /\$UPSTREAM(\d?)/g,
    (_, digit: string) => upstreams[Number(digit)]!.url,
  );
  const extra = options.listener === undefined ? '' : `, ${options.listener}`;
  const text = `listeners: [{ name: public, address: "127.0.0.1:0"${extra} }]\n${yaml}`;
  const loaded = parseConfig(text, `${import.meta.dirname}/rig.yaml`, {});
  if (!loaded.ok) throw new Error(`${JSON.stringify(loaded.problems)}\n${text}`);
  const { config } = loaded;
  // As control does, before the library is loaded.
  process.env['UWS_HTTP_MAX_HEADERS_SIZE'] = String(config.limits.headBytesMax * 2);
  const memory = createSharedMemory({
    shardCount: options.shardCount ?? 1,
    endpointCountMax: 64,
    bufferedBytesMax: config.limits.bufferedBytesMax,
  });
  const fleet = new FleetTable(memory, -1);
  const slots = config.pools.map((pool) =>
    pool.endpoints.map((endpoint) => {
      const slot = fleet.claim();
      fleet.setWeight(slot, endpoint.weight);
      fleet.setState(slot, EndpointState.healthy);
      return slot;
    }),
  );
  const prefixMemories = new PrefixMemories(pino({ level: 'silent' }), () => 0);
  const prefixes = prefixMemories.plan(config);
  prefixMemories.stop();
  const queueRows = config.pools.map((_, index) => index);
  const log: string[] = [];
  const init = {
    memory,
    connectionsMax: config.limits.connectionsMax === 'auto' ? 65_536 : config.limits.connectionsMax,
    snapshot: {
      version: 1,
      config,
      endpointSlots: slots,
      modelRows: modelRowsOf(config),
      prefixes,
      queueRows,
      texts: {},
    },
    logLevel: 'info',
    uwsPath: null,
  };
  const startMs = new Clock().nowMs - performance.now();
  const skip = { ms: 0 };
  const clock = new Clock(() => startMs + performance.now() + skip.ms);
  const shards: Shard[] = [];
  const ports: number[] = [];
  for (let shardIndex = 0; shardIndex < memory.shardCount; shardIndex++) {
    const options = { onLog: (lines: string) => log.push(lines), clock, random: () => 0 };
    const shard = await Shard.create({ ...init, shardIndex }, options);
    shards.push(shard);
    ports.push(...(await shard.listen([0])));
  }
  const made = new Rig(shards, ports, upstreams, fleet, slots.flat(), log, memory, skip);
  live.push(made);
  return made;
}

export class Rig {
  readonly shards: readonly Shard[];
  readonly ports: readonly number[];
  readonly memory: SharedMemory;
  readonly upstreams: readonly ScriptedUpstream[];
  readonly fleet: FleetTable;
  readonly slots: readonly number[];
  /** As control sees it. */
  readonly admission: Admission;
  readonly #series: SeriesReader;
  readonly #skip: { ms: number };
  readonly #heartbeats: Heartbeats;
  readonly #log: string[];
  readonly #clients: RawClient[] = [];

  constructor(
    shards: readonly Shard[],
    ports: readonly number[],
    upstreams: readonly ScriptedUpstream[],
    fleet: FleetTable,
    slots: readonly number[],
    log: string[],
    memory: SharedMemory,
    skip: { ms: number },
  ) {
    this.shards = shards;
    this.ports = ports;
    this.memory = memory;
    this.upstreams = upstreams;
    this.fleet = fleet;
    this.slots = slots;
    this.#log = log;
    this.#skip = skip;
    this.admission = new Admission(memory, -1);
    this.#heartbeats = new Heartbeats(memory);
    this.#series = new SeriesReader(memory);
  }

  /** The one, or the first. */
  get shard(): Shard {
    return this.shards[0]!;
  }

  get port(): number {
    return this.ports[0]!;
  }

  get upstream(): ScriptedUpstream {
    return this.upstreams[0]!;
  }

  /**
   * So much time goes by for the gateway's deadlines. The acceptor's own timers do not see it. In steps, because a shard
   * that finds itself to have stood still for half a second gives that time back.
   */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) {
      const beats = this.shards.map((_, index) => this.#heartbeats.read(index));
      this.#skip.ms += Math.min(left, stepMs);
      const haveSwept = (): boolean => beats.every((beat, index) => this.#heartbeats.read(index) !== beat);
      await until(haveSwept, 'the shards sweep their deadlines');
    }
    await delay(100); // What the last sweep began is over.
  }

  /** The shards find that they have stood still for so long. */
  async standStill(ms: number): Promise<void> {
    this.#skip.ms += ms;
    await this.pass(1);
  }

  async client(shardIndex = 0): Promise<RawClient> {
    const client = await RawClient.connect(this.ports[shardIndex]!);
    this.#clients.push(client);
    return client;
  }

  /** Access-log records so far, in order. */
  accessLog(): {
    readonly reason: string;
    readonly status: number;
    readonly retries: number;
    readonly replay_skipped?: string;
    readonly detail?: string;
  }[] {
    const lines = this.#log.join('').split('\n');
    return lines.filter((line) => line.includes('"msg":"access"')).map((line) => JSON.parse(line) as never);
  }

  /** Waits for the `count`th exchange to be over; returns why the last one ended. */
  async closeReason(count = 1): Promise<string> {
    await until(() => this.accessLog().length >= count, `${count} exchanges are over`);
    return this.accessLog().at(-1)!.reason;
  }

  /** Counters of that name which are not 0, by their labels. */
  counts(name: string): Record<string, number> {
    const { counters } = this.#series.collect();
    const named = counters.filter(({ metricId, total }) => metricById(metricId).name === name && total !== 0);
    return Object.fromEntries(named.map(({ labels, total }) => [labels.join(' '), total]));
  }

  /** Requests at each endpoint, as all shards count them. */
  inflight(): number[] {
    return this.slots.map((slot) => this.fleet.inflight(slot));
  }

  /** The phases of the open exchanges. */
  phases(): string[] {
    return this.shards.flatMap((shard) => shard.exchanges()).map((exchange) => exchange.phase);
  }

  /** Waits until the one open exchange is in `phase`. */
  async inPhase(phase: string): Promise<void> {
    await until(
      () => this.phases().includes(phase),
      `an exchange is ${phase}`,
      5000,
      () => this.phases(),
    );
  }

  /** Everything the shards' books show as held, which is nothing when they are idle. */
  held(): Record<string, number> {
    const held: Record<string, number> = {};
    const note = (name: string, count: number): void => {
      if (count !== 0) held[name] = count;
    };
    for (const { state } of this.shards) {
      const { parts, open, runtime } = state;
      leaseNames.forEach((name, kind) => note(`lease ${name}`, parts.leases.open(kind as never)));
      note('slabs', parts.slabs.inUse);
      note('budget', parts.budget.used());
      for (const { clocks } of runtime.pools) clocks.forEach((clock) => note('requests of a busy clock', clock.count));
      note('open exchanges', open.length);
      note('admitted requests', parts.admission.requests());
    }
    for (const row of this.shard.state.runtime.pools.map((pool) => pool.waitingRoom.order.row)) {
      note(`waiting in row ${row}`, this.shard.state.parts.queues.requests(row));
      note(`bytes in row ${row}`, this.shard.state.parts.queues.kib(row));
    }
    for (const slot of this.slots) {
      note(`inflight of ${slot}`, this.fleet.inflight(slot));
      note(`tokens of ${slot}`, this.fleet.inflightTokens(slot));
      note(`pending tokens of ${slot}`, this.fleet.pendingTokens(slot));
    }
    for (const [code, count] of bugCounts) note(`bug ${code}`, count);
    return held;
  }

  /** No open lease, no slab out, no armed deadline, no bug counted; waits for what is on its way. */
  async assertIdle(): Promise<void> {
    for (const client of this.#clients) if (!client.socket.destroyed && !client.isEnded) client.destroy();
    await until(
      () => Object.keys(this.held()).length === 0,
      'the gateway is idle',
      idleBoundMs,
      () => this.held(),
    ).catch(() => {});
    expect(this.held(), 'held by an idle gateway').toEqual({});
  }

  close(): void {
    for (const client of this.#clients) client.destroy();
    for (const shard of this.shards) shard.close();
    for (const upstream of this.upstreams) upstream.close();
    bugCounts.clear();
  }
}
