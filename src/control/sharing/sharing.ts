import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { histogramCell } from '../../account/metric-cells.ts';
import { metrics } from '../../account/metrics.ts';
import type { Snapshot } from '../../shard/protocol.ts';
import { type FleetTable, PrefixJournalReader, PromptSecret } from '../../shm/index.ts';
import type { SeriesWriter, SharedMemory } from '../../shm/index.ts';
import { Backoff } from '../backoff.ts';
import type { PrefixMemories } from '../prefix-memories.ts';
import { emptyCounts } from './counts.ts';
import { Directory } from './directory.ts';
import { PeerTable } from './peer-table.ts';
import { Receiver } from './receiver.ts';
import { Sender } from './sender.ts';
import type { SharedStore, StoreEntry, StoreLink } from './store.ts';

/**
 * Gateways that route as one. Each tells the others, through a store, which endpoint it sent which blocks of prompts and what it has
 * there; all make the keys of prompts with one secret. No request waits for any of it:
 *
 *     shards ──journals──▶ Sender ──▶ store ──▶ Receiver ──▶ prefix indexes, loads of peers ──▶ shards
 *
 *     away ──connect, agree on the secret, catch up──▶ up ──anything fails──▶ away ──backoff──▶ ...
 *
 * While the store is away everybody goes on alone: what was learned stays, loads of the others are forgotten after a second, what
 * would have been told is dropped. With a secret other than that of the others nothing that they say can be used, so the
 * one that all agree on is taken over whenever the store is reached, and what is known of caches begins anew.
 */
export interface SharingOptions {
  readonly store: SharedStore;
  readonly memory: SharedMemory;
  readonly fleet: FleetTable;
  readonly memories: PrefixMemories;
  readonly series: SeriesWriter;
  readonly log: Logger;
}

const tickMs = 50;
/** Loads are told every fourth tick. */
const ticksPerLoad = 4;
/** The secret is looked at again: somebody may have emptied the store. */
const ticksPerSecret = 100;
/** In one tick: 2.6 MB a second, 20 times what a busy gateway says. */
const batchesPerTick = 8;
/** Written and not confirmed: a store that does not keep up is told less. */
const openAppendsMax = 32;
/** Entries kept in the store: 200 s of four gateways, at most 256 MiB. */
const blocksKept = 16_384;
const loadsKept = 128;
/** What is older says little of what caches hold. */
const historyMs = 300_000;
const entriesPerRead = 64;
const readWaitMs = 1000;
/** Between two reads, so that batches of several gateways come together: with each by itself, waking up costs more than what is in it. */
const readGapMs = 25;
/** Of control's event loop at once: it also answers, checks and supervises. */
const sliceMs = 2;
/** A start waits no longer for a store that neither answers nor refuses. */
const startWaitMs = 1000;
const backoffRule = { firstMs: 250, maxMs: 2000, healthyMs: 10_000 };
/** Batches on their way whose time is kept; more are never open. */
const sentTimesMask = 1023;

export class Sharing {
  readonly counts = emptyCounts();
  readonly #options: SharingOptions;
  readonly #gateway = randomBytes(6).readUIntLE(0, 6);
  readonly #secret: PromptSecret;
  readonly #directory = new Directory();
  readonly #journals: readonly PrefixJournalReader[];
  readonly #peers: PeerTable;
  readonly #sender: Sender;
  readonly #receiver: Receiver;
  readonly #backoff = new Backoff(backoffRule);
  readonly #lag: number;
  readonly #sentMs = new Float64Array(sentTimesMask + 1);
  readonly #stopping = new AbortController();
  #timer: NodeJS.Timeout | null = null;
  #link: StoreLink | null = null;
  #isUp = false;
  #lagMs: number | null = null;
  #openAppends = 0;
  #ticks = 0;
  /** Everything up to here is known; null: begin with the history. */
  #afterId: string | null = null;
  /** A failure has been logged, and no success since. */
  #isFailing = false;
  /** The first attempt is over. */
  #onFirst: () => void = () => {};

