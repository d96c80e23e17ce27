import type { Config, EndpointConfig, PoolConfig } from '../config/index.ts';
import { type Priority, priorityFrom } from '../exchange/index.ts';
import { compileChain, type FilterChain, type FilterContext } from '../filters/index.ts';
import {
  DecodeChoice,
  type KvLearned,
  KvPicker,
  makePicker,
  makePolicy,
  ModelFit,
  type Picker,
  type PickerContext,
  PoolView,
  Residents,
  servedBy,
  Serves,
} from '../pick/index.ts';
import { RouteTable } from '../route/index.ts';
import {
  type ModelTable,
  otherRow,
  type PrefixJournalWriter,
  type ResidentTable,
  type WorkTable,
} from '../shm/index.ts';
import {
  credentialLines,
  type EndpointAddress,
  type EndpointSettings,
  type UpstreamEndpoint,
} from '../upstream/index.ts';
import type { BusyClock } from './busy-clock.ts';
import type { EndpointRegistry } from './endpoint-registry.ts';
import type { Snapshot } from './protocol.ts';
import type { PoolLasting } from './pool-lasting.ts';
import type { RetryBudget } from './retry-budget.ts';
import type { WaitingRoom } from './waiting-room.ts';

/** A pool as one shard runs it. */
export interface PoolRuntime {
  readonly config: PoolConfig;
  readonly view: PoolView;
  readonly picker: Picker;
  /** In the order of the configuration. */
  readonly endpoints: readonly UpstreamEndpoint[];
  /** Causes a further attempt is made for: connect, reset, or a status as text. */
  readonly retryCauses: ReadonlySet<string>;
  /** Its engine ends every stream of completions with `[DONE]`. */
  readonly promisesDone: boolean;
  readonly retryBudget: RetryBudget;
  readonly waitingRoom: WaitingRoom;
  /** Models its endpoints are judged for, apart from one another. */
  readonly modelCount: number;
  /** Row of the health table for a model, by its name in the configuration. */
  readonly rowOf: (modelLabel: string) => number;
  /** Its picker, where that goes by what KV caches hold. */
  readonly kv: KvPicker | null;
  /** How requests are split over two endpoints; null: they are not. */
  readonly split: PoolSplit | null;
  /** Of its models and endpoints, by this shard. */
  readonly learned: KvLearned;
  /** By endpoint index: whose time it is. */
  readonly clocks: readonly BusyClock[];
  /** What is in its engines' memory. */
  readonly residents: Residents;
  /** Prompts without a first token make an endpoint full. */
  readonly boundsPending: boolean;
  /** True when picking, or the queue, needs a field of the body. */
  readonly readsBody: boolean;
}

/** `pools[].disaggregation`, as a shard goes by it. */
export interface PoolSplit {
  readonly protocol: 'vllm' | 'sglang';
  /** Picks where answers come from; `picker` picks where prompts are computed. */
  readonly choice: DecodeChoice;
  /** Those that compute prompts, as a part of the pool in its waiting room. */
  readonly promptPart: number;
  /** By endpoint. */
  readonly bootstrapPorts: readonly number[];
}

/** One applied configuration, compiled for a shard. An exchange keeps the one it began with. */
export interface Runtime {
  readonly version: number;
  readonly config: Config;
  readonly routes: RouteTable;
  readonly pools: readonly PoolRuntime[];
  /** Some pool does: bodies are routed when they are complete. */
  readonly picksByPrompt: boolean;
  /** Some pool is disaggregated: bodies are looked through for what only the gateway may say. */
  readonly isSplit: boolean;
  /** By listener. */
  readonly chains: readonly FilterChain[];
  /** By listener. */
  readonly listenerPriorities: readonly Priority[];
}

export interface RuntimeContext {
  readonly registry: EndpointRegistry;
  readonly picker: PickerContext;
  readonly lasting: PoolLasting;
  /** Where other gateways are told what is learned; null: there are none. */
  readonly journal: PrefixJournalWriter | null;
  readonly models: ModelTable;
  readonly work: WorkTable;
  readonly residents: ResidentTable;
  /** An endpoint of the pool sent bytes that belong to no response. */
  readonly noteStrayBytes: (poolName: string) => void;
  readonly filterContext: (listenerIndex: number) => FilterContext;
}

/** Where `[DONE]` may be missing (an unknown engine, TGI, llama.cpp) a finish reason is enough. */
const enginesWithDone: ReadonlySet<string> = new Set(['vllm', 'sglang', 'trtllm', 'nim']);

