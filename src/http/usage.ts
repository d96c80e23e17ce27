/**
 * Finds the token usage an answer reports about itself, in bytes whose beginning may be missing. The names differ by API,
 * the place does not: an object under a key `"usage"`, near the end.
 */
import { JsonKey } from './json-key.ts';
import { readCounts, UsageCount, usageCounts } from './usage-object.ts';

/** Tokens as OTel's `gen_ai.usage.*` counts them. `cachedTokens` are part of `promptTokens`, whatever the API says. */
export interface TokenUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
}

/** What one usage object says; -1 where it says nothing. Streams of Anthropic spread the numbers over two events. */
export interface PartialUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
}

const openBrace = 0x7b;
const usageKey = new JsonKey('usage');

/** @hot per chunk. Offset of the brace that opens the last `"usage": {...}` in [start, end), or -1. */
export function lastUsageObject(bytes: Buffer, start: number, end: number): number {
  return usageKey.lastValue(bytes, start, end, openBrace);
}

/** Reads the object that opens at `start`; null when it is cut off or counts no tokens. */
export function parseUsage(bytes: Buffer, start: number, end: number): PartialUsage | null {
  return readCounts(bytes, start, end, counts) ? usageOf(counts) : null;
}

const counts = new Float64Array(usageCounts);

/**
 * OpenAI and the engines say prompt_tokens and completion_tokens, Responses and Anthropic input_tokens and output_tokens.
 * Anthropic's input_tokens leave out what was read from or written to the cache; everybody else counts it in.
 */
function usageOf(said: Float64Array): PartialUsage | null {
  const completionTokens = firstCount(said[UsageCount.completion]!, said[UsageCount.output]!);
  const totalTokens = said[UsageCount.total]!;
  const inputTokens = said[UsageCount.input]!;
  let promptTokens = said[UsageCount.prompt]!;
  if (promptTokens === -1 && inputTokens !== -1) {
    const written = said[UsageCount.cacheWritten]!;
    const read = said[UsageCount.cacheRead]!;
    promptTokens = inputTokens + Math.max(0, written) + Math.max(0, read);
  }
  // Some rerankers report the total only.
  if (promptTokens === -1 && totalTokens !== -1)
    promptTokens = Math.max(0, totalTokens - Math.max(0, completionTokens));
  if (promptTokens === -1 && completionTokens === -1) return null;
  const cachedTokens = firstCount(said[UsageCount.cached]!, said[UsageCount.cacheRead]!);
  return { promptTokens, completionTokens, cachedTokens };
}

function firstCount(first: number, second: number): number {
  return first === -1 ? second : first;
}

/**
 * Completion tokens are a running total, so the later report wins. Of the prompt the larger is taken: a later report may leave
 * out the cached part. What neither mentions is 0; null when there is none.
 */
export function mergeUsage(earlier: PartialUsage | null, later: PartialUsage | null): TokenUsage | null {
  if (earlier === null && later === null) return null;
  return {
    promptTokens: Math.max(later?.promptTokens ?? 0, earlier?.promptTokens ?? 0, 0),
    completionTokens: Math.max(firstCount(later?.completionTokens ?? -1, earlier?.completionTokens ?? -1), 0),
    cachedTokens: Math.max(later?.cachedTokens ?? 0, earlier?.cachedTokens ?? 0, 0),
  };
}
