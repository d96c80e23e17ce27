/** From the text of a file to a frozen Config, or to every problem it has. */
import { readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { certificateComplaints } from './certificates.ts';
import type { FileTexts } from './certificates.ts';
import { unmetTargets } from './constraints.ts';
import { readDocument } from './document.ts';
import type { ConfigDocument } from './document.ts';
import { withoutValues } from './env.ts';
import type { Env } from './env.ts';
import { fileReferences } from './outline.ts';
import type { Item } from './outline.ts';
import { complaintsOf, wording } from './problem.ts';
import type { Problem } from './problem.ts';
import { relationComplaints } from './relations.ts';
import { fileSchema } from './schema.ts';
import { noteVariables } from './snapshot.ts';
import type { Config } from './schema.ts';

/** `paths`: the PEM files it names, absolute; whoever waits for a change has to look at them too. */
export type LoadResult =
  | {
      readonly ok: true;
      readonly config: Config;
      /** Their contents, as they were checked. */
      readonly texts: FileTexts;
      readonly paths: readonly string[];
      /** The file's last line is YAML's `...`: what comes after it without one has been cut off. */
      readonly hasEndMark: boolean;
      readonly problems: readonly [];
      /** What is allowed, and hardly meant. */
      readonly warnings: readonly Problem[];
    }
  | { readonly ok: false; readonly paths: readonly string[]; readonly problems: readonly Problem[] };

const fileBytesMax = 4 * 2 ** 20;
const pemBytesMax = 2 ** 20;

/**
 * Reads and checks the file at `path` and the files it names. `env` fills `${NAME}`. Never rejects: a file
 * that cannot be read is a problem too. Problems carry `path` as it was given.
 */
export async function loadConfig(path: string, env: Env): Promise<LoadResult> {
  let source: string;
  try {
    const { size } = await stat(path);
    if (size > fileBytesMax) return unreadable(path, `is larger than ${fileBytesMax} bytes`);
    source = await readFile(path, 'utf8');
  } catch (error) {
    return unreadable(path, `cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  const draft = readDraft(source, path, env);
  return conclude(draft, draft.root === null ? noFiles : await readFiles(draft.root, draft.document));
}

/** As `loadConfig`, for text already in hand. `file` names it in problems; paths in it are resolved against its folder, unchecked. */
export function parseConfig(text: string, file: string, env: Env): LoadResult {
  return conclude(readDraft(text, file, env), noFiles);
}

function unreadable(file: string, message: string): LoadResult {
  return { ok: false, paths: [], problems: [{ file, line: 1, column: 1, path: '', message }] };
}

interface Draft {
  readonly document: ConfigDocument;
  /** The file as read, its file references made absolute; null when it is not even a map. */
  readonly root: Item | null;
  readonly hasEndMark: boolean;
}

function readDraft(source: string, file: string, env: Env): Draft {
  const document = readDocument(source, file, env);
  const hasEndMark = /(?:^|\n)\.\.\.\s*$/.test(source.slice(-64));
  if (document.value === null) return { document, root: null, hasEndMark };
  const root: Item = { path: [], raw: document.value };
  for (const { holder, key, text } of fileReferences(root)) holder.raw[key] = resolve(dirname(file), text);
  return { document, root, hasEndMark };
}

interface NamedFiles {
  readonly texts: FileTexts;
  readonly paths: readonly string[];
  readonly problems: readonly Problem[];
}

const noFiles: NamedFiles = { texts: {}, paths: [], problems: [] };

/** Modules of filters need only be there; everything else is PEM, and read. */
async function readFiles(root: Item, document: ConfigDocument): Promise<NamedFiles> {
  const references = fileReferences(root);
  const texts: Record<string, string> = {};
  const checks = references.map(async ({ holder, key, text: path }): Promise<Problem[]> => {
    const problem = (message: string): Problem[] => [
      document.place({ path: [...holder.path, key], at: 'value', message }),
    ];
    const found = await stat(path).catch(() => null);
    if (found === null || !found.isFile()) return problem(`no such file: ${path}`);
    if (key === 'module') return [];
    if (found.size > pemBytesMax) return problem(`is larger than ${pemBytesMax} bytes: ${path}`);
    try {
      texts[path] = await readFile(path, 'utf8');
      return [];
    } catch (error) {
      return problem(`cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    }
  });
  const unread = (await Promise.all(checks)).flat();
  const wrong = certificateComplaints(root, texts).map(document.place);
  return {
    texts,
    paths: references.flatMap(({ key, text }) => (key === 'module' ? [] : [text])),
    problems: [...unread, ...wrong],
  };
}

function conclude({ document, root, hasEndMark }: Draft, { texts, paths, problems: more }: NamedFiles): LoadResult {
  if (root === null) return { ok: false, paths, problems: document.problems };
  const parse = fileSchema.safeParse(root.raw, { error: wording });
  const complaints = [...complaintsOf(parse.error?.issues ?? [], root.raw), ...relationComplaints(root)];
  const problems = [...document.problems, ...complaints.map(document.place), ...more];
  if (parse.success && problems.length === 0) {
    const config = deepFreeze(withImpliedPool(parse.data));
    noteVariables(config, document.variables);
    const warnings = unmetTargets(config).map(document.place);
    return { ok: true, config, texts, paths, hasEndMark, problems: [], warnings };
  }
  // A missing variable leaves an empty text behind, which must not be reported on top of it.
  const spoiled = new Set(document.problems.map(({ path }) => path));
  const kept = problems.filter((problem) => document.problems.includes(problem) || !spoiled.has(problem.path));
  // A secret in the wrong place is still one: messages that repeat a value name its variable instead.
  const shown = kept.map((problem) => ({ ...problem, message: withoutValues(problem.message, document.variables) }));
  return { ok: false, paths, problems: shown.sort((a, b) => a.line - b.line || a.column - b.column) };
}

/** With no models and one pool only, that pool is the default (contract: "the body untouched"). */
function withImpliedPool(config: Config): Config {
  const [only, ...others] = config.pools;
  if (config.defaultPool !== null || config.models.length > 0 || only === undefined || others.length > 0) return config;
  return { ...config, defaultPool: only.name };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