/** Rejects, naming what is wrong, when a filter's module cannot be loaded; nothing has changed then. */
export async function compileRuntime(snapshot: Snapshot, context: RuntimeContext): Promise<Runtime> {
  const { config } = snapshot;
  const chains = await Promise.all(
    config.listeners.map((listener, index) =>
      compileChain(
        listener.filterChains,
        config.filterChains,
        context.filterContext(index),
        config.limits.targetBytesMax,
      ),
    ),
  );
  const authorities = config.pools.map((pool) => (pool.tls.caPath === null ? null : snapshot.texts[pool.tls.caPath]!));
  const routes = new RouteTable(config);
  // Nothing below can fail, so the registry is only touched for a configuration that will be used.
  const pools = config.pools.map((pool, poolIndex): PoolRuntime => {
    const slots = snapshot.endpointSlots[poolIndex]!;
    const endpoints = pool.endpoints.map((endpoint, index) =>
      context.registry.obtain(
        slots[index]!,
        addressOf(pool, endpoint, authorities[poolIndex]!),
        settingsOf(pool, endpoint, () => context.noteStrayBytes(pool.name)),
      ),
    );
    const rows = rowsByModel(snapshot.modelRows[poolIndex]!);
    const protocol = pool.disaggregation?.protocol ?? null;
    const pickable = pool.endpoints.map(({ url, weight, role }, index) => ({
      url,
      weight,
      slot: slots[index]!,
      serves: servedBy(protocol, role),
    }));
    const contexts = pool.endpoints.map(({ contextTokens }) => contextTokens);
    const rule = {
      inflightMax: pool.inflightMax,
      pendingTokensMax: pool.pendingTokensMax,
      pendingPrefillMs: pool.pendingPrefillMs,
      completionRateMax: pool.completionRateMax,
      waitingMax: pool.queue.saturatedAt.waiting,
      kvUsageMax: pool.queue.saturatedAt.kvUsage,
      slowStartMs: pool.slowStartMs,
    };
    const fit = new ModelFit(context.models, pickable, contexts);
    const urls = pool.endpoints.map(({ url }) => url);
    const learned = context.lasting.kvLearned(pool.name, new Set(urls));
    const view = new PoolView(pickable, context.registry.fleet, rule, fit, learned.rate, context.work);
    const waitingRoom = context.lasting.waitingRoom(pool, snapshot.queueRows[poolIndex]!);
    const prefillers = Uint8Array.from(pickable, ({ serves }) => ((serves & Serves.prefill) === 0 ? 0 : 1));
    const parts = protocol === null ? routes.parts[poolIndex]! : [...routes.parts[poolIndex]!, prefillers];
    waitingRoom.follow(parts, view);
    const fallback = makePicker(pool.picker, pool.endpoints.length, context.picker);
    const prefixes = snapshot.prefixes[poolIndex] ?? null;
    const { random } = context.picker;
    const residents = new Residents(view, context.residents, learned.loads);
    const kv =
      prefixes === null
        ? null
        : new KvPicker({
            view,
            ...prefixes,
            work: context.work,
            journal: context.journal,
            learned,
            residents,
            policy: makePolicy(pool.picker, view.hashes, random),
            fallback,
            random,
          });
    return {
      config: pool,
      view,
      picker: kv ?? fallback,
      kv,
      learned,
      clocks: context.lasting.busyClocks(pool.name, urls),
      residents,
      endpoints,
      split: splitOf(pool, kv, parts.length),
      retryCauses: new Set(pool.retries.on),
      promisesDone: pool.dialect === 'openai' && enginesWithDone.has(pool.engine),
      retryBudget: context.lasting.retryBudget(pool.name, {
        percent: pool.retries.budgetPercent,
        countMin: pool.retries.budgetMin,
      }),
      modelCount: rows.size + (config.defaultPool === pool.name ? 1 : 0),
      rowOf: (modelLabel) => rows.get(modelLabel) ?? otherRow,
      waitingRoom,
      boundsPending: pool.pendingTokensMax > 0 || pool.pendingPrefillMs > 0,
      readsBody:
        pool.queue.fairBy.source === 'body' ||
        (pool.picker === 'consistent_hash' && pool.hashOn.some((source) => source.source === 'body')),
    };
  });
  const listenerPriorities = config.listeners.map((listener) => priorityFrom(listener.priority)!);
  context.registry.retireExcept(new Set(pools.flatMap((pool) => pool.endpoints)));
  return {
    version: snapshot.version,
    config,
    routes,
    pools,
    picksByPrompt: pools.some(({ kv }) => kv !== null),
    isSplit: pools.some(({ split }) => split !== null),
    chains,
    listenerPriorities,
  };
}

function splitOf(pool: PoolConfig, kv: KvPicker | null, promptPart: number): PoolSplit | null {
  const { disaggregation, endpoints } = pool;
  if (disaggregation === null) return null;
  const { protocol, prefillFromTokens, bootstrapPort } = disaggregation;
  const choice = new DecodeChoice(endpoints.length, prefillFromTokens, kv);
  return {
    protocol,
    choice,
    promptPart,
    bootstrapPorts: endpoints.map((endpoint) => endpoint.bootstrapPort ?? bootstrapPort),
  };
}

function rowsByModel(models: readonly string[]): ReadonlyMap<string, number> {
  const named = models.map((model, row) => [model, row] as const).filter(([model]) => model !== '');
  return new Map(named);
}

function addressOf(pool: PoolConfig, endpoint: EndpointConfig, ca: string | null): EndpointAddress {
  return {
    url: endpoint.url,
    host: endpoint.host,
    port: endpoint.port,
    tls: endpoint.tls ? { serverName: pool.tls.serverName ?? endpoint.host, verifies: pool.tls.verify, ca } : null,
  };
}

function settingsOf(pool: PoolConfig, endpoint: EndpointConfig, onStrayBytes: () => void): EndpointSettings {
  return {
    connectionsMax: pool.connectionsMax,
    keepaliveIdleMs: pool.keepaliveIdleMs,
    head: {
      authority: endpoint.authority,
      basePath: endpoint.basePath,
      credentialLines: credentialLines(pool.dialect, pool.credential ?? undefined),
      passesAuthorization: pool.passAuthorization,
    },
    onStrayBytes,
  };
}
