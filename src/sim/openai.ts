/** What OpenAI's chat and legacy completions share: usage and creation time. */
import type { SimContext } from './context.ts';
import type { Generation } from './generation.ts';
import type { JsonObject } from './json.ts';

export function unixSeconds(context: SimContext): number {
  return Math.floor(context.settings.unixMs() / 1000);
}

export function usageOf(generation: Generation): JsonObject {
  const { promptTokens, completionTokens, cachedTokens } = generation;
  return {
    prompt_tokens: promptTokens,
    total_tokens: promptTokens + completionTokens,
    completion_tokens: completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}

/** `stream_options`: usage in a last chunk of its own, and (vLLM) so far in every chunk. */
export class StreamUsage {
  readonly isWanted: boolean;
  readonly isContinuous: boolean;

  constructor(options: JsonObject | undefined) {
    this.isWanted = options?.['include_usage'] === true;
    this.isContinuous = this.isWanted && options?.['continuous_usage_stats'] === true;
  }

  /** `,"usage":{...}` with the numbers so far, or an empty string. */
  runningField(generation: Generation): string {
    if (!this.isContinuous) return '';
    const { promptTokens, completionTokens } = generation;
    const total = promptTokens + completionTokens;
    return `,"usage":{"prompt_tokens":${promptTokens},"total_tokens":${total},"completion_tokens":${completionTokens}}`;
  }
}
