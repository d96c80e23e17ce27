/**
 * YAML to plain values, with `${ENV}` put in and the place of every node kept, so that a problem found later in a value
 * still points at its line and column.
 */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import type { Alias, Document, Node, YAMLMap } from 'yaml';
import { expandEnv } from './env.ts';
import type { Env } from './env.ts';
import { formatPath } from './problem.ts';
import type { Complaint, Path, Problem } from './problem.ts';
import type { RawMap } from './reading.ts';

/** Values read through aliases. What is written out is bounded by the size of the file; aliases multiply (YAML's "billion laughs"). */
const aliasedCountMax = 20_000;
const depthMax = 64;

export interface ConfigDocument {
  /**
   * Maps, lists and scalars; undefined where the file has an empty value (`limits:`), which counts as absent. Null when
   * there is no map to check further.
   */
  readonly value: RawMap | null;
  /** Problems of the text itself and of its variables. */
  readonly problems: readonly Problem[];
  /** What each variable in use holds. It may be a secret wherever it stands. */
  readonly variables: ReadonlyMap<string, string>;
  readonly place: (complaint: Complaint) => Problem;
}

/** `source`: the text of the file; `file`: its name as problems are to show it. Never throws. */
export function readDocument(source: string, file: string, env: Env): ConfigDocument {
  const lines = new LineCounter();
  const problems: Problem[] = [];
  const problemAt = (offset: number, path: Path, message: string): Problem => {
    // The counter gives line 0 to an empty text.
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1), path: formatPath(path), message };
  };
  const report: Report = (offset, path, message) => {
    problems.push(problemAt(offset, path, message));
    return undefined;
  };
  const unreadable = (): ConfigDocument => ({
    value: null,
    problems,
    variables: new Map(),
    place: ({ path, message }) => problemAt(0, path, message),
  });

  let document: Document.Parsed;
  try {
    // Duplicates are found by the reader, which knows their path.
    document = parseDocument(source, { lineCounter: lines, prettyErrors: false, logLevel: 'error', uniqueKeys: false });
  } catch (error) {
    // The composer recurses, so a text of many thousand brackets overflows the stack.
    report(0, [], `cannot be parsed: ${error instanceof Error ? error.message : String(error)}`);
    return unreadable();
  }
  const flaw = document.errors[0] ?? document.warnings[0];
  if (flaw !== undefined) {
    // The first error of a broken text makes the others.
    const isVariableInBraces = flaw.code === 'UNEXPECTED_TOKEN' && source[flaw.pos[0] - 1] === '$';
    report(flaw.pos[0], [], isVariableInBraces ? 'inside { } or [ ] put "${NAME}" in quotes' : flaw.message);
    return unreadable();
  }
  if (!isMap<Node, Node | null>(document.contents)) {
    report(
      document.contents?.range[0] ?? 0,
      [],
      document.contents === null ? 'the file is empty' : 'the file must be a map of keys',
    );
    return unreadable();
  }
  const reader = new DocumentReader(document, env, report);
  const value = reader.read(document.contents);
  const place = (complaint: Complaint): Problem =>
    problemAt(reader.offsetOf(complaint.path, complaint.at), complaint.path, complaint.message);
  return { value, problems, variables: reader.variables, place };
}

type Report = (offset: number, path: Path, message: string) => undefined;
type MapNode = YAMLMap<Node, Node | null>;

/** Offsets into the text. An entry of a list has no key; both are the entry. */
interface Place {
  readonly key: number;
  readonly value: number;
}

const keyOf = (path: Path): string => JSON.stringify(path);
const offsetOf = (node: Node): number => node.range?.[0] ?? 0;
const plainKey = (key: unknown): string =>
  typeof key === 'string' || typeof key === 'number' || typeof key === 'boolean' ? String(key) : '';
/** Empty values of `options` are the user's nulls; anywhere else an empty value is an absent one. */
const keepsNull = (path: Path): boolean => path.includes('options');

