import { meetsConstraint } from '../config/constraints.ts';
import type { FleetTable } from '../shm/index.ts';
import type { Snapshot } from '../shard/protocol.ts';
import { isAvailable } from './fleet-status.ts';

/** A target that asks something of the endpoints of its pool, as `/status` says it. */
export interface ConstrainedTarget {
  readonly model: string;
  readonly skus: readonly string[];
  readonly quantizations: readonly string[];
  /** Those that have what it asks for. */
  readonly endpoints: number;
  /** Of these, how many may be sent something now. With 0 its requests go to the model's next target. */
  readonly available: number;
}

export function constrainedTargets(
  fleet: FleetTable,
  { config, endpointSlots }: Snapshot,
  poolIndex: number,
  nowMs: number,
): ConstrainedTarget[] {
  const pool = config.pools[poolIndex]!;
  return config.models.flatMap((model) =>
    model.targets
      .filter((target) => target.pool === pool.name && target.skus.length + target.quantizations.length > 0)
      .map((target) => {
        const slots = endpointSlots[poolIndex]!.filter((_, index) => meetsConstraint(target, pool.endpoints[index]!));
        return {
          model: model.name,
          skus: target.skus,
          quantizations: target.quantizations,
          endpoints: slots.length,
          available: slots.filter((slot) => isAvailable(fleet, slot, nowMs)).length,
        };
      }),
  );
}
