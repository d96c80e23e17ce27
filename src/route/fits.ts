import { meetsConstraint } from '../config/constraints.ts'; // Not the index: with it every shard would load the schema.
import type { Config, TargetConfig } from '../config/index.ts';

/**
 * Which endpoints of their pool the targets let their requests go to, so that no name is compared when an endpoint is
 * picked. Targets of a pool that mean the same endpoints have the same array.
 */
export class Fits {
  readonly #pools: Config['pools'];
  readonly #known = new Map<string, Uint8Array>();
  /** By pool: those that are not all of it, in the order of the file, so that all threads number them alike. */
  readonly parts: readonly Uint8Array[][];

  constructor(pools: Config['pools']) {
    this.#pools = pools;
    this.parts = pools.map(() => []);
  }

  /** One number an endpoint of the target's pool, 1 where it may go; null where it may go anywhere. */
  of(target: TargetConfig, poolIndex: number): Uint8Array | null {
    const { endpoints } = this.#pools[poolIndex]!;
    const fits = Uint8Array.from(endpoints, (endpoint) => (meetsConstraint(target, endpoint) ? 1 : 0));
    if (!fits.includes(0)) return null;
    const key = `${poolIndex}:${fits.join('')}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    this.#known.set(key, fits);
    this.parts[poolIndex]!.push(fits);
    return fits;
  }
}
