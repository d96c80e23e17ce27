/**
 * What `GET /v1/models` of an engine says. All agree on `data[].id` (OpenAI); the rest is each engine's own:
 *
 * | Member                                            | Engine                                                         |
 * | ------------------------------------------------- | -------------------------------------------------------------- |
 * | `max_model_len`, `parent` of an adapter           | vLLM (vllm/entrypoints/openai/models/protocol.py), SGLang       |
 * | `context_length`, `context_window`, `max_context_length` | hosted ones: OpenRouter and Together, Groq, Mistral       |
 * | `status.value`: loaded, loading, sleeping, unloaded; `aliases` | llama-server with several models (tools/server/README.md) |
 * | `owned_by: library`, names that end in `:latest`  | Ollama, which takes the name without that as well               |
 */
export interface ModelEntry {
  readonly name: string;
  /** Names it is served by besides. */
  readonly aliases: readonly string[];
  /** The base model of a LoRA adapter; null for a base model. */
  readonly parent: string | null;
  /** Tokens of prompt and answer; 0 where it is not said. */
  readonly contextTokens: number;
  /** Whether it is in memory; null where the list does not say. */
  readonly isLoaded: boolean | null;
  readonly ownedBy: string;
}

const nameLengthMax = 512;
/** Ten times what the largest hosts have. Lists are kept, and an endpoint may write anything. */
const namesMax = 4096;

/** Null when the text is no such list, or one of more names than anybody has. Entries that are no models are left out. */
export function parseModelList(text: string): ModelEntry[] | null {
  const data = memberOf(parsed(text), 'data');
  if (!Array.isArray(data)) return null;
  const entries: ModelEntry[] = [];
  const seen = new Set<string>();
  let nameCount = 0;
  for (const raw of data as readonly unknown[]) {
    const name = textOf(raw, 'id');
    if (name === null || seen.has(name)) continue;
    seen.add(name);
    const aliases = aliasesOf(raw, name);
    nameCount += 1 + aliases.length;
    if (nameCount > namesMax) return null;
    entries.push({
      name,
      aliases,
      parent: textOf(raw, 'parent'),
      contextTokens: contextOf(raw),
      isLoaded: loadedOf(raw),
      ownedBy: textOf(raw, 'owned_by') ?? '',
    });
  }
  // vLLM says the length of an adapter's context with its base model only.
  const contexts = new Map(entries.map((entry) => [entry.name, entry.contextTokens]));
  return entries.map((entry) =>
    entry.contextTokens > 0 || entry.parent === null
      ? entry
      : { ...entry, contextTokens: contexts.get(entry.parent) ?? 0 },
  );
}

/** Where a server that swaps models says which are in memory, or null: its own list says so, or it is none. */
export function loadedModelsPath(entries: readonly ModelEntry[], dialect: string): string | null {
  if (dialect === 'ollama' || entries.some(({ ownedBy }) => ownedBy === 'library')) return '/api/ps';
  return entries.some(({ ownedBy }) => ownedBy === 'llama-swap') ? '/running' : null;
}

/** Ollama: `models[].name`; llama-swap: `running[].model`, with a `state`. Null when the text is neither. */
export function parseLoadedModels(text: string): string[] | null {
  const page = parsed(text);
  const models = memberOf(page, 'models');
  if (Array.isArray(models)) return models.flatMap((each) => textOf(each, 'name') ?? []);
  const running = memberOf(page, 'running');
  if (!Array.isArray(running)) return null;
  return running.flatMap((each) => {
    const state = textOf(each, 'state');
    return state === null || state === 'ready' ? (textOf(each, 'model') ?? []) : [];
  });
}

/** Probes read as latin1; JSON is UTF-8. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'latin1').toString('utf8'));
  } catch {
    return null;
  }
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

function textOf(value: unknown, name: string): string | null {
  const text = memberOf(value, name);
  return typeof text === 'string' && text !== '' && text.length <= nameLengthMax ? text : null;
}

function aliasesOf(raw: unknown, name: string): string[] {
  const aliases = memberOf(raw, 'aliases');
  const names = Array.isArray(aliases) ? aliases.filter((alias) => typeof alias === 'string' && alias !== '') : [];
  if (name.endsWith(':latest')) names.push(name.slice(0, -':latest'.length));
  return names;
}

function contextOf(raw: unknown): number {
  for (const name of ['max_model_len', 'context_length', 'context_window', 'max_context_length']) {
    const value = memberOf(raw, name);
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) return Math.floor(value);
  }
  return 0;
}

function loadedOf(raw: unknown): boolean | null {
  const value = textOf(memberOf(raw, 'status'), 'value');
  return value === null ? null : value === 'loaded' || value === 'loading' || value === 'sleeping';
}
