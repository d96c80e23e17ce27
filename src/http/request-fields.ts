import type { MemberKey } from './member-key.ts';

/**
 * The members of a request body the gateway acts on. Everything else passes unseen.
 * Chat completions, completions, embeddings, responses and messages share these names (OpenAI, Anthropic, vLLM, SGLang).
 */

/** What a member's value must be; `null` counts as absent for all but `model`. */
export const FieldKind = { string: 0, boolean: 1, integer: 2, object: 3 } as const;
export type FieldKind = (typeof FieldKind)[keyof typeof FieldKind];

/** Index into `requestFields`, or `none`. */
export const Field = {
  none: -1,
  model: 0,
  stream: 1,
  streamOptions: 2,
  maxTokens: 3,
  maxCompletionTokens: 4,
  maxOutputTokens: 5,
  n: 6,
  user: 7,
  promptCacheKey: 8,
  /** The one member wanted inside `stream_options`. */
  includeUsage: 9,
} as const;
export type Field = (typeof Field)[keyof typeof Field];

export interface RequestField {
  readonly name: string;
  readonly kind: FieldKind;
  /** Of a string: bytes between its quotes, as sent. */
  readonly valueBytesMax: number;
  /** Problem codes, built once. */
  readonly duplicate: string;
  readonly wrongType: string;
  readonly tooLong: string;
}

const kindNames: readonly string[] = ['string', 'boolean', 'integer', 'object'];

function field(name: string, kind: FieldKind, valueBytesMax: number): RequestField {
  const wrongType = `${name}_not_${kindNames[kind]!}`;
  return { name, kind, valueBytesMax, duplicate: `duplicate_${name}`, wrongType, tooLong: `${name}_too_long` };
}

/** Long enough for any literal and any safe integer; a longer scalar is of the wrong type. */
const scalarBytesMax = 32;

/** Ordered as `Field`. */
export const requestFields: readonly RequestField[] = [
  field('model', FieldKind.string, 512),
  field('stream', FieldKind.boolean, scalarBytesMax),
  field('stream_options', FieldKind.object, scalarBytesMax),
  field('max_tokens', FieldKind.integer, scalarBytesMax),
  field('max_completion_tokens', FieldKind.integer, scalarBytesMax),
  field('max_output_tokens', FieldKind.integer, scalarBytesMax),
  field('n', FieldKind.integer, scalarBytesMax),
  field('user', FieldKind.string, 1024),
  field('prompt_cache_key', FieldKind.string, 1024),
  field('include_usage', FieldKind.boolean, scalarBytesMax),
];

export const valueBytesMax: number = Math.max(...requestFields.map((each) => each.valueBytesMax));

/** A key of more bytes cannot spell a wanted name, even with every character escaped (6 bytes each). */
export const keyBytesMax: number = Math.max(...requestFields.map((each) => each.name.length * 6));

/** The names differ in length, so the length picks the one candidate. */
const candidates: Field[] = Array.from({ length: 32 }, () => Field.none);
for (const each of Object.values(Field)) if (each !== Field.none) candidates[requestFields[each]!.name.length] = each;

/** The field of that name, at the top level or inside `stream_options`. */
export function fieldOf({ bytes, start, end }: MemberKey, isTopLevel: boolean): Field {
  const candidate = candidates[end - start] ?? Field.none;
  if (candidate === Field.none || isTopLevel === (candidate === Field.includeUsage)) return Field.none;
  const name = requestFields[candidate]!.name;
  for (let index = 0; index < name.length; index++) {
    if (bytes[start + index] !== name.charCodeAt(index)) return Field.none;
  }
  return candidate;
}
