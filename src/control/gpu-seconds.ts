import { metrics } from '../account/metrics.ts';
import type { CounterSeries } from '../shm/index.ts';

/** Estimated time that the endpoints of a pool worked, for one model and one kind of hardware. */
export interface GpuSeconds {
  /** '' where endpoints say none. */
  readonly sku: string;
  readonly model: string;
  readonly seconds: number;
}

export function gpuSecondsOf(counters: readonly CounterSeries[], pool: string): readonly GpuSeconds[] {
  return counters.flatMap(({ metricId, labels, total }): GpuSeconds[] => {
    const [name, model = '', sku = ''] = labels;
    return metricId === metrics.gpuSeconds.id && name === pool ? [{ sku, model, seconds: total / 1e6 }] : [];
  });
}

/** Of the endpoints of one kind. `model` null: of all models that are not in `named`. */
export function gpuSecondsFor(
  all: readonly GpuSeconds[],
  sku: string | null,
  model: string | null,
  named: ReadonlySet<string>,
): number {
  let sum = 0;
  for (const each of all) {
    if (each.sku !== (sku ?? '')) continue;
    if (model === null ? !named.has(each.model) : each.model === model) sum += each.seconds;
  }
  return Math.round(sum * 1000) / 1000;
}
