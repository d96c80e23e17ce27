import type { Config } from '../config/index.ts';
import { EndpointState, scrapeStaleMs, wholeRow } from '../shm/index.ts';
import type { EndpointScrape, FleetTable } from '../shm/index.ts';
import type { Snapshot } from '../shard/protocol.ts';
import { modelHealth, wholeHealth } from './endpoint-health.ts';
import type { HealthStatus, ModelHealthStatus } from './endpoint-health.ts';
import { canServe } from './role-readiness.ts';

/**
 * Endpoint states as the outside knows them: ejection, which shards decide, is one of them, and lasts until a probe went
 * well. Draining is what takes no new work by the operator's will: removed, or without weight.
 */
export const endpointStateNames = ['healthy', 'ejected', 'unhealthy', 'draining'] as const;
export type EndpointStateName = (typeof endpointStateNames)[number];

export function endpointStateName(fleet: FleetTable, slot: number, nowMs: number): EndpointStateName {
  const state = fleet.state(slot);
  if (state === EndpointState.draining || fleet.weight(slot) === 0) return 'draining';
  if (state !== EndpointState.healthy) return 'unhealthy';
  return fleet.isEjected(slot, nowMs) || fleet.health.isDistrusted(slot, wholeRow) ? 'ejected' : 'healthy';
}

/** Requests may be sent there, if only one to see how it fares. */
export function isAvailable(fleet: FleetTable, slot: number, nowMs: number): boolean {
  return fleet.state(slot) === EndpointState.healthy && fleet.weight(slot) > 0 && !fleet.isEjected(slot, nowMs);
}

export interface EndpointStatus extends HealthStatus {
  readonly url: string;
  readonly state: EndpointStateName;
  readonly role: string;
  readonly sku: string | null;
  readonly quantization: string | null;
  readonly weight: number;
  readonly inflight: number;
  readonly inflight_tokens: number;
  readonly connections: number;
  /** Requests waiting in the engine; null when it does not say, or has not said for so long that nothing goes by it. */
  readonly queue: number | null;
  readonly running: number | null;
  /** 0..1. */
  readonly kv_usage: number | null;
  readonly scrape_age_ms: number | null;
  /** What was seen of each model there. */
  readonly models: readonly ModelHealthStatus[];
}

export function endpointStatuses(
  fleet: FleetTable,
  pool: Config['pools'][number],
  slots: readonly number[],
  modelRows: readonly string[],
  nowMs: number,
): EndpointStatus[] {
  const scrape: EndpointScrape = { queueDepth: 0, runningRequests: 0, kvCacheUsageRatio: 0, scrapedAtMs: 0 };
  return pool.endpoints.map((endpoint, index) => {
    const slot = slots[index]!;
    const isScraped = fleet.readScrape(slot, scrape);
    const counts = isScraped && nowMs - scrape.scrapedAtMs <= scrapeStaleMs;
    return {
      url: endpoint.url,
      state: endpointStateName(fleet, slot, nowMs),
      role: endpoint.role,
      sku: endpoint.sku,
      quantization: endpoint.quantization,
      weight: endpoint.weight,
      inflight: fleet.inflight(slot),
      inflight_tokens: fleet.inflightTokens(slot),
      connections: fleet.connections(slot),
      queue: counts ? scrape.queueDepth : null,
      running: counts ? scrape.runningRequests : null,
      kv_usage: counts ? scrape.kvCacheUsageRatio : null,
      scrape_age_ms: isScraped ? Math.max(0, Math.round(nowMs - scrape.scrapedAtMs)) : null,
      ...wholeHealth(fleet, pool, slot, nowMs),
      models: modelHealth(fleet, pool, slot, modelRows, nowMs),
    };
  });
}

export interface PoolReadiness {
  readonly name: string;
  readonly ready: boolean;
  readonly endpoints: number;
  readonly available: number;
  /** Endpoints by state, states without any left out. */
  readonly states: Partial<Record<EndpointStateName, number>>;
}

/** A pool is ready when at least one of its endpoints can be picked; where they have roles, when enough of them can. */
export function poolReadiness(fleet: FleetTable, { config, endpointSlots }: Snapshot, nowMs: number): PoolReadiness[] {
  return config.pools.map((pool, poolIndex) => {
    const states: Partial<Record<EndpointStateName, number>> = {};
    const available: boolean[] = [];
    for (const slot of endpointSlots[poolIndex]!) {
      const state = endpointStateName(fleet, slot, nowMs);
      states[state] = (states[state] ?? 0) + 1;
      available.push(isAvailable(fleet, slot, nowMs));
    }
    const count = available.filter((each) => each).length;
    const ready = canServe(pool, available);
    return { name: pool.name, ready, endpoints: pool.endpoints.length, available: count, states };
  });
}