  constructor(options: SharingOptions) {
    const { memory, fleet, memories, series } = options;
    this.#options = options;
    this.#secret = new PromptSecret(memory.promptSecret);
    this.#journals = memory.journals.map((journal) => new PrefixJournalReader(journal));
    this.#peers = new PeerTable(fleet.peers);
    this.#lag = histogramCell(series, metrics.sharingLag, []);
    const common = { gateway: this.#gateway, directory: this.#directory, memories, counts: this.counts };
    this.#sender = new Sender({ ...common, journals: this.#journals, fleet, secret: this.#secret });
    this.#receiver = new Receiver({ ...common, peers: this.#peers, onOwn: (sequence) => this.#noteLag(sequence) });
    memories.onRestart = (pool, url) => this.#onRestart(pool, url);
  }

  /** Whether what others do is learned, and what is done here is told. */
  get isUp(): boolean {
    return this.#isUp;
  }

  /** Other gateways that were heard of within a second. */
  get peerCount(): number {
    return this.#peers.count;
  }

  /** From a batch being sent to its being back, the last time; null before the first. */
  get lagMs(): number | null {
    return this.#lagMs;
  }

  /** Blocks that did not fit the journals. */
  get lostCount(): number {
    return this.#journals.reduce((sum, journal) => sum + journal.lostCount, 0);
  }

  /** A configuration comes into force. */
  plan({ config, endpointSlots }: Pick<Snapshot, 'config' | 'endpointSlots'>): void {
    this.#directory.rebuild(config, endpointSlots, this.#options.memories);
    this.#peers.renew();
  }

  /** Resolves when the secret is agreed on and the history is known, or when the store is found to be away. Never rejects. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => this.#tick(), tickMs).unref();
    const first = new Promise<void>((resolve) => {
      this.#onFirst = resolve;
    });
    void this.#run();
    const { signal } = this.#stopping;
    await Promise.race([first, sleep(startWaitMs, undefined, { signal }).catch(() => {})]);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#stopping.abort();
    this.#link?.close();
  }

  /** Until it is stopped: a link after the other. */
  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      let upMs = 0;
      try {
        const link = await this.#options.store.connect();
        this.#link = link;
        if (signal.aborted) link.close();
        await this.#catchUp(link);
        upMs = performance.now();
        this.#becomeUp();
        await this.#listen(link);
      } catch (error) {
        if (!signal.aborted) this.#becomeAway(error);
      }
      this.#link?.close();
      this.#link = null;
      this.#isUp = false;
      const waitMs = this.#backoff.nextMs(upMs === 0 ? 0 : performance.now() - upMs);
      await sleep(waitMs, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  #becomeUp(): void {
    this.#isUp = true;
    this.#isFailing = false;
    this.#options.log.info({ keys_received: this.counts.keys.received }, 'what is learned is shared');
    this.#onFirst();
  }

  #becomeAway(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    const log = this.#isFailing ? 'debug' : 'warn';
    this.#isFailing = true;
    this.#options.log[log]({ reason }, 'shared store is away: what is learned is not shared');
    this.#onFirst();
  }

