import { getHeapStatistics } from 'node:v8';
import { pino } from 'pino';
import { AccessLines, Accountant, counterCell, histogramCell, metrics } from '../account/index.ts';
import { listenerTls } from '../config/certificates.ts'; // Not the index: with it every shard would load the schema.
import { Clock, InvariantError, onBug } from '../core/index.ts';
import { LeaseBook, leaseNames, phaseNames } from '../exchange/index.ts';
import type { FilterContext } from '../filters/index.ts';
import {
  DownstreamHooks,
  type Generation,
  type GuardLimits,
  Listener,
  type LoadedUws,
  loadUws,
} from '../listener/index.ts';
import { JoinBuffer } from '../relay/index.ts';
import { FlowCells, SeriesWriter, SlabPool } from '../shm/index.ts';
import { WorkerPool } from '../worker/index.ts';
import { BodyJobs } from './body-jobs.ts';
import { Closer } from './closer.ts';
import { Dispatcher } from './dispatcher.ts';
import type { FlowControl } from './flow-control.ts';
import { EndpointRegistry } from './endpoint-registry.ts';
import { Gate } from './gate.ts';
import { GatewayExchange } from './gateway-exchange.ts';
import type { OnThrow } from './gateway-exchange.ts';
import { Intake } from './intake.ts';
import { LogPipe } from './log-pipe.ts';
import type { ExchangeView, ListenPorts, ShardInit, Snapshot } from './protocol.ts';
import { remoteAddressOf } from './remote-address.ts';
import { compileRuntime, type RuntimeContext } from './runtime.ts';
import { ShardState, sharedPartsOf } from './shard-state.ts';
import { Sweeper, sweepPeriodMs } from './sweeper.ts';
import { PassiveHealth } from './passive-health.ts';
import { PoolLasting } from './pool-lasting.ts';
import { Shedder } from './shedder.ts';

/** Slab memory unused for a while goes back to the system at this period. */
const trimPeriodMs = 5000;
/** The heap is looked at this often; it takes some microseconds. */
const heapPeriodMs = 1000;

/**
 * A drain ends when nothing was open for this long. A client between two requests on a kept-alive connection is told to
 * close it with its next answer, instead of losing that request to a closed connection.
 */
const quietMs = 300;

/** A turn of the event loop that took longer gives its length back to every deadline. */
const gapMsMin = 300;

/** More errors that nobody caught than this, and the thread is past trusting. */
const uncaughtCountMax = 100;
const uncaughtWindowMs = 10_000;

export interface ShardOptions {
  /** Receives batches of complete log lines. */
  readonly onLog: (lines: string) => void;
  readonly clock?: Clock;
  readonly random?: () => number;
}

/**
 * One accept thread's gateway, wired: listener → intake → dispatcher → relay → account. It does not know that it runs in
 * a thread of its own; `thread.ts` connects it to control, and tests drive it directly.
 */
export class Shard {
  readonly state: ShardState;
  readonly #init: ShardInit;
  readonly #registry: EndpointRegistry;
  readonly #runtimeContext: RuntimeContext;
  readonly #listeners: Listener<GatewayExchange>[];
  readonly #closer: Closer;
  readonly #sweeper: Sweeper;
  readonly #flow: FlowControl;
  readonly #logPipe: LogPipe;
  readonly #lag: number;
  readonly #series: SeriesWriter;
  readonly #shedder: Shedder;
  /** Started by its first job. On two cores more threads would only take time from the shards. */
  readonly #workers = new WorkerPool({ threads: 1, queueMax: 64 });
  #timer: NodeJS.Timeout | null = null;
  readonly #slabsInUse: number;
  readonly #slabOverdrafts: number;
  readonly #heapUsed: number;
  #lastSweepMs: number;
  #lastTrimMs: number;
  #lastHeapMs = 0;
  #onDrained: (() => void) | null = null;
  #uncaughtCount = 0;
  #uncaughtSinceMs = 0;
  /** When an exchange was last seen open. */
  #busyMs = 0;
  readonly uwsBuild: string;

