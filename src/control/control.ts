import { availableParallelism } from 'node:os';
import type { Logger } from 'pino';
import { certificateFacts, configFingerprint, formatProblem, loadConfig, restartChanges } from '../config/index.ts';
import type { CertificateFacts, Config, FileTexts } from '../config/index.ts';
import { Clock } from '../core/index.ts';
import type { ListenPorts, Snapshot } from '../shard/protocol.ts';
import { Admission, createSharedMemory, FleetTable, Heartbeats, SeriesWriter, SharedBudget } from '../shm/index.ts';
import type { SharedMemory } from '../shm/index.ts';
import type { BackoffRule } from './backoff.ts';
import { ConfigWatch } from './config-watch.ts';
import { deferred } from './deferred.ts';
import { EndpointSlots } from './endpoint-slots.ts';
import type { DrainingEndpoint, SlotPlan } from './endpoint-slots.ts';
import { warnOfExpiry } from './expiry.ts';
import { connectionsMaxOf } from './file-limit.ts';
import { portsToBind } from './free-port.ts';
import { LostReleases } from './lost-releases.ts';
import { reclaimShard } from './lost-shard.ts';
import { QueueRows } from './queue-rows.ts';
import { PrefixMemories } from './prefix-memories.ts';
import { bodyBudgetBytes, MemoryWatch } from './memory-watch.ts';
import { clearReusedRows, modelRowsOf } from './model-rows.ts';
import { Observers } from './observers.ts';
import { Recall } from './recall.ts';
import { Sharing } from './sharing/sharing.ts';
import { storeOf } from './sharing/store.ts';
import { patienceDefault, ShardSet } from './shard-set.ts';
import type { Patience } from './shard-set.ts';
import { ShardError } from './shard-thread.ts';
import { StallWatch } from './stall-watch.ts';
import { Throughput } from './throughput.ts';
import { ExitCode, hashSecretVariable, hashSeedOf, StartError } from './supervision.ts';

/**
 * The control thread's state: the configuration in force, the fleet, the shards; and the three things that happen to
 * them: start, reload, drain.
 *
 *   starting ──▶ running ──▶ draining ──▶ stopped
 *                 ▲   │          ▲
 *                 └reload        └ from starting too
 *
 * A drain wins over everything: a reload under way when it starts may still be applied, but changes nothing any more.
 */
export type ControlPhase = 'starting' | 'running' | 'draining' | 'stopped';

export interface ControlOptions {
  readonly config: Config;
  /** Of the PEM files it names, from the same load. */
  readonly texts: FileTexts;
  /** The files it names. */
  readonly paths: readonly string[];
  readonly hasEndMark: boolean;
  readonly configPath: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Logger;
  /** Log lines of the shards, complete. */
  readonly onLog: (lines: string) => void;
  readonly logLevel: string;
  readonly uwsPath: string | null;
  /** The script of a shard thread. */
  readonly shardUrl: URL;
  readonly shardBackoff?: BackoffRule;
  readonly patience?: Patience;
  /** The event loop of a shard stands still and has not come back. The thread cannot be ended alone. */
  readonly onStalled: (shardIndex: number) => void;
}

export type ReloadResult =
  | {
      readonly ok: true;
      readonly version: number;
      readonly fingerprint: string;
      /** From the first shard being told to the last having it in force. */
      readonly spreadMs: number;
    }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Endpoints of a configuration (at most 1024), and as many again that still drain after a reload. */
const endpointCountMax = 2048;
const releaseIntervalMs = 1000;

