import type { MemberKey } from './member-key.ts';
import { blockCountMax, PrefixHash } from './prefix-hash.ts';

/**
 * What of a request body an engine's chat template turns into the prompt, hashed while the body arrives: the part of it that
 * a KV cache can have. Sampling parameters and everything else outside of these members make no difference.
 */
export const PromptPart = { settings: 0, tools: 1, system: 2, turns: 3 } as const;
export type PromptPart = (typeof PromptPart)[keyof typeof PromptPart];

/** In which order parts stand in a prompt, wherever they stand in the body: templates put tools and system first. */
export const promptOrder: readonly PromptPart[] = [PromptPart.tools, PromptPart.system, PromptPart.turns];

/** OpenAI (chat, completions, responses, embeddings), Anthropic, vLLM and SGLang. */
const members: ReadonlyMap<string, PromptPart> = new Map([
  ['messages', PromptPart.turns],
  ['prompt', PromptPart.turns],
  ['input', PromptPart.turns],
  ['system', PromptPart.system],
  ['instructions', PromptPart.system],
  ['tools', PromptPart.tools],
  ['functions', PromptPart.tools],
  // They change the text around the turns, or who may share it.
  ['chat_template', PromptPart.settings],
  ['chat_template_kwargs', PromptPart.settings],
  ['cache_salt', PromptPart.settings],
]);
const namesByLength: (readonly (readonly [name: string, part: PromptPart])[])[] = Array.from(
  { length: 32 },
  (_, length) => [...members].filter(([name]) => name.length === length),
);

/** What the engine answers from is not what the body says: earlier turns it keeps itself, or a prompt it cuts. */
const spoilers: ReadonlySet<string> = new Set(['previous_response_id', 'conversation', 'truncate_prompt_tokens']);
const spoilersByLength: (readonly string[])[] = Array.from({ length: 32 }, (_, length) =>
  [...spoilers].filter((name) => name.length === length),
);

/** Blocks of each part, by its number: settings are short; 2 MB of tools or system prompt are more than models read. */
const countsMax = [64, 640, 640, blockCountMax] as const;

/** One body at a time; reused through `reset`. */
export class PromptParts {
  readonly #hashes = countsMax.map((countMax) => new PrefixHash(countMax));
  /** Bit set of parts met. */
  #seen = 0;
  #isSpoilt = false;

  reset(): void {
    for (const hash of this.#hashes) hash.reset();
    this.#seen = 0;
    this.#isSpoilt = false;
  }

  /**
   * A member of the document begins. Where its value goes: null for one that is no part of the prompt. A part met twice is
   * read differently by different parsers: then none is usable.
   */
  hashOf({ bytes, start, end }: MemberKey): PrefixHash | null {
    for (const name of spoilersByLength[end - start] ?? []) if (isName(bytes, start, name)) this.#isSpoilt = true;
    for (const [name, part] of namesByLength[end - start] ?? []) {
      if (!isName(bytes, start, name)) continue;
      if (part !== PromptPart.settings && (this.#seen & (1 << part)) !== 0) this.#isSpoilt = true;
      this.#seen |= 1 << part;
      return this.#hashes[part]!;
    }
    return null;
  }

  /** The body is over. Whether what was hashed is a prompt, and in one reading only. */
  finish(): boolean {
    // The turns stay open: the next one begins where they end.
    for (const part of [PromptPart.settings, PromptPart.tools, PromptPart.system]) this.#hashes[part]!.finish();
    return !this.#isSpoilt && this.hash(PromptPart.turns).byteCount > 0;
  }

  hash(part: PromptPart): PrefixHash {
    return this.#hashes[part]!;
  }
}

function isName(bytes: Buffer, start: number, name: string): boolean {
  for (let index = 0; index < name.length; index++) if (bytes[start + index] !== name.charCodeAt(index)) return false;
  return true;
}
