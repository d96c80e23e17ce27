import { pathToFileURL } from 'node:url';
import type { FilterChainConfig, FilterConfig } from '../config/index.ts';
import { accessLogFilter } from './access-log.ts';
import { compileCondition, type Condition } from './conditions.ts';
import type { Answer, Filter, FilterContext, FilteredExchange, FilterModule } from './filter.ts';
import { forwardedHeadersFilter } from './forwarded-headers.ts';
import { headersFilter } from './headers.ts';
import { checkedFilter } from './own-filter.ts';
import { requestIdFilter } from './request-id.ts';
import { staticResponseFilter } from './static-response.ts';

interface Step {
  readonly filter: Filter;
  readonly condition: Condition | null;
}

/**
 * The filters of one listener, compiled to one array per hook: a hook nobody uses is an empty array, which costs one
 * length check per exchange or chunk. A head hook whose condition needs the model runs with the facts hooks.
 */
export class FilterChain {
  readonly #head: readonly Step[];
  readonly #refusal: readonly Step[];
  readonly #facts: readonly Step[];
  readonly #requestBody: readonly Step[];
  readonly #responseHead: readonly Step[];
  readonly #responseChunk: readonly Step[];
  readonly #end: readonly Step[];
  /** True when some filter acts on the model, so that it must be known before dispatch. */
  readonly needsFacts: boolean;
  /** True when some condition can only be decided once the whole body was seen. */
  readonly needsWholeBody: boolean;

  constructor(steps: readonly Step[]) {
    const having = (hook: keyof Filter): Step[] => steps.filter((step) => step.filter[hook] !== undefined);
    this.#head = having('onRequestHead').filter((step) => step.condition?.needsFacts !== true);
    this.#refusal = this.#head.filter((step) => step.filter.runsOnRefusal === true);
    const lateHeads = having('onRequestHead').filter((step) => step.condition?.needsFacts === true);
    this.#facts = [
      ...lateHeads.map(({ filter, condition }): Step => ({
        filter: { onRequestFacts: filter.onRequestHead!.bind(filter) },
        condition,
      })),
      ...having('onRequestFacts'),
    ];
    this.#requestBody = having('onRequestBody');
    this.#responseHead = having('onResponseHead');
    this.#responseChunk = having('onResponseChunk');
    this.#end = having('onEnd');
    this.needsFacts = this.#facts.length > 0;
    this.needsWholeBody = steps.some((step) => step.condition?.needsWholeBody === true);
  }

  get watchesRequestBody(): boolean {
    return this.#requestBody.length > 0;
  }

  get watchesResponseChunks(): boolean {
    return this.#responseChunk.length > 0;
  }

  /** Returns the first answer, or null to go on. Throws what a filter throws, as every hook here. */
  onRequestHead(exchange: FilteredExchange): Answer | null {
    for (const { filter, condition } of this.#head) {
      if (condition !== null && !condition.matches(exchange)) continue;
      const answer = filter.onRequestHead!(exchange);
      if (answer !== undefined) return answer;
    }
    return null;
  }

  /** The request is refused before its head has gone through the chain: it keeps its id, and its line in the log. */
  onRefusal(exchange: FilteredExchange): void {
    for (const { filter, condition } of this.#refusal) {
      if (condition === null || condition.matches(exchange)) filter.onRequestHead!(exchange);
    }
  }

  onRequestFacts(exchange: FilteredExchange): Answer | null {
    for (const { filter, condition } of this.#facts) {
      if (condition !== null && !condition.matches(exchange)) continue;
      const answer = filter.onRequestFacts!(exchange);
      if (answer !== undefined) return answer;
    }
    return null;
  }

  /** @hot per chunk. */
  onRequestBody(exchange: FilteredExchange, bytes: Uint8Array, start: number, end: number): void {
    for (let index = 0; index < this.#requestBody.length; index++) {
      const { filter, condition } = this.#requestBody[index]!;
      if (condition === null || condition.matches(exchange)) filter.onRequestBody!(exchange, bytes, start, end);
    }
  }

  onResponseHead(exchange: FilteredExchange): void {
    for (const { filter, condition } of this.#responseHead) {
      if (condition === null || condition.matches(exchange)) filter.onResponseHead!(exchange);
    }
  }

  /** @hot per chunk. */
  onResponseChunk(exchange: FilteredExchange, bytes: Uint8Array, start: number, end: number): void {
    for (let index = 0; index < this.#responseChunk.length; index++) {
      const { filter, condition } = this.#responseChunk[index]!;
      if (condition === null || condition.matches(exchange)) filter.onResponseChunk!(exchange, bytes, start, end);
    }
  }

  onEnd(exchange: FilteredExchange): void {
    for (const { filter, condition } of this.#end) {
      if (condition === null || condition.matches(exchange)) filter.onEnd!(exchange);
    }
  }
}

/**
 * Compiles the named chains, one behind the other. A listener that names none gets `request_id` and `access_log`.
 * Rejects when a user's module cannot be loaded or has no `createFilter`, naming it. `targetBytesMax` holds for what a user's
 * filter makes of the target.
 */
export async function compileChain(
  names: readonly string[],
  chains: readonly FilterChainConfig[],
  context: FilterContext,
  targetBytesMax: number,
): Promise<FilterChain> {
  if (names.length === 0) {
    return new FilterChain(
      [requestIdFilter(), accessLogFilter(context)].map((filter) => ({ filter, condition: null })),
    );
  }
  const steps: Step[] = [];
  for (const name of names) {
    const chain = chains.find((candidate) => candidate.name === name)!;
    for (const config of chain.filters) {
      steps.push({
        filter: await makeFilter(config, context, targetBytesMax),
        condition: compileCondition(config.when, config.unless, context),
      });
    }
  }
  return new FilterChain(steps);
}

async function makeFilter(config: FilterConfig, context: FilterContext, targetBytesMax: number): Promise<Filter> {
  if (config.module !== null) {
    const own = await loadFilter(config.filter, config.module, config.options, context);
    return checkedFilter(own, config.filter, targetBytesMax);
  }
  switch (config.filter) {
    case 'request_id':
      return requestIdFilter();
    case 'access_log':
      return accessLogFilter(context);
    case 'forwarded_headers':
      return forwardedHeadersFilter(context);
    case 'headers':
      return headersFilter(config);
    case 'static_response':
      return staticResponseFilter(config);
  }
}

async function loadFilter(
  name: string,
  path: string,
  options: Readonly<Record<string, unknown>>,
  context: FilterContext,
): Promise<Filter> {
  try {
    const module = (await import(pathToFileURL(path).href)) as Partial<FilterModule>;
    if (typeof module.createFilter !== 'function') throw new Error('it exports no createFilter(options, context)');
    return module.createFilter(options, context);
  } catch (error) {
    throw new Error(`filter ${name}: ${path}: ${(error as Error).message}`, { cause: error });
  }
}
