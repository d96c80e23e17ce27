import type { Config } from '../config/index.ts';
import type { Snapshot } from '../shard/protocol.ts';
import { type FleetTable, firstModelRow, healthRowCount } from '../shm/index.ts';

/**
 * Which row of the health table is which model, by pool: endpoints are judged for each model that a target names there, as
 * far as there are rows; models beyond share the row `otherRow`. A model keeps its row from one configuration to the next,
 * and one that comes takes the row of none, or of one that has gone.
 */
export function modelRowsOf(config: Config, before?: ModelRowsBefore): string[][] {
  return config.pools.map((pool) => {
    const targeted = config.models.filter(({ targets }) => targets.some((target) => target.pool === pool.name));
    const names = new Set(targeted.map(({ name }) => name));
    const earlierIndex = before?.config.pools.findIndex(({ name }) => name === pool.name) ?? -1;
    const earlier = before?.modelRows[earlierIndex] ?? [];
    const rows = Array.from({ length: healthRowCount }, (_, row) => {
      const model = earlier[row] ?? '';
      return names.delete(model) ? model : '';
    });
    const newcomers = names.values();
    for (let row = firstModelRow; row < healthRowCount; row++) {
      if (rows[row] === '') rows[row] = newcomers.next().value ?? '';
    }
    return rows;
  });
}

/** The configuration in force, of which rows are kept. */
export interface ModelRowsBefore {
  readonly config: Config;
  readonly modelRows: readonly (readonly string[])[];
}

/** Where a row had another model, or none, what it says is not about the one it has now. */
export function clearReusedRows(fleet: FleetTable, old: Snapshot, next: Snapshot): void {
  for (const [poolIndex, pool] of next.config.pools.entries()) {
    const earlier = old.modelRows[old.config.pools.findIndex(({ name }) => name === pool.name)] ?? [];
    for (const [row, model] of next.modelRows[poolIndex]!.entries()) {
      if (model === '' || model === earlier[row]) continue;
      for (const slot of next.endpointSlots[poolIndex]!) fleet.health.clearRow(slot, row);
    }
  }
}
