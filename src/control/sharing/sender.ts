import { type FleetTable, JournalKind, type PeerLoad, type PrefixJournalReader } from '../../shm/index.ts';
import type { PromptSecret } from '../../shm/index.ts';
import type { PrefixMemories } from '../prefix-memories.ts';
import { BatchWriter, loadBatchBytesMax } from './batch.ts';
import type { SharingCounts } from './counts.ts';
import type { Directory } from './directory.ts';

export interface SenderOptions {
  readonly gateway: number;
  /** By shard. */
  readonly journals: readonly PrefixJournalReader[];
  readonly directory: Directory;
  readonly memories: PrefixMemories;
  readonly fleet: FleetTable;
  readonly secret: PromptSecret;
  readonly counts: SharingCounts;
}

/** From the journals of the shards, and from the ledger, to batches. */
export class Sender {
  readonly #options: SenderOptions;
  readonly #blocks: BatchWriter;
  readonly #loads: BatchWriter;
  /** Unnamed bytes since the last batch, by the endpoint's id. */
  readonly #unnamed = new Map<number, { since: number; bytes: number }>();
  readonly #load: PeerLoad = { inflight: 0, inflightTokens: 0, pendingTokens: 0 };
  #sequence = 0;
  /** The journal that is read first next time: with too much to say nobody is always the last. */
  #first = 0;

  constructor(options: SenderOptions) {
    this.#options = options;
    this.#blocks = new BatchWriter(options.gateway);
    this.#loads = new BatchWriter(options.gateway, loadBatchBytesMax);
  }

  /** Sequence number of the batch that `drain` gives next. */
  get nextSequence(): number {
    return this.#sequence;
  }

  /** What shards wrote since the last time, in about so many batches at the most: more stays with them. */
  drain(batchCountMax: number): Buffer[] {
    const { journals } = this.#options;
    const batches: Buffer[] = [];
    for (let turn = 0; turn < journals.length; turn++) {
      const journal = journals[(this.#first + turn) % journals.length]!;
      while (batches.length < batchCountMax && journal.next()) this.#take(journal, batches);
    }
    this.#first++;
    for (const [id, { since, bytes }] of this.#unnamed) {
      if (!this.#blocks.unnamed(id, since, bytes)) {
        batches.push(this.#finish());
        this.#blocks.unnamed(id, since, bytes);
      }
    }
    this.#unnamed.clear();
    if (!this.#blocks.isEmpty) batches.push(this.#finish());
    return batches;
  }

  /** Nobody is to be told: reads what shards wrote, and forgets it. */
  discard(): void {
    const { journals, counts } = this.#options;
    for (const journal of journals) while (journal.next()) counts.keys.dropped += journal.count;
    this.#unnamed.clear();
  }

  /** The next batch tells since when the endpoint's process runs: who knew of another forgets what that one had. */
  noteRestart(id: number, since: number): void {
    this.#unnamed.set(id, { since, bytes: 0 });
  }

  /** Of every endpoint where something is. Without records it says that this gateway is there, and has nothing. */
  load(): Buffer {
    const { directory, fleet } = this.#options;
    const load = this.#load;
    for (const { id, slot } of directory.all) {
      load.inflight = fleet.inflight(slot);
      load.inflightTokens = Math.max(0, fleet.inflightTokens(slot));
      load.pendingTokens = Math.max(0, fleet.pendingTokens(slot));
      if (load.inflight + load.inflightTokens + load.pendingTokens > 0) this.#loads.load(id, 0, load);
    }
    return this.#loads.take(0);
  }

  #take(journal: PrefixJournalReader, batches: Buffer[]): void {
    const { directory, memories, secret, counts } = this.#options;
    const endpoint = directory.byPlace(journal.pool, journal.endpoint);
    if (endpoint === undefined) return; // It has left the configuration.
    const since = memories.startedAt(endpoint.pool, endpoint.url);
    if (journal.kind === JournalKind.unnamed) {
      const bytes = (this.#unnamed.get(endpoint.id)?.bytes ?? 0) + journal.bytes;
      this.#unnamed.set(endpoint.id, { since, bytes });
    } else if (journal.kind === JournalKind.forget) {
      if (this.#blocks.forget(endpoint.id, since)) return;
      batches.push(this.#finish());
      this.#blocks.forget(endpoint.id, since);
    } else if (journal.secret !== secret.value) {
      counts.keys.dropped += journal.count; // Made before the secret changed: nobody could find them.
    } else {
      this.#takeBlocks(journal, endpoint.id, since, batches);
    }
  }

  #takeBlocks(journal: PrefixJournalReader, id: number, since: number, batches: Buffer[]): void {
    let block = 0;
    while (block < journal.count) {
      const room = this.#blocks.roomFor(journal.count - block);
      if (room <= 0) {
        batches.push(this.#finish());
        continue;
      }
      this.#blocks.beginBlocks(id, since, room);
      for (const end = block + room; block < end; block++) {
        this.#blocks.block(journal.low(block), journal.high(block), journal.blockBytes(block));
      }
    }
    this.#options.counts.keys.sent += journal.count;
  }

  #finish(): Buffer {
    return this.#blocks.take(this.#sequence++);
  }
}