export class Control {
  readonly startedAtMs = performance.now();
  readonly clock = new Clock();
  readonly memory: SharedMemory;
  /** Of clients, over all shards. */
  readonly connectionsMax: number;
  readonly fleet: FleetTable;
  readonly shards: ShardSet;
  readonly observers: Observers;
  readonly stalls: StallWatch;
  readonly throughput: Throughput;
  readonly lostReleases: LostReleases;
  /** Of this thread. */
  readonly series: SeriesWriter;
  /** Null where nothing is shared with other gateways. */
  readonly sharing: Sharing | null;
  readonly #options: ControlOptions;
  readonly #slots: EndpointSlots;
  readonly #recall: Recall;
  readonly #memoryWatch: MemoryWatch;
  readonly #prefixes: PrefixMemories;
  readonly #queueRows: QueueRows;
  readonly #started = deferred<null>();
  readonly #stopped = deferred<boolean>();
  #phase: ControlPhase = 'starting';
  #snapshot: Snapshot;
  #fingerprint: string;
  #certificates: readonly CertificateFacts[];
  #ports: ListenPorts = [];
  #hasEndMark: boolean;
  /** Of the snapshot in force, or about to be. */
  #texts: FileTexts;
  #namedPaths: readonly string[];
  readonly #watch: ConfigWatch;
  #releaseTimer: NodeJS.Timeout | null = null;
  /** The start, then the reload under way or last; the next one waits for it. */
  #reloading: Promise<unknown>;
  /** Asked for while another waits its turn already: one run will do for both. */
  #waitingReload: Promise<ReloadResult> | null = null;

