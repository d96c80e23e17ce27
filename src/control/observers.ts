import type { Logger } from 'pino';
import type { Clock } from '../core/index.ts';
import type { Snapshot } from '../shard/protocol.ts';
import type { FleetTable, SharedMemory } from '../shm/index.ts';
import { Catalogue } from './catalogue.ts';
import { probeTargetsOf } from './endpoint-slots.ts';
import { HealthMonitor } from './health.ts';
import { KvEvents } from './kv-events/kv-events.ts';
import type { PrefixMemories } from './prefix-memories.ts';
import { ProbeClient } from './probe-client.ts';
import type { ProbeTarget } from './probe-client.ts';
import { Scraper } from './scrape.ts';

export interface ObserverOptions {
  readonly memory: SharedMemory;
  readonly fleet: FleetTable;
  readonly clock: Clock;
  readonly log: Logger;
  /** The authorities of a file named in the configuration, as they are in force. */
  readonly caOf: (path: string) => string;
  readonly prefixes: PrefixMemories;
}

/**
 * What endpoints are asked: whether they are well, how much they have to do, which models they have; and what their caches say
 * unasked. One tells the other.
 */
export class Observers {
  readonly health: HealthMonitor;
  readonly scraper: Scraper;
  readonly catalogue: Catalogue;
  readonly kvEvents: KvEvents;
  readonly #probes: ProbeClient;

  constructor({ memory, fleet, clock, log, caOf, prefixes }: ObserverOptions) {
    this.#probes = new ProbeClient(caOf);
    const { get: probe, getKept } = this.#probes;
    this.kvEvents = new KvEvents({ log, prefixes, fleet });
    this.catalogue = new Catalogue({ memory, probe, clock, log });
    const onBack = ({ slot }: ProbeTarget): void => this.catalogue.ask(slot);
    this.health = new HealthMonitor({ fleet, probe, clock, log, onBack });
    this.scraper = new Scraper({
      fleet,
      probe: getKept,
      clock,
      log,
      onLoad: (target, load) => {
        prefixes.note(target.pool.name, target.endpoint.url, load);
        this.catalogue.note(target, load);
      },
    });
  }

  /** Checks exactly the endpoints of the snapshot from now on; resolves with the first verdicts about new ones, and what models they have. */
  async check(snapshot: Snapshot): Promise<void> {
    const targets = probeTargetsOf(snapshot);
    await Promise.all([this.health.watch(targets), this.catalogue.meet(targets)]);
  }

  /** Asks exactly the endpoints of the snapshot what they say of themselves. */
  listen(snapshot: Snapshot): void {
    const { models, defaultPool } = snapshot.config;
    const targets = probeTargetsOf(snapshot);
    this.scraper.watch(targets);
    this.kvEvents.watch(targets);
    this.catalogue.watch(targets, models.length === 0 ? defaultPool : null);
  }

  stop(): void {
    this.health.stop();
    this.scraper.stop();
    this.kvEvents.stop();
    this.catalogue.stop();
  }

  /** Ends what is still under way. */
  close(): Promise<void> {
    return this.#probes.close();
  }
}
