import type { Catalogue } from './catalogue.ts';
import type { Scraper } from './scrape.ts';

/** What an endpoint says it has, as `/status` shows it. */
export interface CatalogueStatus {
  /** Base models. */
  readonly models: readonly string[];
  readonly adapters: readonly string[];
  /** Names left out above: more than anybody reads. */
  readonly further: number;
  /** The longest of its models; null when it does not say. */
  readonly context_tokens: number | null;
  /** Of adapters, and of models of a server that swaps them: those it should have in memory. */
  readonly loaded: readonly string[];
  /** Adapters that run at once, and those with requests that run and wait; null when it does not say. */
  readonly adapter_slots: number | null;
  readonly adapters_running: number | null;
  readonly adapters_waiting: number | null;
}

/** Of the observers, those that know. */
interface CatalogueSources {
  readonly catalogue: Pick<Catalogue, 'list' | 'residents'>;
  readonly scraper: Pick<Scraper, 'load'>;
}

const namesMax = 100;

/** Null when its list is not known. */
export function catalogueStatus({ catalogue, scraper }: CatalogueSources, slot: number): CatalogueStatus | null {
  const list = catalogue.list(slot);
  if (list === null) return null;
  const shown = list.slice(0, namesMax);
  const contextTokens = list.reduce((longest, entry) => Math.max(longest, entry.contextTokens), 0);
  const adapters = scraper.load(slot)?.adapters ?? null;
  return {
    models: shown.filter(({ parent }) => parent === null).map(({ name }) => name),
    adapters: shown.filter(({ parent }) => parent !== null).map(({ name }) => name),
    further: list.length - shown.length,
    context_tokens: contextTokens === 0 ? null : contextTokens,
    loaded: catalogue.residents(slot),
    adapter_slots: adapters?.slotCount ?? null,
    adapters_running: adapters?.running.length ?? null,
    adapters_waiting: adapters?.waiting.length ?? null,
  };
}