  /** Loads the acceptor and compiles the first configuration. Rejects with what is wrong with either. */
  static async create(init: ShardInit, options: ShardOptions): Promise<Shard> {
    const loaded = await loadUws(init.uwsPath);
    const clock = options.clock ?? new Clock();
    const shared = sharedPartsOf(init.memory, init.shardIndex);
    const series = new SeriesWriter(init.memory, init.shardIndex);
    const registry = new EndpointRegistry(shared.fleet, () => clock.nowMs);
    const dropped = counterCell(series, metrics.logLinesDropped, []);
    const logPipe = new LogPipe(options.onLog, () => series.add(dropped, 1));
    const logger = pino({ level: init.logLevel, base: { shard: init.shardIndex } }, logPipe);
    const { config } = init.snapshot;
    const random = options.random ?? Math.random;
    const log: FilterContext['log'] = (level, fields, message) => logger[level](fields, message);
    const listenerNames = config.listeners.map((listener) => listener.name);
    const accountant = new Accountant(series, listenerNames);
    const runtimeContext: RuntimeContext = {
      registry,
      picker: { random, shardIndex: init.shardIndex },
      lasting: new PoolLasting(shared.queues, new FlowCells(init.memory)),
      journal: shared.journal,
      models: shared.models,
      work: shared.work,
      residents: shared.residents,
      noteStrayBytes: (poolName) => accountant.noteOddity(poolName, 'after_response'),
      filterContext: (listenerIndex) => ({
        log,
        isTls: config.listeners[listenerIndex]!.tls !== null,
        listenerName: () => config.listeners[listenerIndex]!.name,
        remoteAddress: (exchange) => remoteAddressOf(exchange, config.listeners[listenerIndex]!.proxyProtocol),
        wantAccessLog: (exchange) => {
          (exchange as GatewayExchange).wantsAccessLog = true;
        },
      }),
    };
    const runtime = await compileRuntime(init.snapshot, runtimeContext);
    const takenCells = leaseNames.map((kind) => counterCell(series, metrics.leasesTaken, [kind]));
    const givenCells = leaseNames.map((kind) => counterCell(series, metrics.leasesGiven, [kind]));
    const leases = new LeaseBook({
      taken: (kind, count) => series.add(takenCells[kind]!, count),
      given: (kind, count) => series.add(givenCells[kind]!, count),
    });
    const slabs = new SlabPool(shared.budget);
    const isLogging = logger.isLevelEnabled('info');
    const accessLines = new AccessLines(init.shardIndex);
    const writeAccessLog: ShardState['parts']['writeAccessLog'] = (exchange, nowMs, detail) => {
      if (!isLogging) return;
      logPipe.write(accessLines.line(exchange, listenerNames[exchange.listenerIndex] ?? '', nowMs, detail));
    };
    const parts = {
      clock,
      random,
      ...shared,
      slabs,
      leases,
      accountant,
      listenerNames,
      writeAccessLog,
      log,
    };
    return new Shard({ init, loaded, parts, runtime, runtimeContext, registry, logPipe, series });
  }