  /** The common secret, then all that was written since this gateway last read. */
  async #catchUp(link: StoreLink): Promise<void> {
    this.#adopt(await link.agreeOn(textOf(this.#secret.value)));
    const lastId = await link.lastId('blocks');
    let afterId = this.#afterId ?? (await link.idOfAge(historyMs));
    // A store that begins anew may count from an earlier time.
    if (isBefore(lastId, afterId)) afterId = lastId;
    for (;;) {
      const entries = await link.range('blocks', afterId, entriesPerRead);
      if (entries.length === 0) break;
      await this.#learn(entries);
      afterId = entries.at(-1)!.id;
    }
    this.#afterId = afterId;
  }

  #adopt(agreed: string): void {
    const value = /^[0-9a-f]{8}$/.test(agreed) ? Number.parseInt(agreed, 16) : -1;
    if (!(value >= 0 && value < 2 ** 31)) throw new Error('the secret in the store is not one of a gateway');
    if (value === this.#secret.value) return;
    this.#secret.set(value);
    this.#options.memories.forgetAll();
    this.#afterId = null;
    this.#options.log.info('keys of prompts are made with the shared secret: what caches hold is learned anew');
  }

  /** Returns only by throwing: when the link is over. */
  async #listen(link: StoreLink): Promise<never> {
    let loadsId = await link.lastId('loads');
    for (;;) {
      const { blocks, loads } = await link.read({ blocks: this.#afterId!, loads: loadsId }, entriesPerRead, readWaitMs);
      for (const { batch } of loads) this.#receiver.hear(batch, performance.now());
      loadsId = loads.at(-1)?.id ?? loadsId;
      await this.#learn(blocks);
      this.#afterId = blocks.at(-1)?.id ?? this.#afterId;
      // A full answer may not be all there is.
      if (blocks.length < entriesPerRead) await sleep(readGapMs, undefined, { ref: false });
    }
  }

  async #learn(entries: readonly StoreEntry[]): Promise<void> {
    let startMs = performance.now();
    for (const { batch } of entries) {
      this.#receiver.learn(batch);
      if (performance.now() - startMs < sliceMs) continue;
      await nextTurn();
      startMs = performance.now();
    }
  }

  #tick(): void {
    this.#ticks++;
    this.#peers.publish(this.#directory, performance.now());
    const link = this.#link;
    if (!this.#isUp || link === null) {
      this.#sender.discard();
      return;
    }
    if (this.#openAppends >= openAppendsMax) return;
    const firstSequence = this.#sender.nextSequence;
    for (const [turn, batch] of this.#sender.drain(batchesPerTick).entries()) {
      this.#sentMs[(firstSequence + turn) & sentTimesMask] = performance.now();
      this.#send(link, link.append('blocks', batch, blocksKept));
    }
    if (this.#ticks % ticksPerLoad === 0) this.#send(link, link.append('loads', this.#sender.load(), loadsKept));
    if (this.#ticks % ticksPerSecret === 0) this.#send(link, this.#checkSecret(link), false);
  }

  async #checkSecret(link: StoreLink): Promise<void> {
    const own = textOf(this.#secret.value);
    if ((await link.agreeOn(own)) !== own) throw new Error('the secret in the store has changed');
  }

  /** Where it fails the link is over. */
  #send(link: StoreLink, sending: Promise<void>, isBatch = true): void {
    const { batches } = this.counts;
    this.#openAppends++;
    sending
      .then(
        () => {
          if (isBatch) batches.sent++;
        },
        (error: unknown) => {
          if (isBatch) batches.failed++;
          if (this.#link === link && this.#isUp) this.#becomeAway(error);
          link.close();
        },
      )
      .finally(() => this.#openAppends--);
  }

  #noteLag(sequence: number): void {
    const sentMs = this.#sentMs[sequence & sentTimesMask]!;
    if (sentMs === 0) return;
    this.#lagMs = performance.now() - sentMs;
    this.#options.series.record(this.#lag, Math.round(this.#lagMs * 1000));
  }

  #onRestart(pool: string, url: string): void {
    for (const endpoint of this.#directory.all) {
      if (endpoint.pool !== pool || endpoint.url !== url) continue;
      this.#sender.noteRestart(endpoint.id, this.#options.memories.startedAt(pool, url));
    }
  }
}

function textOf(secret: number): string {
  return secret.toString(16).padStart(8, '0');
}

/** Ids of streams: `milliseconds-number`. */
function isBefore(id: string, other: string): boolean {
  const [ms = 0, number = 0] = id.split('-').map(Number);
  const [otherMs = 0, otherNumber = 0] = other.split('-').map(Number);
  return ms < otherMs || (ms === otherMs && number < otherNumber);
}
