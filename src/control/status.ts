import { metrics } from '../account/metrics.ts';
import { Admission, QueueTable, SharedBudget } from '../shm/index.ts';
import type { CounterSeries, SeriesSnapshot } from '../shm/index.ts';
import { catalogueStatus } from './catalogue-status.ts';
import type { CatalogueStatus } from './catalogue-status.ts';
import type { Control } from './control.ts';
import { skuStatuses } from './endpoint-health.ts';
import type { SkuStatus } from './endpoint-health.ts';
import type { DrainingEndpoint } from './endpoint-slots.ts';
import { certificateStatus } from './expiry.ts';
import type { CertificateStatus } from './expiry.ts';
import { endpointStatuses, poolReadiness } from './fleet-status.ts';
import type { EndpointStatus, PoolReadiness } from './fleet-status.ts';
import { gpuSecondsOf } from './gpu-seconds.ts';
import type { HealthMode } from './health.ts';
import type { KvEventsStatus } from './kv-events/kv-events.ts';
import { sharingStatus } from './sharing/sharing-status.ts';
import type { SharingStatus } from './sharing/sharing-status.ts';
import { constrainedTargets } from './target-status.ts';
import type { ConstrainedTarget } from './target-status.ts';
import type { EndpointRates } from './throughput.ts';
import { packageVersion } from './version.ts';

/** The answer of `GET /ready`. `missing` says in words what it still waits for; empty when `ready`. */
export interface Readiness {
  readonly ready: boolean;
  readonly status: 'starting' | 'ready' | 'not_ready' | 'draining';
  readonly pid: number;
  readonly shards: { readonly listening: number; readonly count: number };
  readonly pools: readonly PoolReadiness[];
  readonly missing: readonly string[];
}

export function readiness(control: Control): Readiness {
  const { shards, fleet, snapshot, phase } = control;
  const pools = poolReadiness(fleet, snapshot, control.clock.refresh());
  const isDraining = phase === 'draining' || phase === 'stopped';
  const missing: string[] = [];
  if (isDraining) missing.push('the gateway is draining');
  else if (shards.listeningCount < shards.count) {
    missing.push(`${shards.listeningCount} of ${shards.count} shards listen`);
  }
  for (const index of isDraining ? [] : control.stalls.silentShards()) missing.push(`shard ${index} does not respond`);
  for (const pool of pools) {
    if (pool.ready) continue;
    const states = Object.entries(pool.states).map(([state, count]) => `${count} ${state}`);
    const problem = pool.available === 0 ? `none of its ${pool.endpoints} endpoints is available` : 'a role is missing';
    missing.push(`pool ${pool.name}: ${problem} (${states.join(', ')})`);
  }
  const ready = missing.length === 0 && phase === 'running';
  const unready = isDraining ? 'draining' : phase === 'starting' ? 'starting' : 'not_ready';
  return {
    ready,
    status: ready ? 'ready' : unready,
    pid: process.pid,
    shards: { listening: shards.listeningCount, count: shards.count },
    pools,
    missing,
  };
}

/** The answer of `GET /status`. */
export interface Status {
  readonly version: string;
  readonly uws: string;
  readonly pid: number;
  readonly phase: string;
  readonly uptime_s: number;
  readonly config_version: number;
  readonly config_fingerprint: string;
  readonly rss_bytes: number;
  readonly cpu_s: number;
  readonly buffered_bytes: number;
  readonly buffered_bytes_max: number;
  /** Of clients. */
  readonly connections: number;
  readonly connections_max: number;
  /** In the gateway now. */
  readonly requests_open: number;
  /** Of the container's memory; 0 where it has no limit. */
  readonly memory_percent: number;
  /** Exchanges closed since the start. */
  readonly requests_total: number;
  readonly tokens_total: number;
  readonly listeners: readonly { readonly name: string; readonly address: string }[];
  readonly certificates: readonly CertificateStatus[];
  readonly shards: readonly ShardStatus[];
  readonly pools: readonly PoolStatus[];
  /** With other gateways; null where nothing is shared. */
  readonly sharing: SharingStatus | null;
  /** Endpoints that left the configuration and still have exchanges or connections. */
  readonly draining: readonly DrainingStatus[];
}

export interface DrainingStatus extends Omit<DrainingEndpoint, 'slot'> {
  readonly inflight: number;
  readonly connections: number;
}

export interface ShardStatus {
  readonly index: number;
  readonly state: string;
  readonly connections: number;
  readonly buffered_bytes: number;
  readonly requests_total: number;
  readonly restarts: number;
  readonly uptime_s: number;
  readonly config_version: number;
}

export interface PoolStatus {
  readonly name: string;
  readonly ready: boolean;
  readonly picker: string;
  readonly engine: string;
  readonly queued: number;
  readonly queued_bytes: number;
  /** Targets of models that only some of the endpoints may serve. */
  readonly targets: readonly ConstrainedTarget[];
  /** By hardware and model. */
  readonly skus: readonly SkuStatus[];
  readonly endpoints: readonly (EndpointStatus & {
    readonly engine: string | null;
    /** Of the prompt tokens of the last one to two minutes, those it had in its prefix cache, by its own count. */
    readonly engine_hit_ratio: number | null;
    /** By its own list; null when that is not known. */
    readonly catalogue: CatalogueStatus | null;
    readonly checks: HealthMode;
    readonly last_check_failure: string | null;
    /** Null where its KV events are not followed. */
    readonly kv_events: KvEventsStatus | null;
    /** Of all requests together. */
    readonly prompt_tokens_per_second: number;
    readonly completion_tokens_per_second: number;
    /** What it could still take; null before it was seen at work. */
    readonly prompt_headroom: number | null;
    readonly completion_headroom: number | null;
  })[];
}

