import type { Config } from '../../config/index.ts';
import type { PrefixIndex } from '../../shm/index.ts';
import type { PrefixMemories } from '../prefix-memories.ts';
import { endpointId } from './batch.ts';

/** An endpoint of this gateway, as others name it and as it stands here. */
export interface SharedEndpoint {
  readonly id: number;
  readonly pool: string;
  readonly url: string;
  /** In the fleet table. */
  readonly slot: number;
  /** Null where its pool does not pick by prompt. */
  readonly index: PrefixIndex | null;
  /** In the index. */
  readonly ordinal: number;
}

/** Endpoints of the configuration in force, by the names that they are sent under and by those of the journals. */
export class Directory {
  readonly #byId = new Map<number, SharedEndpoint>();
  /** By number of the pool << 8 | ordinal. */
  readonly #byPlace = new Map<number, SharedEndpoint>();

  get all(): Iterable<SharedEndpoint> {
    return this.#byId.values();
  }

  rebuild({ pools }: Config, slots: readonly (readonly number[])[], memories: PrefixMemories): void {
    this.#byId.clear();
    this.#byPlace.clear();
    for (const [poolIndex, pool] of pools.entries()) {
      for (const [at, { url }] of pool.endpoints.entries()) {
        const place = memories.find(pool.name, url);
        const endpoint: SharedEndpoint = {
          id: endpointId(pool.name, url),
          pool: pool.name,
          url,
          slot: slots[poolIndex]![at]!,
          index: place?.index ?? null,
          ordinal: place?.ordinal ?? 0,
        };
        this.#byId.set(endpoint.id, endpoint);
        if (place !== null) this.#byPlace.set((place.number << 8) | place.ordinal, endpoint);
      }
    }
  }

  byId(id: number): SharedEndpoint | undefined {
    return this.#byId.get(id);
  }

  byPlace(pool: number, ordinal: number): SharedEndpoint | undefined {
    return this.#byPlace.get((pool << 8) | ordinal);
  }
}
