/** Token counts as the APIs document them, read from what JSON.parse makes of a usage object. Null where it counts nothing. */
export interface PlainUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
}

export function usageOf(parsed: Readonly<Record<string, unknown>>): PlainUsage | null {
  const count = (name: string): number => countOf(parsed[name]);
  const given = (...counts: readonly number[]): number => counts.find((each) => each !== -1) ?? -1;
  const atLeast0 = (value: number): number => Math.max(0, value);
  const completionTokens = given(count('completion_tokens'), count('output_tokens'));
  const input = count('input_tokens');
  // Anthropic counts what is read from or written to the cache apart.
  const withCache =
    input === -1
      ? -1
      : input + atLeast0(count('cache_creation_input_tokens')) + atLeast0(count('cache_read_input_tokens'));
  const total = count('total_tokens');
  const fromTotal = total === -1 ? -1 : atLeast0(total - atLeast0(completionTokens));
  const promptTokens = given(count('prompt_tokens'), withCache, fromTotal);
  if (promptTokens === -1 && completionTokens === -1) return null;
  return { promptTokens, completionTokens, cachedTokens: given(cachedOf(parsed), count('cache_read_input_tokens')) };
}

/** Of several details the last one that counts wins. */
function cachedOf(parsed: Readonly<Record<string, unknown>>): number {
  let cached = -1;
  for (const [name, value] of Object.entries(parsed)) {
    if (!['prompt_tokens_details', 'input_tokens_details', 'input_token_details'].includes(name)) continue;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) continue;
    if (!Object.hasOwn(value, 'cached_tokens')) continue;
    const said = (value as Record<string, unknown>)['cached_tokens'];
    if (typeof said === 'number') cached = countOf(said);
  }
  return cached;
}

function countOf(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : -1;
}

/** The object that opens the text, as JSON.parse has it; null when none ends in it, or JSON.parse refuses it. */
export function firstObject(text: string): Record<string, unknown> | null {
  for (let end = text.indexOf('}'); end !== -1; end = text.indexOf('}', end + 1)) {
    try {
      return JSON.parse(text.slice(0, end + 1)) as Record<string, unknown>;
    } catch {
      // A bracket inside the object, or the object is not sound.
    }
  }
  return null;
}

/** Whether a key comes twice in an object, or is written with an escape: readers differ, and the tap reads the bytes. */
export function isPlainlySpelled(text: string): boolean {
  if (/\\/.test(text)) return false;
  const names = [...text.matchAll(/"([^"]*)"[\0- ]*:/g)].map(([, name]) => name);
  return new Set(names).size === names.length;
}
