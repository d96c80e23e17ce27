/**
 * What the engine says: readable English from a fixed list of words, with a non-ASCII word now and then, or JSON that fits
 * a schema. The same seed gives the same text, so a retry on another engine with the same seed is answered alike.
 *
 * Text is made as tokens of `tokenizer.ts`, so that an answer sent back as history has the tokens, and finds the blocks,
 * of the generation that made it.
 */
import { isObject } from './json.ts';
import type { JsonObject } from './json.ts';
import { Random } from './random.ts';
import type { FinishReason, OutputPlan } from './sequence.ts';
import { special, tokenize } from './tokenizer.ts';

const words: readonly string[] = (
  'the a one this that each every some pump valve gauge strainer harbour tide crane engine turbine gate pipe water pressure ' +
  'river basin spring morning evening winter crew shift report unit record chart signal lamp rope anchor bridge ferry ' +
  'is was runs holds turns opens closes rises falls moves keeps shows carries measures follows returns begins stays ' +
  'north south east west low high slow quick steady clear quiet warm cold early late small large open full empty next ' +
  'and or but so then because while before after until under over near along between through without into from with ' +
  'we they it you she he someone nobody everyone here there today tomorrow again always often never almost still already'
).split(' ');

/** One in `accentEvery` words comes from here: two-, three- and four-byte UTF-8, so that readers meet split characters. */
const accentedWords: readonly string[] = [
  'café',
  'naïve',
  'Zürich',
  'façade',
  'señal',
  'Ωmega',
  '港',
  '潮汐',
  '🌊',
  'été',
];
const accentEvery = 24;

/** An endless supply of prose tokens. */
export class Prose {
  readonly #random: Random;
  #pending: Int32Array = new Int32Array(0);
  #at = 0;
  #wordsLeft = 0;
  #isFirst = true;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  nextToken(): number {
    while (this.#at === this.#pending.length) {
      this.#pending = tokenize(this.#nextWord());
      this.#at = 0;
    }
    return this.#pending[this.#at++]!;
  }

  #nextWord(): string {
    const random = this.#random;
    const isOpening = this.#wordsLeft === 0;
    if (isOpening) this.#wordsLeft = 5 + random.below(9);
    this.#wordsLeft--;
    const list = random.below(accentEvery) === 0 ? accentedWords : words;
    const word = list[random.below(list.length)]!;
    const text = isOpening ? word[0]!.toUpperCase() + word.slice(1) : word;
    const lead = this.#isFirst ? '' : ' ';
    this.#isFirst = false;
    return lead + text + (this.#wordsLeft === 0 ? '.' : '');
  }
}

const fullStop = tokenize('.')[0]!;

/** Prose of exactly `tokenCount` tokens; a natural end (`stop`) is a full stop. */
export function prosePlan(seed: number, tokenCount: number, finishReason: FinishReason): OutputPlan {
  const prose = new Prose(seed);
  let left = tokenCount;
  return {
    tokenCount,
    finishReason,
    nextToken: () => (--left === 0 && finishReason === 'stop' ? fullStop : prose.nextToken()),
  };
}

/** Exactly these tokens, or their first `tokenCountMax`. */
export function fixedPlan(tokens: Int32Array, tokenCountMax: number): OutputPlan {
  let at = 0;
  return {
    tokenCount: Math.max(1, Math.min(tokens.length, tokenCountMax)),
    finishReason: tokens.length <= tokenCountMax ? 'stop' : 'length',
    nextToken: () => tokens[at++]!,
  };
}

/** The tokens of a tool call as the chat template writes it: a control token, the name, a separator, the arguments. */
export function toolCallTokens(name: string, argumentsText: string): Int32Array {
  const nameTokens = tokenize(name);
  const argumentTokens = tokenize(argumentsText);
  const tokens = new Int32Array(nameTokens.length + argumentTokens.length + 2);
  tokens[0] = special.toolCall;
  tokens.set(nameTokens, 1);
  tokens[nameTokens.length + 1] = special.separator;
  tokens.set(argumentTokens, nameTokens.length + 2);
  return tokens;
}

/** JSON text that a JSON Schema accepts, as far as types, enum, const, properties and items go. */
export function jsonText(schema: unknown, seed: number): string {
  return JSON.stringify(sample(isObject(schema) ? schema : {}, new Random(seed), 0));
}

const sampleDepthMax = 8;

function sample(schema: JsonObject, random: Random, depth: number): unknown {
  if ('const' in schema) return schema['const'];
  const choices = schema['enum'];
  if (Array.isArray(choices) && choices.length > 0) return choices[random.below(choices.length)];
  const variants = schema['anyOf'] ?? schema['oneOf'];
  if (Array.isArray(variants) && isObject(variants[0])) return sample(variants[0], random, depth);
  const type = Array.isArray(schema['type']) ? schema['type'][0] : schema['type'];
  switch (type) {
    case 'string':
      return words[random.below(words.length)];
    case 'integer':
      return random.below(100);
    case 'number':
      return random.below(1000) / 10;
    case 'boolean':
      return random.below(2) === 1;
    case 'null':
      return null;
    case 'array':
      return depth >= sampleDepthMax ? [] : [sample(asSchema(schema['items']), random, depth + 1)];
    default:
      return sampleObject(schema, random, depth);
  }
}

function sampleObject(schema: JsonObject, random: Random, depth: number): JsonObject {
  const properties = schema['properties'];
  if (isObject(properties)) {
    if (depth >= sampleDepthMax) return {};
    return Object.fromEntries(
      Object.entries(properties).map(([key, value]) => [key, sample(asSchema(value), random, depth + 1)]),
    );
  }
  // A tool without parameters gets an empty object; free JSON says something.
  if (schema['type'] === 'object') return {};
  return { answer: words[random.below(words.length)], count: random.below(100), note: 'café' };
}

function asSchema(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}