  private constructor(made: {
    init: ShardInit;
    loaded: LoadedUws;
    parts: ShardState['parts'];
    runtime: ShardState['runtime'];
    runtimeContext: RuntimeContext;
    registry: EndpointRegistry;
    logPipe: LogPipe;
    series: SeriesWriter;
  }) {
    const { init, loaded, series } = made;
    this.#init = init;
    this.#registry = made.registry;
    this.#runtimeContext = made.runtimeContext;
    this.#logPipe = made.logPipe;
    this.#series = series;
    this.uwsBuild = loaded.build;
    const label = String(init.shardIndex);
    this.#lag = histogramCell(series, metrics.eventLoopLag, [label]);
    this.#slabsInUse = counterCell(series, metrics.slabsInUse, [label]);
    this.#slabOverdrafts = counterCell(series, metrics.slabOverdrafts, [label]);
    this.#heapUsed = counterCell(series, metrics.heapUsed, [label]);
    const connections = counterCell(series, metrics.shardConnections, [label]);
    const join = new JoinBuffer();
    const onThrow: OnThrow = (exchange, error) => this.#closer.contain(exchange, error);
    const makeExchange = (): GatewayExchange => {
      const exchange = new GatewayExchange(made.parts.slabs, join, dispatcher, onThrow);
      exchange.hooks = new DownstreamHooks<GatewayExchange>(exchange, intake);
      return exchange;
    };
    this.state = new ShardState(made.parts, made.runtime, makeExchange);
    this.#closer = new Closer(this.state);
    const health = new PassiveHealth(made.parts, this.#closer, series);
    const dispatcher = new Dispatcher(this.state, this.#closer, health, series, join);
    this.#flow = dispatcher.flow;
    const bodyJobs = new BodyJobs(this.#workers, made.parts);
    const { admission, random, listenerNames } = made.parts;
    this.#shedder = new Shedder(series, init.shardIndex, { admission, random });
    const intake = new Intake(
      this.state,
      this.#closer,
      dispatcher,
      bodyJobs,
      new Gate(this.state, this.#closer, this.#shedder),
      {
        onCount: (delta) => series.add(connections, delta),
        onRefused: (listenerIndex, reason) =>
          series.add(counterCell(series, metrics.connectionsRefused, [listenerNames[listenerIndex]!, reason]), 1),
      },
    );
    this.#sweeper = new Sweeper(this.state, this.#closer, dispatcher, intake, health);
    this.#listeners = init.snapshot.config.listeners.map(
      (listener, listenerIndex) =>
        new Listener<GatewayExchange>(
          loaded,
          {
            host: listener.address.host,
            listenerIndex,
            guard: guardLimits(init.snapshot, listenerIndex),
            admission,
            connectionsMax: init.connectionsMax,
            // Behind a balancer all clients have its address.
            connectionsPerAddressMax: listener.proxyProtocol ? 0 : init.snapshot.config.limits.connectionsPerAddressMax,
            tls: listenerTls(listener, init.snapshot.texts),
          },
          intake,
        ),
    );
    this.#lastSweepMs = made.parts.clock.nowMs;
    this.#lastTrimMs = made.parts.clock.nowMs;
    onBug((code) => {
      series.add(counterCell(series, metrics.bugs, [code]), 1);
      made.parts.log('error', { code }, 'a defect of the gateway was contained');
    });
  }

  /** Binds every listener; resolves with the real ports. Rejects when one cannot be bound. */
  async listen(ports: ListenPorts): Promise<ListenPorts> {
    this.#lastSweepMs = this.state.parts.clock.refresh();
    this.#timer ??= setInterval(this.#onTimer, sweepPeriodMs);
    const bound: number[] = [];
    for (let index = 0; index < this.#listeners.length; index++)
      bound.push(await this.#listeners[index]!.listen(ports[index]!));
    return bound;
  }

  /** New exchanges use `snapshot` from here on; running ones keep theirs. Rejects, changing nothing, when it does not compile. */
  async apply(snapshot: Snapshot): Promise<void> {
    const { listeners } = snapshot.config;
    // By listener: its new app, or null where the certificates are the same.
    const prepared: (Generation | null)[] = [];
    try {
      for (const [index, listener] of listeners.entries())
        prepared.push(this.#listeners[index]!.prepareTls(listenerTls(listener, snapshot.texts)));
      this.state.runtime = await compileRuntime(snapshot, this.#runtimeContext);
    } catch (error) {
      for (const [index, generation] of prepared.entries())
        if (generation !== null) this.#listeners[index]!.discardTls(generation);
      throw error;
    }
    for (const [index, generation] of prepared.entries()) {
      if (generation !== null) this.#listeners[index]!.commitTls(generation);
      this.#listeners[index]!.setLimits(guardLimits(snapshot, index));
    }
  }

  /** Stops accepting and resolves when the last exchange has ended; those that outlive `drainMs` are cut. */
  async drain(drainMs: number): Promise<void> {
    this.state.isDraining = true;
    // A few turns for connections the kernel has accepted already.
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    for (const listener of this.#listeners) listener.stopAccepting();
    const timer = setTimeout(() => this.#cutAll(), drainMs);
    await new Promise<void>((resolve) => {
      this.#busyMs = this.state.parts.clock.refresh();
      this.#onDrained = resolve;
    });
    clearTimeout(timer);
    this.#logPipe.flush();
  }

  /** Closes every connection, both sides. Must run before the thread ends: an open native handle aborts the process. */
  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#flow.stop();
    for (const listener of this.#listeners) listener.close();
    this.#registry.closeAll();
    void this.#workers.close();
    this.#logPipe.flush();
    onBug(null);
  }

  acknowledgeLog(chars: number): void {
    this.#logPipe.acknowledge(chars);
  }

  exchanges(): ExchangeView[] {
    const { parts, open } = this.state;
    const nowMs = parts.clock.refresh();
    return open.map((exchange) => ({
      request_id: exchange.requestId,
      shard: this.#init.shardIndex,
      method: exchange.head.method,
      path: exchange.head.path,
      model: exchange.facts.model,
      pool: exchange.poolName === '' ? null : exchange.poolName,
      endpoint: exchange.endpointUrl === '' ? null : exchange.endpointUrl,
      prefill_endpoint: exchange.prefillUrl === '' ? null : exchange.prefillUrl,
      phase: phaseNames[exchange.phase]!,
      request_half: exchange.request.name,
      response_half: exchange.response.name,
      age_ms: Math.round(nowMs - exchange.startedMs),
      request_bytes: exchange.body.receivedBytes,
      response_bytes: exchange.responseBytes,
      attempts: exchange.attempts,
      estimated_tokens: exchange.estimatedTokens,
      matched_tokens: exchange.matchedTokens,
      score: Number.isNaN(exchange.score) ? null : exchange.score,
      leases: [
        ...parts.leases.namesHeld(exchange),
        ...(exchange.body.heldCount > 0 ? [`body_slab x${exchange.body.heldCount}`] : []),
      ],
    }));
  }

  readonly #onTimer = (): void => {
    const { clock, slabs } = this.state.parts;
    const nowMs = clock.refresh();
    const lateMs = Math.max(0, nowMs - this.#lastSweepMs - sweepPeriodMs);
    this.state.parts.heartbeats.beat(this.#init.shardIndex);
    this.#series.record(this.#lag, Math.round(lateMs * 1000));
    this.#lastSweepMs = nowMs;
    if (lateMs >= gapMsMin) this.#onGap(lateMs);
    // With an immediate waiting the loop does not sleep: until then it has gone once through what was ready.
    setImmediate(() => {
      const laterMs = clock.refresh();
      this.#shedder.noteDelay(Math.max(lateMs, laterMs - nowMs), laterMs, this.state.runtime.config.limits);
    });
    this.#sweeper.sweep(nowMs, this.#shedder.level > 0);
    this.#registry.sweep(nowMs);
    for (const listener of this.#listeners) listener.sweep();
    this.#series.set(this.#slabsInUse, slabs.inUse);
    this.#series.set(this.#slabOverdrafts, slabs.overdraftCount);
    if (nowMs - this.#lastHeapMs > heapPeriodMs) {
      this.#lastHeapMs = nowMs;
      this.#series.set(this.#heapUsed, getHeapStatistics().used_heap_size);
    }
    if (nowMs - this.#lastTrimMs > trimPeriodMs) {
      this.#lastTrimMs = nowMs;
      slabs.trim();
    }
    if (this.state.open.length > 0) this.#busyMs = nowMs;
    if (this.#onDrained !== null && nowMs - this.#busyMs >= quietMs) {
      this.#onDrained();
      this.#onDrained = null;
    }
  };

  /** Nothing was read for that long: the thread was busy, or the process stopped. */
  #onGap(lateMs: number): void {
    this.#sweeper.giveBack(lateMs);
    this.state.parts.log('warn', { gap_ms: Math.round(lateMs) }, 'the event loop stood still');
  }

  /** An error nobody caught. Returns false when it cannot be left at that: the thread must end. */
  containUncaught(error: unknown): boolean {
    const nowMs = this.state.parts.clock.refresh();
    if (nowMs - this.#uncaughtSinceMs > uncaughtWindowMs) {
      this.#uncaughtSinceMs = nowMs;
      this.#uncaughtCount = 0;
    }
    if (error instanceof InvariantError || ++this.#uncaughtCount > uncaughtCountMax) return false;
    this.#closer.contain(null, error);
    return true;
  }

  #cutAll(): void {
    this.state.parts.clock.refresh();
    for (const exchange of this.state.open.slice())
      this.#closer.fail(exchange, 'draining', 'The gateway is shutting down.');
  }
}

function guardLimits(snapshot: Snapshot, listenerIndex: number): GuardLimits {
  const { limits, listeners } = snapshot.config;
  return {
    headBytesMax: limits.headBytesMax,
    headerCountMax: limits.headerCountMax,
    targetBytesMax: limits.targetBytesMax,
    bodyBytesMax: limits.bodyBytesMax,
    acceptsChunked: listeners[listenerIndex]?.chunkedRequests !== 'reject',
  };
}
