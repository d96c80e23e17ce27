import { contextTokensOf, isAdapter, listUnknown, loadsOnUse, type ModelTable, notListed } from '../shm/index.ts';
import type { PickEndpoint } from './pool-view.ts';

/** What a request asks of an endpoint's models. */
export interface ModelWish {
  /** Hash of the model's name as it is sent upstream; 0: it is not known, or there is none. */
  readonly modelKey: number;
  /** What its context has to hold: prompt tokens, about; 0: not known. */
  readonly contextTokens: number;
}

/** Prompts are estimated by their bytes: one that seems so much too long for an endpoint may fit all the same. */
const contextSlack = 1.25;

/**
 * Leaves out endpoints that say they do not have the model, or not the room for its prompt, as long as the pool has one that
 * does not say so: whether that one is up does not matter, since the others would answer with an error that clients take for
 * the last word. Where nobody has it (an alias of an engine's own, a server that takes any name) nobody is left out.
 *
 * What the table says of a model is kept until some list changes, so a pool of one model looks it up once.
 */
export class ModelFit {
  readonly #table: ModelTable;
  readonly #endpoints: readonly PickEndpoint[];
  /** By endpoint index: tokens, as configured; 0 = as the endpoint says. */
  readonly #configured: readonly number[];
  #key = -1;
  #generation = 0;
  #mixedGeneration = -1;
  #isMixed = false;
  /** By endpoint index: whether it lacks the model, or says nothing of it; and tokens of its context, 0 = not known. */
  readonly #lacks: Uint8Array;
  readonly #contexts: Int32Array;
  /** Scratch. */
  readonly #facts: Int32Array;
  readonly #loads: Uint8Array;
  #mostTokens = 0;
  #knowsContexts = false;
  #leavesOut = false;
  #wanted = 0;
  /** Some endpoint says that the model is a LoRA adapter. */
  isAdapter = false;
  /** Some endpoint has the model in memory only while it is used. */
  isLoaded = false;

  constructor(table: ModelTable, endpoints: readonly PickEndpoint[], configured: readonly number[]) {
    this.#table = table;
    this.#endpoints = endpoints;
    this.#configured = configured;
    this.#lacks = new Uint8Array(endpoints.length);
    this.#loads = new Uint8Array(endpoints.length);
    this.#contexts = new Int32Array(endpoints.length);
    this.#facts = new Int32Array(endpoints.length);
  }

  /** @hot per attempt. What follows is about this request. */
  begin({ modelKey, contextTokens }: ModelWish): void {
    const { generation } = this.#table;
    if (modelKey !== this.#key || generation !== this.#generation) this.#learn(modelKey, generation);
    // Where no context would hold it the engine says so in its own words.
    const isHeld = this.#knowsContexts && contextTokens <= this.#mostTokens * contextSlack;
    this.#wanted = isHeld ? contextTokens : 0;
  }

  /** @hot per attempt and endpoint. */
  admits(index: number): boolean {
    if (this.#leavesOut && this.#lacks[index] === 1) return false;
    const context = this.#contexts[index]!;
    return context === 0 || this.#wanted <= context * contextSlack;
  }

  /** Whether the endpoint may have to load the model first, if it does not have it in memory. */
  mayLoad(index: number): boolean {
    return this.#loads[index] === 1;
  }

  /** Endpoints of the pool list different models: then the model of a request decides. */
  get isMixed(): boolean {
    const { generation } = this.#table;
    if (generation === this.#mixedGeneration) return this.#isMixed;
    this.#mixedGeneration = generation;
    const digests = this.#endpoints.map(({ slot }) => this.#table.digest(slot)).filter((digest) => digest !== -1);
    return (this.#isMixed = digests.some((digest) => digest !== digests[0]));
  }

  #learn(key: number, generation: number): void {
    this.#key = key;
    this.#generation = generation;
    this.#leavesOut = false;
    this.#mostTokens = 0;
    this.#knowsContexts = false;
    this.isAdapter = false;
    this.isLoaded = false;
    for (let index = 0; index < this.#endpoints.length; index++) {
      const { slot, weight } = this.#endpoints[index]!;
      const facts = key > 0 ? this.#table.find(slot, key) : listUnknown;
      this.#facts[index] = facts;
      this.#lacks[index] = facts === notListed ? 1 : 0;
      if (facts >= 0) {
        if (weight > 0) this.#leavesOut = true;
        if (isAdapter(facts)) this.isAdapter = true;
        if (loadsOnUse(facts)) this.isLoaded = true;
      }
    }
    for (let index = 0; index < this.#endpoints.length; index++) {
      const { slot, weight } = this.#endpoints[index]!;
      const facts = this.#facts[index]!;
      this.#loads[index] = this.isLoaded && (facts === listUnknown || (facts >= 0 && loadsOnUse(facts))) ? 1 : 0;
      const said = facts >= 0 ? contextTokensOf(facts) : this.#table.longestContext(slot);
      const context = this.#configured[index]! || said;
      this.#contexts[index] = context;
      if (context > 0) this.#knowsContexts = true;
      if (weight <= 0 || (this.#leavesOut && this.#lacks[index] === 1)) continue;
      this.#mostTokens = Math.max(this.#mostTokens, context === 0 ? Number.POSITIVE_INFINITY : context);
    }
  }
}
