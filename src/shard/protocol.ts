/**
 * What the control thread and a shard say to each other. Everything hot goes through shared memory instead; these are
 * rare events: start, a new configuration, drain, a question from the admin port.
 */
import type { Config, FileTexts } from '../config/index.ts';
import type { PrefixMemory, SharedMemory } from '../shm/index.ts';

/** One loaded configuration with the fleet-table slots control has claimed for it. Plain data, frozen by the receiver. */
export interface Snapshot {
  /** Counts up from 1 with every applied load. */
  readonly version: number;
  readonly config: Config;
  /** endpointSlots[poolIndex][endpointIndex] is the endpoint's slot in the fleet table. */
  readonly endpointSlots: readonly (readonly number[])[];
  /** modelRows[poolIndex][row] is the configured model judged there, '' where none is: rows of the health table. */
  readonly modelRows: readonly (readonly string[])[];
  /** By pool: its prefix index, null where it has none. */
  readonly prefixes: readonly (PoolPrefixes | null)[];
  /** By pool: its row of the queue table. */
  readonly queueRows: readonly number[];
  /** The PEM files the configuration names, as they were when it was loaded. */
  readonly texts: FileTexts;
}

/** What a pool's KV caches hold, shared by all threads; `ordinals[endpointIndex]` is the endpoint's number in it. */
export interface PoolPrefixes {
  readonly memory: PrefixMemory;
  readonly ordinals: readonly number[];
  /** The pool's, of those that have an index; nobody else's as long as the process runs. */
  readonly number: number;
}

export interface ShardInit {
  readonly shardIndex: number;
  readonly memory: SharedMemory;
  /** Of clients, over all shards: `limits.connections_max`, or what it comes to. */
  readonly connectionsMax: number;
  readonly snapshot: Snapshot;
  /** pino level of the shard's logger; `silent` turns the access log off as well. */
  readonly logLevel: string;
  /** Folder or file of an operator-installed uWebSockets.js, or null for the bundled build. */
  readonly uwsPath: string | null;
}

/** Bound ports in the order of `config.listeners`; 0 in the config asks the first shard to choose. */
export type ListenPorts = readonly number[];

export type ControlToShard =
  | { readonly kind: 'listen'; readonly ports: ListenPorts }
  | { readonly kind: 'snapshot'; readonly snapshot: Snapshot }
  | { readonly kind: 'exchanges'; readonly askId: number }
  | { readonly kind: 'logged'; readonly chars: number }
  | { readonly kind: 'drain'; readonly drainMs: number }
  | { readonly kind: 'stop' };

export type ShardToControl =
  /** Sent once after start-up, before any `listen`; `uws` says which acceptor build was loaded. */
  | { readonly kind: 'loaded'; readonly uws: string }
  | { readonly kind: 'listening'; readonly ports: ListenPorts }
  /** The shard cannot start (`phase: start | listen`) or refused a snapshot (`phase: snapshot`; the old one stays). */
  | {
      readonly kind: 'failed';
      readonly phase: 'start' | 'listen' | 'snapshot';
      readonly message: string;
      readonly version?: number;
    }
  | { readonly kind: 'applied'; readonly version: number }
  /** The last word of a thread that ends because of an error. */
  | { readonly kind: 'dying'; readonly error: Error }
  /** No exchange is left after a drain was asked for. */
  | { readonly kind: 'drained' }
  | { readonly kind: 'exchanges'; readonly askId: number; readonly exchanges: readonly ExchangeView[] }
  /** Complete log lines, each ending in \n. Unacknowledged bytes are bounded by the shard (`logged` gives them back). */
  | { readonly kind: 'log'; readonly lines: string };

/** One open exchange as `GET /exchanges` shows it. */
export interface ExchangeView {
  readonly request_id: string;
  readonly shard: number;
  readonly method: string;
  readonly path: string;
  readonly model: string | null;
  readonly pool: string | null;
  readonly endpoint: string | null;
  /** Where its prompt is computed, if not there. */
  readonly prefill_endpoint: string | null;
  readonly phase: string;
  readonly request_half: string;
  readonly response_half: string;
  readonly age_ms: number;
  readonly request_bytes: number;
  readonly response_bytes: number;
  readonly attempts: number;
  /** Where the picker went by the prompt: its tokens, those the endpoint was to hold (-1 elsewhere), and what decided. */
  readonly estimated_tokens: number;
  readonly matched_tokens: number;
  /** In the picker's unit (docs/routing.md): seconds for `kv_aware`. */
  readonly score: number | null;
  readonly leases: readonly string[];
}
