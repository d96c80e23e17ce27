/** What others may ask of a loaded config: its version, a form fit to show, and whether a reload can apply a newer one. */
import { createHash } from 'node:crypto';
import { withoutValues } from './env.ts';
import { camelKey } from './field.ts';
import { isRawMap } from './reading.ts';
import type { RawMap } from './reading.ts';
import { nodesOf, schemaTree } from './schema-tree.ts';
import type { SchemaNode } from './schema-tree.ts';
import type { Config } from './schema.ts';

function sortedKeys(_key: string, value: unknown): unknown {
  if (!isRawMap(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** 12 hex digits: equal for equal effective settings, whatever order, comments or units the file has. */
export function configFingerprint(config: Config): string {
  return createHash('sha256').update(JSON.stringify(config, sortedKeys)).digest('hex').slice(0, 12);
}

const allNodes = [...nodesOf(schemaTree)];
const secretKeys: ReadonlySet<string> = new Set(
  allNodes.filter(({ doc }) => doc.secret).map(({ key }) => camelKey(key)),
);
const mapKeys: ReadonlySet<string> = new Set(
  allNodes.filter(({ doc }) => doc.type.startsWith('map')).map(({ key }) => camelKey(key)),
);

/** In maps the keys are the user's (header names, filter options), so what is secret can only be told by its name. */
const secretName = /auth|key|token|secret|passw|passphrase|cookie|credential|session|signature/i;

const mask = '***';

/** Rows of free text: what a variable puts there may be a secret, where in a name, an address or a number it is none. */
const textKeys: ReadonlySet<string> = new Set(
  allNodes.filter(({ doc }) => doc.type === 'text' || doc.type === 'header value').map(({ key }) => camelKey(key)),
);

/** By config: what its variables hold. Apart from the config itself, which goes to every shard. */
const variablesOf = new WeakMap<Config, ReadonlyMap<string, string>>();

/** Called by the loader; `maskedConfig` hides what came from the environment. */
export function noteVariables(config: Config, variables: ReadonlyMap<string, string>): void {
  variablesOf.set(config, variables);
}

function snakeKey(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

type Hide = (text: string) => string;

function maskedSection(section: object, hide: Hide): RawMap {
  return Object.fromEntries(
    Object.entries(section).map(([key, value]: [string, unknown]) => {
      if (secretKeys.has(key) && value !== null) return [snakeKey(key), mask];
      if (textKeys.has(key) && typeof value === 'string') return [snakeKey(key), hide(value)];
      return [snakeKey(key), mapKeys.has(key) ? maskedMap(value, hide) : masked(value, hide)];
    }),
  );
}

function masked(value: unknown, hide: Hide): unknown {
  if (Array.isArray(value)) return value.map((inner) => masked(inner, hide));
  return isRawMap(value) ? maskedSection(value, hide) : value;
}

function maskedMap(value: unknown, hide: Hide): unknown {
  if (Array.isArray(value)) return value.map((inner) => maskedMap(inner, hide));
  if (typeof value === 'string') return hide(value);
  if (!isRawMap(value)) return value;
  const entries = Object.entries(value);
  return Object.fromEntries(
    entries.map(([key, inner]) => [key, secretName.test(key) && inner !== null ? mask : maskedMap(inner, hide)]),
  );
}

/**
 * The effective settings under the file's own key names, every secret as `***`, and what a variable put into free text, header
 * values and filter options as the name of the variable. A new, unfrozen value.
 */
export function maskedConfig(config: Config): RawMap {
  const variables = variablesOf.get(config) ?? new Map<string, string>();
  return maskedSection(config, (text) => withoutValues(text, variables));
}

function collectChanges(node: SchemaNode, path: string, before: unknown, after: unknown, changes: string[]): void {
  if (JSON.stringify(before) === JSON.stringify(after)) return;
  if (node.shape === 'section' && isRawMap(before) && isRawMap(after)) {
    for (const child of node.children) {
      const key = camelKey(child.key);
      collectChanges(child, path === '' ? child.key : `${path}.${child.key}`, before[key], after[key], changes);
    }
  } else if (
    node.shape === 'sections' &&
    Array.isArray(before) &&
    Array.isArray(after) &&
    before.length === after.length
  ) {
    const entry: SchemaNode = { ...node, shape: 'section' };
    for (const [index, value] of before.entries()) {
      collectChanges(entry, `${path}[${index}]`, value, after[index], changes);
    }
  } else if (node.reload === 'restart') {
    changes.push(path);
  }
}

/** Paths of the settings that differ and that only a new process can apply: a reload keeps their running values. */
export function restartChanges(before: Config, after: Config): readonly string[] {
  const changes: string[] = [];
  collectChanges(schemaTree, '', before, after, changes);
  return changes;
}
