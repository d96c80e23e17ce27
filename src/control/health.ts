import type { Logger } from 'pino';
import type { HealthConfig, PoolConfig } from '../config/index.ts';
import type { Clock } from '../core/index.ts';
import { EndpointState } from '../shm/index.ts';
import type { FleetTable } from '../shm/index.ts';
import { deferred, within } from './deferred.ts';
import { HealthJudge } from './health-judge.ts';
import { probeFailure } from './probe-client.ts';
import type { Probe, ProbeTarget } from './probe-client.ts';

/**
 * Active health checks: one timer an endpoint, the verdict goes into the fleet table where every shard reads it.
 *
 * | Mode    | Where                                       | Before the first answer | Then                                     |
 * | ------- | ------------------------------------------- | ----------------------- | ---------------------------------------- |
 * | active  | `health` given, or the engine is named      | unhealthy, decided at once by the first check | checked for ever   |
 * | probing | engine `auto`                               | healthy                 | 2xx or 503: active; other status: passive |
 * | passive | engine `none`, or found to have no /health  | healthy                 | not asked again                          |
 *
 * While probing, a refused connection counts as a failed check: nobody listens, whatever the engine. Ejection by answers
 * (passive checks) is the shards' business and independent of all this.
 */
export interface HealthMonitorOptions {
  readonly fleet: FleetTable;
  readonly probe: Probe;
  readonly clock: Clock;
  readonly log: Logger;
  /** It was unhealthy, and is not any more. */
  readonly onBack?: (target: ProbeTarget) => void;
  /** 0..1, for the jitter. */
  readonly random?: () => number;
}

export type HealthMode = 'active' | 'probing' | 'passive';

const defaultRule: HealthConfig = {
  path: '/health',
  intervalMs: 2000,
  timeoutMs: 1000,
  unhealthyAfter: 2,
  healthyAfter: 1,
};
/** Engines whose health path is not /health. */
const healthPaths: Partial<Record<PoolConfig['engine'], string>> = {
  triton: '/v2/health/ready',
  nim: '/v1/health/ready',
};
/** Checks of many endpoints drift apart instead of staying in step. */
const jitterRatio = 0.1;
/** Of what is down one wants to know sooner that it is back than of the others that they went. */
const downFactor = 2;
const firstVerdictTimeoutMs = 500;

export class HealthMonitor {
  readonly #options: HealthMonitorOptions;
  readonly #watches = new Map<number, EndpointWatch>();

  constructor(options: HealthMonitorOptions) {
    this.#options = options;
  }