class DocumentReader {
  readonly #document: Document.Parsed;
  readonly #env: Env;
  readonly #report: Report;
  readonly variables = new Map<string, string>();
  readonly #places = new Map<string, Place>();
  /** Collections being read: an alias to one of them would have no end. */
  readonly #open = new Set<Node>();
  #aliasDepth = 0;
  #aliasedCount = 0;

  constructor(document: Document.Parsed, env: Env, report: Report) {
    this.#document = document;
    this.#env = env;
    this.#report = report;
  }

  read(root: MapNode): RawMap {
    this.#places.set(keyOf([]), { key: offsetOf(root), value: offsetOf(root) });
    this.#open.add(root);
    return this.#map(root, []);
  }

  /** Where `path` is, or the nearest thing around it that the file has. */
  offsetOf(path: Path, at: 'key' | 'value'): number {
    const own = this.#places.get(keyOf(path));
    if (own !== undefined) return own[at];
    for (let length = path.length - 1; length > 0; length--) {
      const around = this.#places.get(keyOf(path.slice(0, length)));
      if (around !== undefined) return around.value;
    }
    return this.#places.get(keyOf([]))!.value;
  }

  #value(node: Node, path: Path): unknown {
    if (isAlias(node)) return this.#alias(node, path);
    if (this.#aliasDepth > 0 && ++this.#aliasedCount > aliasedCountMax) return undefined;
    if (isScalar(node)) return this.#scalar(node.value, offsetOf(node), path);
    if (path.length > depthMax) return this.#report(offsetOf(node), path, `is nested more than ${depthMax} deep`);
    this.#open.add(node);
    const value = isMap<Node, Node | null>(node)
      ? this.#map(node, path)
      : isSeq<Node>(node)
        ? this.#list(node.items, path)
        : null;
    this.#open.delete(node);
    return value;
  }

  /** The aliased value, read anew, so that its places and its problems have the path of this use. */
  #alias(node: Alias, path: Path): unknown {
    if (this.#aliasedCount > aliasedCountMax) return undefined;
    const target = node.resolve(this.#document);
    if (target === undefined) return this.#report(offsetOf(node), path, 'no such anchor before this alias');
    if (this.#open.has(target)) return this.#report(offsetOf(node), path, 'an alias refers to what it is part of');
    this.#aliasDepth++;
    const value = this.#value(target, path);
    this.#aliasDepth--;
    if (this.#aliasDepth === 0 && this.#aliasedCount > aliasedCountMax) {
      this.#report(offsetOf(node), path, `aliases stand for more than ${aliasedCountMax} values`);
    }
    return value;
  }

  #scalar(value: unknown, offset: number, path: Path): unknown {
    if (value === null) return keepsNull(path) ? null : undefined;
    if (typeof value !== 'string') return value;
    const { text, complaints } = expandEnv(value, this.#env, this.variables);
    for (const complaint of complaints) this.#report(offset, path, complaint);
    return text;
  }

  #list(items: readonly Node[], path: Path): unknown[] {
    return items.map((item, index) => {
      const itemPath = [...path, index];
      this.#places.set(keyOf(itemPath), { key: offsetOf(item), value: offsetOf(item) });
      return this.#value(item, itemPath);
    });
  }

  #map(node: MapNode, path: Path): RawMap {
    const entries = new Map<string, unknown>();
    for (const { key: keyNode, value: valueNode } of node.items) {
      const key = isScalar(keyNode) ? plainKey(keyNode.value) : '';
      const keyOffset = offsetOf(keyNode);
      const entryPath = [...path, key];
      if (key === '' || key === '__proto__') {
        this.#report(keyOffset, path, 'a key must be plain text');
      } else if (entries.has(key)) {
        this.#report(keyOffset, entryPath, 'the same key is given twice');
      } else {
        // An empty value has no text of its own: its key is what the author sees.
        const isEmpty = valueNode === null || (isScalar(valueNode) && valueNode.value === null);
        this.#places.set(keyOf(entryPath), { key: keyOffset, value: isEmpty ? keyOffset : offsetOf(valueNode) });
        entries.set(key, valueNode === null ? undefined : this.#value(valueNode, entryPath));
      }
    }
    return Object.fromEntries(entries);
  }
}
