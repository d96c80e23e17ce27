import type { Logger } from 'pino';
import type { Clock } from '../core/index.ts';
import { modelKeyOf } from '../pick/index.ts';
import {
  type ListedModel,
  listedModelsMax,
  ModelTable,
  Residency,
  ResidentTable,
  type SharedMemory,
} from '../shm/index.ts';
import { deferred, within } from './deferred.ts';
import type { EngineAdapters, EngineLoad } from './engine-metrics.ts';
import { loadedModelsPath, parseLoadedModels, parseModelList } from './listed-models.ts';
import type { ModelEntry } from './listed-models.ts';
import { probeFailure } from './probe-client.ts';
import type { Probe, ProbeTarget } from './probe-client.ts';

/**
 * Asks every endpoint which models it has, and publishes that for the picker: at start, every 30 s, and when it was restarted or
 * is back. What is not known leaves nobody out, so no failure matters: an answer that is no list makes the list unknown, and
 * so does a third question in a row without an answer, or with one that only says that the server is unwell (5xx, 429).
 *
 * What engines say of models that they have in memory only while these are used goes into the table of residents: adapters, of
 * which the metrics tell, and models of servers that swap them.
 */
export interface CatalogueOptions {
  readonly memory: SharedMemory;
  readonly probe: Probe;
  readonly clock: Clock;
  readonly log: Logger;
  /** 0..1, for the jitter. */
  readonly random?: () => number;
}

const path = '/v1/models';
const intervalMs = 30_000;
const jitterRatio = 0.1;
const timeoutMs = 2000;
const silencesMax = 3;
const meetTimeoutMs = 500;

/** Dialects with a list of models in OpenAI's form. */
const dialectsWithList: ReadonlySet<string> = new Set(['openai', 'ollama', 'llamacpp']);

interface Tools extends CatalogueOptions {
  readonly models: ModelTable;
  readonly residents: ResidentTable;
}

export class Catalogue {
  readonly #options: Tools;
  readonly #watches = new Map<number, ListWatch>();
  /** In the order of the endpoints to which everything goes where no models are configured. */
  #pageSlots: readonly number[] = [];
  #page = '';

  constructor(options: CatalogueOptions) {
    const { memory } = options;
    this.#options = { ...options, models: new ModelTable(memory, -1), residents: new ResidentTable(memory, -1) };
  }

