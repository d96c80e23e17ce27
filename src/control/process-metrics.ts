import { renderExposition } from '../account/exposition.ts';
import type { ValueSample } from '../account/exposition.ts';
import { metrics } from '../account/metrics.ts';
import { QueueTable, SharedBudget } from '../shm/index.ts';
import type { SeriesSnapshot } from '../shm/index.ts';
import type { Control } from './control.ts';
import { modelHealth } from './endpoint-health.ts';
import { endpointStateName, endpointStateNames } from './fleet-status.ts';
import { addKvEventSamples } from './kv-events/kv-event-samples.ts';
import { leaseTotals } from './lease-totals.ts';
import { addSharing } from './sharing/sharing-status.ts';
import { packageVersion } from './version.ts';

/** `GET /metrics`: what the shards wrote, and the values that are read from elsewhere at each scrape. */
export function renderMetrics(control: Control, series: SeriesSnapshot): string {
  const values: ValueSample[] = [...series.counters];
  const add = (metric: { readonly id: number }, labels: readonly string[], total: number): void => {
    values.push({ metricId: metric.id, labels, total });
  };
  const { fleet, memory, snapshot } = control;
  const nowMs = control.clock.refresh();
  for (const [poolIndex, pool] of snapshot.config.pools.entries()) {
    for (const [index, endpoint] of pool.endpoints.entries()) {
      const slot = snapshot.endpointSlots[poolIndex]![index]!;
      const labels = [pool.name, endpoint.url];
      add(metrics.inflightRequests, labels, fleet.inflight(slot));
      add(metrics.inflightTokens, labels, fleet.inflightTokens(slot));
      for (const [kind, { now, headroom }] of Object.entries(control.throughput.of(slot))) {
        add(metrics.endpointThroughput, [...labels, kind], now);
        if (headroom !== null) add(metrics.endpointHeadroom, [...labels, kind], headroom);
      }
      const hitRatio = control.observers.scraper.hitRatio(slot);
      if (hitRatio !== null) add(metrics.engineHitRatio, labels, hitRatio);
      const state = endpointStateName(fleet, slot, nowMs);
      for (const name of endpointStateNames) add(metrics.endpointState, [...labels, name], name === state ? 1 : 0);
      for (const model of modelHealth(fleet, pool, slot, snapshot.modelRows[poolIndex]!, nowMs)) {
        const modelLabels = [...labels, model.model];
        if (model.ttft_ewma_ms !== null) add(metrics.endpointTtft, modelLabels, model.ttft_ewma_ms * 1000);
        if (model.tokens_per_second !== null) add(metrics.endpointTokenRate, modelLabels, model.tokens_per_second);
      }
    }
  }
  const queues = new QueueTable(memory, -1);
  for (const [poolIndex, pool] of snapshot.config.pools.entries())
    add(metrics.queueBytes, [pool.name], queues.kib(snapshot.queueRows[poolIndex]!) * 1024);
  for (const { slot, pool, url } of control.draining) {
    add(metrics.inflightRequests, [pool, url], fleet.inflight(slot));
    add(metrics.inflightTokens, [pool, url], fleet.inflightTokens(slot));
    for (const name of endpointStateNames) add(metrics.endpointState, [pool, url, name], name === 'draining' ? 1 : 0);
  }
  addPrefixRatios(series, add);
  addSharing(control.sharing, add);
  addKvEventSamples(control.observers.kvEvents, snapshot, add);
  for (const [kind, count] of Object.entries(leaseTotals(series).outstanding)) add(metrics.leasesOpen, [kind], count);
  const budget = new SharedBudget(memory, -1);
  for (let shard = 0; shard < memory.shardCount; shard++)
    add(metrics.bufferedBytes, [`${shard}`], budget.usedBy(shard));
  for (const { listener, certPath, notAfterMs } of control.certificates)
    add(metrics.certificateExpiry, [listener, certPath], notAfterMs * 1000);
  if (control.lostReleases.recoveredCount > 0) add(metrics.bugs, ['lost_release'], control.lostReleases.recoveredCount);
  add(metrics.seriesOverflow, [], series.overflowCount);
  add(metrics.buildInfo, [packageVersion, control.shards.uws], 1);
  // Microseconds, as the rows say.
  const cpu = process.cpuUsage();
  add(metrics.uptime, [], (performance.now() - control.startedAtMs) * 1000);
  add(metrics.processCpu, [], cpu.user + cpu.system);
  add(metrics.processResidentMemory, [], process.memoryUsage.rss());
  return renderExposition(values, series.histograms);
}

function addPrefixRatios(
  { counters }: SeriesSnapshot,
  add: (metric: { readonly id: number }, labels: readonly string[], total: number) => void,
): void {
  const hits = new Map<string, number>();
  for (const { metricId, labels, total } of counters) {
    if (metricId === metrics.prefixHits.id) hits.set(labels[0] ?? '', total);
  }
  for (const { metricId, labels, total } of counters) {
    if (metricId !== metrics.prefixLookups.id || total === 0) continue;
    add(metrics.prefixHitRatio, labels, (hits.get(labels[0] ?? '') ?? 0) / total);
  }
}
