/** What all endpoints of one simulated engine share. */
import type { Faults } from './faults.ts';
import type { Random } from './random.ts';
import type { Engine } from './scheduler.ts';
import type { SimSettings } from './options.ts';
import type { Transfers } from './transfer.ts';

export interface SimContext {
  readonly settings: SimSettings;
  readonly engine: Engine;
  readonly faults: Faults;
  /** Draws ids only, so that ids do not shift texts or faults. */
  readonly ids: Random;
  readonly transfers: Transfers;
  /** Adapters that are loaded, by name, with the path they came from. */
  readonly adapters: Map<string, string>;
  /** Requests by path, since the start; unknown paths count as `other`. */
  readonly requestsByPath: Map<string, number>;
  /** Adapter sets seen by `/metrics` scrapes, with the Unix seconds of the last sight. */
  readonly adapterRows: Map<string, number>;
  /** Unix seconds. */
  readonly startedAt: number;
  readonly counters: {
    /** Requests whose response has not ended. */
    active: number;
    /** Of those, requests to endpoints that use the engine: vLLM's `server_load`. */
    load: number;
    connections: number;
    connectionsTotal: number;
    requestBytes: number;
  };
}
