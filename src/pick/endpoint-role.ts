/**
 * What an endpoint can be picked for: bits of a set. Where a pool is not disaggregated every endpoint serves everything;
 * docs/disaggregation.md has the table for those that are.
 */
export const Serves = {
  /** Requests of a model, from the prompt to the last token. */
  whole: 1,
  /** Prompts for others. */
  prefill: 2,
  /** Answers to prompts that others have computed. */
  decode: 4,
  /** What needs no model: lists, versions, tokenization. */
  plain: 8,
} as const;
export type Serves = (typeof Serves)[keyof typeof Serves];

export const servesAll: number = Serves.whole | Serves.prefill | Serves.decode | Serves.plain;

type Role = 'prefill' | 'decode' | 'both';

const servedByRole: Readonly<Record<'vllm' | 'sglang', Readonly<Record<Role, number>>>> = {
  // An engine with a KV connector computes prompts itself when it is told nothing of any other.
  vllm: {
    prefill: Serves.prefill,
    decode: Serves.whole | Serves.decode | Serves.plain,
    both: servesAll,
  },
  // The mode of an engine is fixed when it starts, and one that has a mode refuses requests without a room.
  sglang: {
    prefill: Serves.prefill,
    decode: Serves.decode | Serves.plain,
    both: Serves.whole | Serves.plain,
  },
};

/** Bit set of `Serves`. `protocol`: null in a pool that is not disaggregated. */
export function servedBy(protocol: 'vllm' | 'sglang' | null, role: Role): number {
  return protocol === null ? servesAll : servedByRole[protocol][role];
}
