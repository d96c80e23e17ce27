import type { PoolConfig } from '../config/index.ts';
import { Fault, faultNames, otherRow, wholeRow } from '../shm/index.ts';
import type { FleetTable, HealthView } from '../shm/index.ts';
import { gpuSecondsFor } from './gpu-seconds.ts';
import type { GpuSeconds } from './gpu-seconds.ts';

/** What is thought of an endpoint, or of one model at it, as `/status` says it. docs/health.md has the states. */
export interface HealthStatus {
  /** `serving`, or what keeps it from its full share. */
  readonly phase: 'serving' | 'slow_start' | 'probation' | 'out';
  /** 0.1 .. 1 in a slow start. */
  readonly share: number;
  readonly out_for_ms: number;
  readonly last_ejection: { readonly fault: string; readonly ago_ms: number } | null;
  /** Since the endpoint came; good ones and others. */
  readonly answers: number;
  readonly faults: number;
  /** Null before the first token was seen. */
  readonly ttft_ewma_ms: number | null;
  /** Of one stream; null before one was seen. */
  readonly tokens_per_second: number | null;
}

export interface ModelHealthStatus extends HealthStatus {
  readonly model: string;
}

/** The endpoints of one kind of hardware, for one model: where a bad pair shows. */
export interface SkuStatus {
  readonly sku: string | null;
  readonly model: string;
  readonly endpoints: number;
  /** Of these, not in the pick for the model. */
  readonly out: number;
  readonly answers: number;
  readonly faults: number;
  /** Means over the endpoints that have a value. */
  readonly ttft_ewma_ms: number | null;
  readonly tokens_per_second: number | null;
  /** Since the start, estimated: how long they worked for it. */
  readonly gpu_seconds: number;
}

/** Label of requests without a configured model. */
const otherModel = 'other';

export function wholeHealth(fleet: FleetTable, pool: PoolConfig, slot: number, nowMs: number): HealthStatus {
  return statusOf(
    fleet.health.view(slot, wholeRow, nowMs),
    fleet.health.share(slot, wholeRow, nowMs, pool.slowStartMs),
    nowMs,
  );
}

/** The models it has answered for, or failed to. */
export function modelHealth(
  fleet: FleetTable,
  pool: PoolConfig,
  slot: number,
  modelRows: readonly string[],
  nowMs: number,
): ModelHealthStatus[] {
  const models: ModelHealthStatus[] = [];
  for (const [row, name] of modelRows.entries()) {
    if (row !== otherRow && name === '') continue;
    const view = fleet.health.view(slot, row, nowMs);
    if (view.answers + view.faults === 0) continue;
    const share = fleet.health.share(slot, row, nowMs, pool.slowStartMs);
    models.push({ model: row === otherRow ? otherModel : name, ...statusOf(view, share, nowMs) });
  }
  return models;
}

export function skuStatuses(
  endpoints: readonly {
    readonly sku: string | null;
    readonly phase: string;
    readonly models: readonly ModelHealthStatus[];
  }[],
  gpuSeconds: readonly GpuSeconds[],
): SkuStatus[] {
  const groups = new Map<string, { sku: string | null; model: string; members: ModelHealthStatus[]; out: number }>();
  for (const { sku, phase, models } of endpoints) {
    for (const model of models) {
      const key = JSON.stringify([sku, model.model]);
      const group = groups.get(key) ?? { sku, model: model.model, members: [], out: 0 };
      groups.set(key, group);
      group.members.push(model);
      if (phase === 'out' || model.phase === 'out') group.out++;
    }
  }
  const named = new Set([...groups.values()].map(({ model }) => model).filter((model) => model !== otherModel));
  return [...groups.values()].map(({ sku, model, members, out }) => ({
    sku,
    model,
    endpoints: members.length,
    out,
    answers: members.reduce((sum, { answers }) => sum + answers, 0),
    faults: members.reduce((sum, { faults }) => sum + faults, 0),
    ttft_ewma_ms: meanOf(members.map((member) => member.ttft_ewma_ms)),
    tokens_per_second: meanOf(members.map((member) => member.tokens_per_second)),
    gpu_seconds: gpuSecondsFor(gpuSeconds, sku, model === otherModel ? null : model, named),
  }));
}

function statusOf(view: HealthView, share: number, nowMs: number): HealthStatus {
  return {
    phase: view.isOut ? 'out' : view.isOnProbation ? 'probation' : share < 1 ? 'slow_start' : 'serving',
    share,
    out_for_ms: Math.round(view.outForMs),
    last_ejection:
      view.reason === Fault.none
        ? null
        : { fault: faultNames[view.reason]!, ago_ms: Math.max(0, Math.round(nowMs - view.ejectedAtMs)) },
    answers: view.answers,
    faults: view.faults,
    ttft_ewma_ms: view.ttftMs === 0 ? null : view.ttftMs,
    tokens_per_second: view.tokenGapMs === 0 ? null : Math.round(10_000 / view.tokenGapMs) / 10,
  };
}

function meanOf(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0
    ? null
    : Math.round((known.reduce((sum, value) => sum + value, 0) / known.length) * 10) / 10;
}