export function status(control: Control, { counters }: SeriesSnapshot): Status {
  const { memory, shards, snapshot, fleet } = control;
  const nowMs = control.clock.refresh();
  const budget = new SharedBudget(memory, -1);
  const admission = new Admission(memory, -1);
  const queues = new QueueTable(memory, -1);
  const cpu = process.cpuUsage();
  const connections = byShard(counters, metrics.shardConnections.id, memory.shardCount);
  const requests = byShard(counters, metrics.requests.id, memory.shardCount);
  const ready = new Map(poolReadiness(fleet, snapshot, nowMs).map((pool) => [pool.name, pool.ready]));
  const silent = new Set(control.stalls.silentShards());
  return {
    version: packageVersion,
    uws: shards.uws,
    pid: process.pid,
    phase: control.phase,
    uptime_s: seconds(performance.now() - control.startedAtMs),
    config_version: snapshot.version,
    config_fingerprint: control.fingerprint,
    rss_bytes: process.memoryUsage.rss(),
    cpu_s: seconds((cpu.user + cpu.system) / 1000),
    buffered_bytes: budget.used(),
    buffered_bytes_max: memory.bufferedBytesMax,
    connections: admission.connections(),
    connections_max: control.connectionsMax,
    requests_open: admission.requests(),
    memory_percent: admission.memoryPercent(),
    requests_total: requests.reduce((sum, count) => sum + count, 0),
    tokens_total: totalOf(counters, metrics.tokens.id),
    listeners: listenerAddresses(control),
    certificates: control.certificates.map(certificateStatus),
    shards: shards.views().map((view) => ({
      index: view.index,
      state: silent.has(view.index) ? 'silent' : view.phase,
      connections: connections[view.index]!,
      buffered_bytes: budget.usedBy(view.index),
      requests_total: requests[view.index]!,
      restarts: view.restartCount,
      uptime_s: seconds(view.livedMs),
      config_version: view.appliedVersion,
    })),
    pools: snapshot.config.pools.map((pool, poolIndex) => {
      const slots = snapshot.endpointSlots[poolIndex]!;
      const endpoints = endpointStatuses(fleet, pool, slots, snapshot.modelRows[poolIndex]!, nowMs);
      return {
        name: pool.name,
        ready: ready.get(pool.name) ?? false,
        picker: pool.picker,
        engine: pool.engine,
        queued: totalOf(counters, metrics.queueDepth.id, pool.name),
        queued_bytes: queues.kib(snapshot.queueRows[poolIndex]!) * 1024,
        targets: constrainedTargets(fleet, snapshot, poolIndex, nowMs),
        skus: skuStatuses(endpoints, gpuSecondsOf(counters, pool.name)),
        endpoints: endpoints.map((endpoint, index) => ({
          ...endpoint,
          engine: control.observers.scraper.engine(slots[index]!),
          engine_hit_ratio: control.observers.scraper.hitRatio(slots[index]!),
          catalogue: catalogueStatus(control.observers, slots[index]!),
          checks: control.observers.health.mode(slots[index]!),
          last_check_failure: control.observers.health.lastFailure(slots[index]!),
          kv_events: control.observers.kvEvents.status(slots[index]!),
          ...ratesOf(control.throughput.of(slots[index]!)),
        })),
      };
    }),
    sharing: sharingStatus(control.sharing),
    draining: control.draining.map(({ slot, pool, url }) => ({
      pool,
      url,
      inflight: fleet.inflight(slot),
      connections: fleet.connections(slot),
    })),
  };
}

/** Listeners with the ports they got, as the ready line and `/status` show them. */
export function listenerAddresses({ snapshot, ports }: Control): { name: string; address: string }[] {
  return snapshot.config.listeners.map(({ name, address }, index) => ({
    name,
    address: addressText(address.host, ports[index] ?? address.port),
  }));
}

export function addressText(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function byShard(counters: readonly CounterSeries[], metricId: number, shardCount: number): number[] {
  const sums = Array.from({ length: shardCount }, () => 0);
  for (const series of counters) {
    if (series.metricId !== metricId) continue;
    for (let shard = 0; shard < shardCount; shard++) sums[shard]! += series.values[shard]!;
  }
  return sums;
}

function totalOf(counters: readonly CounterSeries[], metricId: number, firstLabel?: string): number {
  let sum = 0;
  for (const series of counters) {
    if (series.metricId === metricId && (firstLabel === undefined || series.labels[0] === firstLabel)) {
      sum += series.total;
    }
  }
  return sum;
}

function ratesOf({ prompt, completion }: EndpointRates): {
  readonly prompt_tokens_per_second: number;
  readonly completion_tokens_per_second: number;
  readonly prompt_headroom: number | null;
  readonly completion_headroom: number | null;
} {
  return {
    prompt_tokens_per_second: prompt.now,
    completion_tokens_per_second: completion.now,
    prompt_headroom: prompt.headroom,
    completion_headroom: completion.headroom,
  };
}

function seconds(ms: number): number {
  return Math.round(ms) / 1000;
}