  /**
   * Watches exactly these from now on. An endpoint whose settings did not change keeps its history. Resolves when every
   * new one has its first verdict, or after half a second: a dead endpoint must not hold up the others.
   */
  async watch(targets: readonly ProbeTarget[]): Promise<void> {
    const wanted = new Map(targets.map((target) => [target.slot, target]));
    for (const [slot, watch] of this.#watches) {
      const target = wanted.get(slot);
      if (target !== undefined && watch.isFor(target)) {
        wanted.delete(slot);
        continue;
      }
      watch.stop();
      this.#watches.delete(slot);
    }
    const verdicts: Promise<null>[] = [];
    for (const target of wanted.values()) {
      const watch = new EndpointWatch(target, this.#options);
      this.#watches.set(target.slot, watch);
      verdicts.push(watch.start());
    }
    if (verdicts.length > 0) await within(Promise.all(verdicts), firstVerdictTimeoutMs, null);
  }

  mode(slot: number): HealthMode {
    return this.#watches.get(slot)?.mode ?? 'passive';
  }

  /** Why the last check failed, or null. */
  lastFailure(slot: number): string | null {
    return this.#watches.get(slot)?.lastFailure ?? null;
  }

  stop(): void {
    for (const watch of this.#watches.values()) watch.stop();
    this.#watches.clear();
  }
}

/** A check that ran so much longer than its limit says nothing about the endpoint. */
const stoppedMsMin = 1000;

class EndpointWatch {
  readonly #target: ProbeTarget;
  readonly #options: HealthMonitorOptions;
  readonly #rule: HealthConfig;
  readonly #judge: HealthJudge;
  readonly #settings: string;
  readonly #firstVerdict = deferred<null>();
  #mode: HealthMode;
  #timer: NodeJS.Timeout | null = null;
  #lastFailure: string | null = null;
  #isStopped = false;
  /** Some verdict was given before. */
  #isKnown = false;

  constructor(target: ProbeTarget, options: HealthMonitorOptions) {
    const { pool } = target;
    this.#target = target;
    this.#options = options;
    this.#settings = settingsOf(target);
    this.#rule = pool.health ?? { ...defaultRule, path: healthPaths[pool.engine] ?? defaultRule.path };
    this.#mode = modeOf(pool);
    this.#judge = new HealthJudge(this.#rule, this.#mode === 'active' ? null : true);
  }

  get mode(): HealthMode {
    return this.#mode;
  }

  get lastFailure(): string | null {
    return this.#lastFailure;
  }

  isFor(target: ProbeTarget): boolean {
    return settingsOf(target) === this.#settings;
  }

  start(): Promise<null> {
    const { fleet } = this.#options;
    const { slot } = this.#target;
    if (this.#mode !== 'active') {
      fleet.setState(slot, EndpointState.healthy);
      this.#firstVerdict.resolve(null);
    } else if (fleet.state(slot) === EndpointState.draining) {
      fleet.setState(slot, EndpointState.unhealthy); // As a slot just claimed is.
    } // Else its checks changed on a reload: it keeps serving until the first of the new ones says otherwise.
    if (this.#mode !== 'passive') void this.#check();
    return this.#firstVerdict.promise;
  }

  stop(): void {
    this.#isStopped = true;
    this.#firstVerdict.resolve(null);
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #check(): Promise<void> {
    let status = 0;
    let failure: string | null = null;
    const startMs = performance.now();
    try {
      ({ status } = await this.#options.probe(this.#target, this.#rule.path, this.#rule.timeoutMs));
      if (status < 200 || status > 299) failure = `status ${status}`;
    } catch (error) {
      failure = probeFailure(error);
    }
    if (this.#isStopped) return;
    if (failure === 'timeout' && performance.now() - startMs > this.#rule.timeoutMs + stoppedMsMin) {
      this.#later(); // This process was stopped, or its machine: the answer may have been in time, unseen.
      return;
    }
    if (this.#mode === 'probing' && status !== 0) {
      const isKnown = (status >= 200 && status <= 299) || status === 503;
      this.#mode = isKnown ? 'active' : 'passive';
      if (!isKnown) failure = null; // It has no health path, but it answered.
    }
    this.#lastFailure = failure;
    if (this.#judge.note(failure === null)) this.#publish(failure);
    this.#firstVerdict.resolve(null);
    if (this.#mode !== 'passive') this.#later();
  }

  #later(): void {
    const intervalMs = this.#judge.isHealthy === false ? this.#rule.intervalMs / downFactor : this.#rule.intervalMs;
    const jitter = 1 + jitterRatio * (2 * (this.#options.random ?? Math.random)() - 1);
    this.#timer = setTimeout(() => void this.#check(), intervalMs * jitter).unref();
  }

  #publish(failure: string | null): void {
    const { slot, pool, endpoint } = this.#target;
    const isHealthy = this.#judge.isHealthy === true;
    // It was down: its caches are cold, and everybody else's requests would go where nobody is.
    if (isHealthy && this.#isKnown) {
      this.#options.fleet.health.warmUp(slot, this.#options.clock.refresh());
      this.#options.onBack?.(this.#target);
    }
    this.#isKnown = true;
    this.#options.fleet.setState(slot, isHealthy ? EndpointState.healthy : EndpointState.unhealthy);
    const fields = { pool: pool.name, endpoint: endpoint.url, ...(failure === null ? {} : { reason: failure }) };
    if (isHealthy) this.#options.log.info(fields, 'endpoint is healthy');
    else this.#options.log.warn(fields, 'endpoint is unhealthy');
  }
}

function modeOf(pool: PoolConfig): HealthMode {
  if (pool.health !== null) return 'active';
  if (pool.engine === 'auto') return 'probing';
  return pool.engine === 'none' ? 'passive' : 'active';
}

/** Everything a check depends on. */
function settingsOf({ pool, endpoint }: ProbeTarget): string {
  return JSON.stringify([pool.engine, pool.health, pool.tls, pool.credential, pool.dialect, endpoint.url]);
}
