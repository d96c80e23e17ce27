import type { Config } from '../config/index.ts';
import { type Priority, priorityFrom } from '../exchange/index.ts';
import { Fits } from './fits.ts';

/** One pool a route may use, and the name the model has there. */
export interface Target {
  readonly poolIndex: number;
  /** Written into the body in place of the client's name; null = the body stays as it is. */
  readonly upstreamModel: string | null;
  readonly weight: number;
  /** By endpoint index of the pool: 1 where the target's `skus` and `quantizations` let it go; null = anywhere. */
  readonly fits: Uint8Array | null;
}

/** Where requests for one model go. */
export interface Route {
  /** For metrics and logs: a configured name, or `other`. */
  readonly modelLabel: string;
  readonly targets: readonly Target[];
  readonly weightTotal: number;
  /** Null: that of the listener. */
  readonly priority: Priority | null;
}

export const otherModel = 'other';

/**
 * From the facts of a request to its targets. Pure, built whole for every configuration, never changed.
 *
 * Targets with a weight share the first choice in proportion; the others are spares, used in the order of the file when
 * the first choice is saturated, unhealthy, or failed before the commit point. Without any weight the first target is
 * the first choice.
 */
export class RouteTable {
  /** Configured model names in the order of the file: what `GET /v1/models` lists. */
  readonly modelNames: readonly string[];
  /** By pool: every `fits` of a target, once. */
  readonly parts: readonly (readonly Uint8Array[])[];
  readonly #byName: ReadonlyMap<string, Route>;
  readonly #defaultRoute: Route | null;
  readonly #hasPriorities: boolean;

  constructor(config: Config) {
    const poolIndexes = new Map(config.pools.map((pool, index) => [pool.name, index]));
    const fits = new Fits(config.pools);
    const byName = new Map<string, Route>();
    for (const model of config.models) {
      const targets = model.targets.map((target): Target => {
        const poolIndex = poolIndexes.get(target.pool)!;
        const { model: upstreamModel, weight } = target;
        return { poolIndex, upstreamModel, weight, fits: fits.of(target, poolIndex) };
      });
      const priority = model.priority === null ? null : priorityFrom(model.priority);
      const route = routeOf(model.name, targets, priority);
      byName.set(model.name, route);
      for (const alias of model.aliases) byName.set(alias, route);
    }
    this.parts = fits.parts;
    this.modelNames = config.models.map((model) => model.name);
    this.#byName = byName;
    this.#hasPriorities = config.models.some((model) => model.priority !== null);
    const defaultIndex = config.defaultPool === null ? undefined : poolIndexes.get(config.defaultPool);
    this.#defaultRoute =
      defaultIndex === undefined
        ? null
        : routeOf(otherModel, [{ poolIndex: defaultIndex, upstreamModel: null, weight: 0, fits: null }]);
  }

  /** True when a request's route depends on the model in its body. */
  get needsModel(): boolean {
    return this.#byName.size > 0;
  }

  /** True when the model may say more of a request's priority than its head does. */
  get hasPriorities(): boolean {
    return this.#hasPriorities;
  }

  /** Where requests go that name no configured model, and paths that are not understood; null = nowhere. */
  get defaultRoute(): Route | null {
    return this.#defaultRoute;
  }

  resolve(model: string | null): Route | null {
    return (model === null ? undefined : this.#byName.get(model)) ?? this.#defaultRoute;
  }
}

function routeOf(modelLabel: string, targets: readonly Target[], priority: Priority | null = null): Route {
  return { modelLabel, targets, weightTotal: targets.reduce((sum, target) => sum + target.weight, 0), priority };
}

/** Index of the first choice. `random` returns [0, 1). */
export function firstTarget(route: Route, random: () => number): number {
  if (route.weightTotal <= 0) return 0;
  let point = random() * route.weightTotal;
  for (let index = 0; index < route.targets.length; index++) {
    point -= route.targets[index]!.weight;
    if (point < 0) return index;
  }
  return 0;
}