  constructor(options: ControlOptions) {
    const { config, log } = options;
    this.#options = options;
    this.#reloading = this.#started.promise;
    const shardCount = config.runtime.shards === 'auto' ? availableParallelism() : config.runtime.shards;
    this.memory = createSharedMemory({
      shardCount,
      endpointCountMax,
      bufferedBytesMax: bodyBudgetBytes(config.limits.bufferedBytesMax, log),
      hashSeed: hashSeedOf(options.env[hashSecretVariable]),
      isSharing: config.sharing.url !== null,
    });
    this.series = new SeriesWriter(this.memory, -1);
    this.connectionsMax = connectionsMaxOf(config, shardCount, log);
    this.#memoryWatch = new MemoryWatch(new Admission(this.memory, -1));
    this.fleet = new FleetTable(this.memory, -1);
    this.lostReleases = new LostReleases([this.fleet, new SharedBudget(this.memory, -1)], log);
    this.#prefixes = new PrefixMemories(log, () => this.clock.refresh());
    this.#queueRows = new QueueRows(this.memory, () => this.clock.refresh());
    this.#slots = new EndpointSlots(this.fleet);
    const plan = this.#slots.plan(config);
    if (plan === null) throw new StartError('too many endpoints', ExitCode.badConfig);
    this.#snapshot = {
      version: 1,
      config,
      endpointSlots: plan.endpointSlots,
      modelRows: modelRowsOf(config),
      prefixes: this.#prefixes.plan(config),
      queueRows: this.#queueRows.plan(config),
      texts: options.texts,
    };
    const { memory, fleet, series } = this;
    const store = storeOf(config.sharing, options.texts);
    this.sharing = store && new Sharing({ store, memory, fleet, memories: this.#prefixes, series, log });
    this.sharing?.plan(this.#snapshot);
    this.#fingerprint = configFingerprint(config);
    this.#certificates = certificateFacts(config, options.texts);
    warnOfExpiry(log, this.#certificates, Date.now());
    this.#texts = options.texts;
    this.#namedPaths = options.paths;
    this.#hasEndMark = options.hasEndMark;
    this.#watch = new ConfigWatch({
      paths: () => [options.configPath, ...this.#namedPaths],
      reload: () => this.reload(),
      log,
    });
    this.observers = new Observers({
      memory,
      fleet,
      clock: this.clock,
      log,
      caOf: (path) => this.#texts[path]!,
      prefixes: this.#prefixes,
    });
    this.throughput = new Throughput(this.memory, this.fleet, this.clock, () => this.#snapshot);
    this.#recall = new Recall({
      fleet: this.fleet,
      clock: this.clock,
      snapshot: () => this.#snapshot,
      onRecall: (pool, endpoint) => log.info({ pool, endpoint }, 'endpoint accepts connections again'),
    });
    this.shards = new ShardSet({
      shardCount,
      scriptUrl: options.shardUrl,
      init: (shardIndex) => ({
        shardIndex,
        memory: this.memory,
        connectionsMax: this.connectionsMax,
        snapshot: this.#snapshot,
        logLevel: options.logLevel,
        uwsPath: options.uwsPath,
      }),
      log,
      onLog: options.onLog,
      onLost: (shardIndex) => reclaimShard(this.memory, this.fleet, shardIndex),
      ...(options.shardBackoff === undefined ? {} : { backoff: options.shardBackoff }),
      patience: options.patience ?? patienceDefault,
    });
    const heartbeats = new Heartbeats(this.memory);
    this.stalls = new StallWatch({
      shardCount,
      stallMs: config.runtime.shardStallMs,
      log,
      readBeat: (shardIndex) => heartbeats.read(shardIndex),
      isWatched: (shardIndex) => this.shards.isListening(shardIndex),
      onGivenUp: options.onStalled,
    });
  }

  /** Endpoints that left the configuration and still have exchanges or connections. */
  get draining(): DrainingEndpoint[] {
    return this.#slots.draining;
  }

  get phase(): ControlPhase {
    return this.#phase;
  }

  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  get fingerprint(): string {
    return this.#fingerprint;
  }

  /** Of all listeners, as in force. */
  get certificates(): readonly CertificateFacts[] {
    return this.#certificates;
  }

  /** Bound ports by listener; empty before the start. */
  get ports(): ListenPorts {
    return this.#ports;
  }

  /** Resolves when everything has ended after a drain; false when a shard had to be given up on. */
  get stopped(): Promise<boolean> {
    return this.#stopped.promise;
  }

  /** Resolves when every shard listens. Rejects with StartError; a drain asked for meanwhile is one too, with code 0. */
  async start(): Promise<void> {
    const { config } = this.#snapshot;
    // First verdicts come in while the threads load.
    void this.observers.check(this.#snapshot);
    this.observers.listen(this.#snapshot);
    this.#releaseTimer = setInterval(() => this.#slots.releaseDrained(), releaseIntervalMs).unref();
    try {
      const { listeners } = config;
      const isFree = listeners.some(({ address }) => address.port === 0);
      await this.sharing?.start();
      this.#ports = await this.shards.start(() => portsToBind(listeners, this.shards.count), isFree);
    } catch (error) {
      if (!(error instanceof ShardError)) throw error;
      if (!this.#isDraining) throw new StartError(error.message);
    } finally {
      this.#started.resolve(null);
    }
    if (this.#isDraining) throw new StartError('drained before it was ready', ExitCode.drained);
    this.#phase = 'running';
    this.stalls.start();
    if (config.runtime.watchConfig) await this.#watch.start();
  }

  /** Loads the file again and puts it in force in every shard, or in none. Asked for during the start, it comes after. */
  reload(): Promise<ReloadResult> {
    if (this.#waitingReload !== null) return this.#waitingReload;
    const run = this.#reloading.then(() => {
      this.#waitingReload = null;
      return this.#reload();
    });
    this.#waitingReload = run;
    this.#reloading = run.catch(() => {});
    return run;
  }

  /** Stops accepting, lets what is in flight finish, ends everything. Later calls wait for the same drain. */
  drain(): Promise<boolean> {
    if (!this.#isDraining) void this.#drain();
    return this.#stopped.promise;
  }

  get #isDraining(): boolean {
    return this.#phase === 'draining' || this.#phase === 'stopped';
  }

  async #reload(): Promise<ReloadResult> {
    const result = await this.#tryReload();
    if (result.ok) {
      const { version, fingerprint, spreadMs } = result;
      this.#options.log.info({ config_version: version, fingerprint, spread_ms: spreadMs }, 'config reloaded');
    } else {
      this.#options.log.error({ problems: result.problems }, 'config was not reloaded, the old one stays in force');
    }
    return result;
  }

  async #tryReload(): Promise<ReloadResult> {
    if (this.#phase !== 'running') return refused(`the gateway is ${this.#phase}`);
    const loaded = await loadConfig(this.#options.configPath, this.#options.env);
    if (loaded.paths.length > 0) this.#namedPaths = loaded.paths;
    if (!loaded.ok) return { ok: false, problems: loaded.problems.map(formatProblem) };
    // Where the file in force says where it ends, one cut off behind a whole section is told from a shorter one.
    if (this.#hasEndMark && !loaded.hasEndMark) {
      return refused('the last line is not `...` as in the file in force: it may be half written');
    }
    for (const warning of loaded.warnings) this.#options.log.warn(formatProblem(warning));
    const old = this.#snapshot;
    // Refused whole: a configuration of which half is in force is one nobody wrote.
    const fixed = restartChanges(old.config, loaded.config);
    if (fixed.length > 0) return { ok: false, problems: fixed.map((path) => `${path}: needs a restart to change`) };
    const plan = this.#slots.plan(loaded.config);
    if (plan === null) return refused('too many endpoints, with those that still drain after earlier reloads');
    const next: Snapshot = {
      version: old.version + 1,
      config: loaded.config,
      endpointSlots: plan.endpointSlots,
      modelRows: modelRowsOf(loaded.config, old),
      prefixes: this.#prefixes.plan(loaded.config),
      queueRows: this.#queueRows.plan(loaded.config),
      texts: loaded.texts,
    };
    clearReusedRows(this.fleet, old, next);
    for (const slot of plan.addedSlots) this.fleet.health.warmUp(slot, this.clock.refresh());
    // New endpoints are checked before they are asked to serve.
    this.#texts = next.texts;
    await this.observers.check(next);
    const toldMs = performance.now();
    const refusals = await this.shards.apply(next);
    const spreadMs = Math.round((performance.now() - toldMs) * 10) / 10;
    if (refusals.length > 0) {
      await this.#rollBack(old, plan);
      return { ok: false, problems: refusals };
    }
    this.#snapshot = next;
    this.sharing?.plan(next);
    this.#hasEndMark = loaded.hasEndMark;
    this.#fingerprint = configFingerprint(loaded.config);
    this.#certificates = certificateFacts(loaded.config, loaded.texts);
    warnOfExpiry(this.#options.log, this.#certificates, Date.now());
    this.observers.listen(next);
    this.#slots.commit(plan);
    return { ok: true, version: next.version, fingerprint: this.#fingerprint, spreadMs };
  }

  /** Some shards may have taken the refused version over: all get the old configuration again, as a newer version. */
  async #rollBack(old: Snapshot, plan: SlotPlan): Promise<void> {
    this.#snapshot = { ...old, version: old.version + 2 };
    this.#texts = old.texts;
    this.#slots.plan(old.config); // Sets its weights again; its endpoints all have slots.
    this.#prefixes.restore(old.config, old.prefixes);
    this.#queueRows.plan(old.config);
    await this.observers.check(this.#snapshot);
    this.observers.listen(this.#snapshot);
    const refusals = await this.shards.apply(this.#snapshot);
    if (refusals.length > 0)
      this.#options.log.fatal({ problems: refusals }, 'shards refused the config they had before');
    this.#slots.rollback(plan);
  }

  async #drain(): Promise<void> {
    const { log } = this.#options;
    const { drainMs } = this.#snapshot.config.timeouts;
    this.#phase = 'draining';
    this.#watch.stop();
    this.stalls.stop(); // The drain has limits of its own.
    log.info({ drain_ms: drainMs }, 'draining');
    const isIdle = await this.shards.drain(drainMs);
    if (!isIdle) log.warn('exchanges were still open at the end of the drain');
    const isEnded = await this.shards.stop();
    if (!isEnded) log.error('a shard did not end');
    for (const each of [this.observers, this.#recall, this.#memoryWatch]) each.stop();
    for (const each of [this.throughput, this.lostReleases, this.#prefixes, this.sharing, this.#queueRows])
      each?.stop();
    if (this.#releaseTimer !== null) clearInterval(this.#releaseTimer);
    await this.observers.close();
    this.#phase = 'stopped';
    this.#stopped.resolve(isEnded);
  }
}

function refused(problem: string): ReloadResult {
  return { ok: false, problems: [problem] };
}