  /**
   * Asks those of them that nobody is asking yet, before they are picked. Resolves when all have answered, or after half a
   * second: one that is slow must not hold up the others.
   */
  async meet(targets: readonly ProbeTarget[]): Promise<void> {
    const strangers = targets.filter((target) => isAsked(target) && !this.#watches.has(target.slot));
    const answers = strangers.map((target) => this.#begin(target));
    if (answers.length > 0) await within(Promise.all(answers), meetTimeoutMs, null);
  }

  /** Asks exactly these from now on; those that stay go on undisturbed. `pagePool`: whose models the gateway's own list is made of. */
  watch(targets: readonly ProbeTarget[], pagePool: string | null): void {
    const wanted = new Map(targets.filter(isAsked).map((target) => [target.slot, target]));
    this.#pageSlots = targets.filter(({ pool }) => pool.name === pagePool).map(({ slot }) => slot);
    for (const [slot, watch] of this.#watches) {
      const target = wanted.get(slot);
      if (target !== undefined && watch.isFor(target)) continue;
      watch.stop();
      this.#watches.delete(slot);
      this.#options.models.publish(slot, null);
      this.#options.residents.clear(slot);
    }
    for (const [slot, target] of wanted) {
      if (!this.#watches.has(slot)) void this.#begin(target);
    }
    this.#publishPage();
  }

  /** Resolves when it has answered, or has not. */
  #begin(target: ProbeTarget): Promise<null> {
    const watch = new ListWatch(target, this.#options, () => this.#publishPage());
    this.#watches.set(target.slot, watch);
    watch.ask();
    return watch.met;
  }

  /** A scrape said so: what adapters run; and an engine that was restarted may have other models. */
  note({ slot }: ProbeTarget, { startedAtSeconds, adapters }: EngineLoad): void {
    const watch = this.#watches.get(slot);
    watch?.noteStart(startedAtSeconds);
    if (adapters !== null) watch?.noteAdapters(adapters);
  }

  /** It may be another one by now: asks at once. */
  ask(slot: number): void {
    this.#watches.get(slot)?.ask();
  }

  /** What the endpoint lists; null = not known. */
  list(slot: number): readonly ModelEntry[] | null {
    return this.#watches.get(slot)?.list ?? null;
  }

  /** Names of those that it should have in memory, of models that are loaded on use. */
  residents(slot: number): string[] {
    const { residents } = this.#options;
    const swapped = (this.list(slot) ?? []).filter(({ parent, isLoaded }) => parent !== null || isLoaded !== null);
    return swapped
      .filter(({ name }) => residents.find(slot, modelKeyOf(name)) === Residency.here)
      .map(({ name }) => name);
  }

  stop(): void {
    for (const watch of this.#watches.values()) watch.stop();
    this.#watches.clear();
  }

  /** The union of what the endpoints list, each name once, with the longest context that any has for it. */
  #publishPage(): void {
    const union = new Map<string, { parent: string | null; contextTokens: number }>();
    for (const slot of this.#pageSlots) {
      for (const { name, parent, contextTokens } of this.list(slot) ?? []) {
        const known = union.get(name) ?? { parent, contextTokens: 0 };
        union.set(name, { ...known, contextTokens: Math.max(known.contextTokens, contextTokens) });
      }
    }
    const data = [...union].map(([id, { parent, contextTokens }]) => ({
      id,
      ...(parent === null ? {} : { parent }),
      ...(contextTokens === 0 ? {} : { max_model_len: contextTokens }),
    }));
    const page = data.length === 0 ? '' : JSON.stringify(data);
    if (page === this.#page) return;
    this.#page = page;
    this.#options.models.publishPage(page === '' ? null : Buffer.from(page));
  }
}

function isAsked({ pool }: ProbeTarget): boolean {
  return pool.modelLists && pool.engine !== 'none' && dialectsWithList.has(pool.dialect);
}

class ListWatch {
  readonly #target: ProbeTarget;
  readonly #options: Tools;
  readonly #onChange: () => void;
  readonly #settings: string;
  #list: readonly ModelEntry[] | null = null;
  /** Adapters the engine had requests for; it may have them without listing them. */
  readonly #seenAdapters = new Set<string>();
  readonly #met = deferred<null>();
  /** Of the list as it was published. */
  #published = '';
  #silences = 0;
  #startedAtSeconds = 0;
  #timer: NodeJS.Timeout | null = null;
  #isAsking = false;
  /** Asked for while a question was under way. */
  #isAskedAgain = false;
  #isStopped = false;

  constructor(target: ProbeTarget, options: Tools, onChange: () => void) {
    this.#target = target;
    this.#options = options;
    this.#onChange = onChange;
    this.#settings = settingsOf(target);
    options.models.publish(target.slot, null); // The slot may have been another's.
    options.residents.clear(target.slot);
  }

  get list(): readonly ModelEntry[] | null {
    return this.#list;
  }

  /** The first question is over. */
  get met(): Promise<null> {
    return this.#met.promise;
  }

  isFor(target: ProbeTarget): boolean {
    return settingsOf(target) === this.#settings;
  }

  stop(): void {
    this.#isStopped = true;
    this.#met.resolve(null);
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  noteStart(startedAtSeconds: number): void {
    if (startedAtSeconds === 0 || startedAtSeconds === this.#startedAtSeconds) return;
    const isRestart = this.#startedAtSeconds !== 0;
    this.#startedAtSeconds = startedAtSeconds;
    if (!isRestart) return;
    this.#seenAdapters.clear();
    this.#options.residents.clear(this.#target.slot);
    this.#publish(null);
    this.ask();
  }

  noteAdapters({ slotCount, running, waiting }: EngineAdapters): void {
    const { residents, clock } = this.#options;
    const isNew = [...running, ...waiting].filter((name) => !this.#seenAdapters.has(name));
    for (const name of isNew) if (this.#seenAdapters.size < listedModelsMax) this.#seenAdapters.add(name);
    if (isNew.length > 0) this.#publish(this.#list);
    residents.note(this.#target.slot, slotCount, running.map(modelKeyOf), clock.refresh());
  }

  ask(): void {
    if (this.#isAsking) {
      this.#isAskedAgain = true;
      return;
    }
    if (this.#timer !== null) clearTimeout(this.#timer);
    void this.#ask();
  }

  async #ask(): Promise<void> {
    const { probe, log } = this.#options;
    const { pool, endpoint } = this.#target;
    this.#isAsking = true;
    try {
      const { status, text } = await probe(this.#target, path, timeoutMs);
      if (status >= 500 || status === 429) throw new Error(`status ${status}`);
      this.#silences = 0;
      const list = status === 200 ? parseModelList(text) : null;
      const swapped = list === null ? null : await this.#askLoaded(list);
      if (!this.#isOutdated) this.#publish(swapped ?? list);
    } catch (error) {
      log.debug({ pool: pool.name, endpoint: endpoint.url, reason: probeFailure(error) }, 'models were not listed');
      if (++this.#silences >= silencesMax && !this.#isStopped) this.#publish(null);
    }
    this.#isAsking = false;
    this.#met.resolve(null);
    if (this.#isStopped) return;
    if (this.#isAskedAgain) {
      this.#isAskedAgain = false;
      void this.#ask();
      return;
    }
    const jitter = 1 + jitterRatio * (2 * (this.#options.random ?? Math.random)() - 1);
    this.#timer = setTimeout(() => this.ask(), intervalMs * jitter).unref();
  }

  /** The answer to the question under way is about the endpoint as it was. */
  get #isOutdated(): boolean {
    return this.#isStopped || this.#isAskedAgain;
  }

  /** The list with what is in memory, where the server swaps its models and says which are there; else null. */
  async #askLoaded(list: readonly ModelEntry[]): Promise<readonly ModelEntry[] | null> {
    const { residents, clock } = this.#options;
    const { slot, pool } = this.#target;
    let told = list.some(({ isLoaded }) => isLoaded !== null) ? list : null;
    const where = loadedModelsPath(list, pool.dialect);
    if (told === null && where !== null) {
      const loaded = await this.#loadedAt(where);
      if (loaded === null) return null;
      told = list.map((entry) => ({ ...entry, isLoaded: loaded.has(entry.name) }));
    }
    if (told === null || this.#isOutdated) return null;
    const keys = told.filter(({ isLoaded }) => isLoaded === true).flatMap(keysOf);
    residents.replace(slot, keys, clock.refresh() - intervalMs);
    return told;
  }

  /** Names of models in memory; null when that cannot be found out, which takes nothing from the list. */
  async #loadedAt(where: string): Promise<ReadonlySet<string> | null> {
    const { probe, log } = this.#options;
    const { pool, endpoint } = this.#target;
    try {
      const { status, text } = await probe(this.#target, where, timeoutMs);
      const names = status === 200 ? parseLoadedModels(text) : null;
      return names === null ? null : new Set(names);
    } catch (error) {
      log.debug(
        { pool: pool.name, endpoint: endpoint.url, reason: probeFailure(error) },
        'loaded models were not listed',
      );
      return null;
    }
  }

  #publish(list: readonly ModelEntry[] | null): void {
    const { models, log } = this.#options;
    const { slot, pool, endpoint } = this.#target;
    this.#list = list;
    const listed = listedModels(list, this.#seenAdapters);
    const text = JSON.stringify([list !== null, listed]);
    if (text === this.#published) return;
    const isFirst = this.#published === '';
    this.#published = text;
    const fields = { pool: pool.name, endpoint: endpoint.url, models: listed.length };
    const isNothing = list === null && listed.length === 0;
    if (!models.publish(slot, isNothing ? null : listed, list !== null))
      log.warn({ ...fields, max: listedModelsMax }, 'endpoint has too many models');
    else if (list !== null) log.info(fields, isFirst ? 'endpoint lists its models' : 'endpoint lists other models');
    this.#onChange();
  }
}

/** As the table has them: each name it goes by once. Adapters that were seen count where there is no list, which would know of one that left. */
function listedModels(list: readonly ModelEntry[] | null, seenAdapters: ReadonlySet<string>): ListedModel[] {
  const byKey = new Map<number, ListedModel>();
  for (const entry of list ?? []) {
    const { parent, contextTokens, isLoaded } = entry;
    for (const key of keysOf(entry)) {
      if (byKey.has(key)) continue;
      byKey.set(key, { key, contextTokens, isAdapter: parent !== null, loads: parent !== null || isLoaded !== null });
    }
  }
  for (const name of seenAdapters) {
    const key = modelKeyOf(name);
    const known = byKey.get(key);
    if (known === undefined && list !== null) continue;
    byKey.set(key, { key, contextTokens: known?.contextTokens ?? 0, isAdapter: true, loads: true });
  }
  return [...byKey.values()];
}

function keysOf({ name, aliases }: ModelEntry): number[] {
  return [name, ...aliases].map(modelKeyOf);
}

function settingsOf({ pool, endpoint }: ProbeTarget): string {
  return JSON.stringify([pool.engine, pool.tls, pool.credential, pool.dialect, pool.modelLists, endpoint.url]);
}
