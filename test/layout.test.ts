import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

// Holds the source to its map: imports point down only, stages never meet, and what may do a thing (sockets, shared words, the
// environment, the acceptor) is in one place. A failure names the file and the rule; a cycle means that a type belongs
// one layer down.

const source = fileURLToPath(new URL('../src', import.meta.url));

/** Folders by layer, lowest first. A file may import from layers below its own and from its own folder. */
const layers: readonly (readonly string[])[] = [
  ['core'],
  ['config', 'http', 'shm'],
  ['exchange'],
  ['listener', 'head', 'filters', 'route', 'pick', 'upstream', 'relay', 'account'],
  ['shard', 'worker', 'control'],
  ['cli', 'main.ts'],
  ['cli.ts'],
];

/** Neighbours in a layer that may be imported all the same, and why. */
const neighbours: readonly (readonly [from: string, to: string])[] = [
  ['control', 'shard'], // Types of the protocol between them; control starts the thread by URL.
  ['shard', 'worker'], // A shard owns its pool of workers.
];

/** The simulated engine is a program of its own: `folder` sees nothing but `core`, and only `seenBy` sees it. */
const apart = { folder: 'sim', sees: ['core'], seenBy: ['cli'] } as const;

/** What only some files may contain. `pattern` is looked for in code without comments. */
const privileges: readonly { readonly what: string; readonly pattern: RegExp; readonly allowed: RegExp }[] = [
  {
    what: 'import uWebSockets.js',
    pattern: /['"](?:uWebSockets\.js|uws-pack|@btc-vision\/uwebsockets\.js)['"]/,
    allowed: /^listener\//,
  },
  { what: 'use Atomics', pattern: /\bAtomics\./, allowed: /^shm\// },
  {
    what: 'open sockets',
    // `isIP` and `BlockList` of node:net are pure functions.
    pattern:
      /from '(?:undici|node:(?:https?|tls|http2|dgram))'|import (?:\w+|\*[^']*|\{[^}]*\b(?:connect|createConnection|createServer|Server|Socket)\b[^}]*\}) from 'node:net'|\bfetch\(/,
    allowed: /^(?:upstream|control|sim|cli)\//,
  },
  { what: 'speak to a store', pattern: /['"]@redis\/client['"]/, allowed: /^control\/sharing\/store\.ts$/ },
  {
    // listener/uws: the library reads its head limit from the environment when it is loaded.
    what: 'touch process.env',
    pattern: /\bprocess\.env\b/,
    allowed: /^(?:control\/|cli\/|main\.ts$|core\/assert\.ts$|listener\/uws\.ts$)/,
  },
  {
    what: 'listen to signals',
    pattern: /process\.(?:on|once)\(\s*'SIG/,
    allowed: /^(?:control|cli)\//,
  },
  {
    // Durations and deadlines are of the monotonic clock (core/clock): the wall clock jumps. It is for what people and
    // peers read as a date: log lines, request ids, `retry-after` dates, the end of a certificate.
    what: 'read the wall clock',
    pattern: /\bDate\.now\(\)|\bnew Date\(\)/,
    allowed:
      /^(?:sim\/|account\/access-log\.ts$|control\/(?:log-sink|gateway|control)\.ts$|core\/ids\.ts$|shard\/passive-health\.ts$)/,
  },
  {
    what: 'start threads or processes',
    pattern: /\bnew (?:Worker|Piscina)\b|from 'node:child_process'/,
    allowed: /^(?:control|worker|cli)\//,
  },
];

const linesMax = 400;

interface Import {
  readonly specifier: string;
  readonly isType: boolean;
}

interface SourceFile {
  /** From src/, with forward slashes. */
  readonly path: string;
  readonly folder: string;
  readonly text: string;
  readonly code: string;
  readonly imports: readonly Import[];
}

function isProduct(path: string): boolean {
  return path.endsWith('.ts') && !/\.(?:test|bench|fuzz)\.ts$/.test(path) && !path.includes('/fixtures/');
}

/** Comments at the start of a line or behind code; strings with slashes in them (URLs) are kept. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');
}

function importsOf(code: string): Import[] {
  const found: Import[] = [];
  const statement = /^(?:import|export)\s+(type\s)?(?:[\w*\s{},$]*?\sfrom\s+)?['"]([^'"]+)['"]/gm;
  for (const [, type, specifier] of code.matchAll(statement))
    found.push({ specifier: specifier!, isType: type !== undefined });
  for (const [, specifier] of code.matchAll(/\bimport\(\s*['"]([^'"]+)['"]/g))
    found.push({ specifier: specifier!, isType: false });
  return found;
}

function read(path: string): SourceFile {
  const text = readFileSync(join(source, path), 'utf8');
  const code = withoutComments(text);
  return { path, folder: folderOf(path), text, code, imports: importsOf(code) };
}

function folderOf(path: string): string {
  return path.split('/', 1)[0]!;
}

const files: readonly SourceFile[] = readdirSync(source, { recursive: true })
  .map((path) => String(path).replaceAll('\\', '/'))
  .filter(isProduct)
  .sort()
  .map(read);

const folders = readdirSync(source, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

function layerOf(folder: string): number {
  return layers.findIndex((layer) => layer.includes(folder));
}

/** The file in src/ an import leads to, or null for a package. */
function targetOf({ path }: SourceFile, { specifier }: Import): string | null {
  if (!specifier.startsWith('.')) return null;
  return relative(source, join(source, path, '..', specifier)).replaceAll('\\', '/');
}

/** Null when `from` may import `to`, else the rule it breaks. */
function brokenRule(from: string, to: string): string | null {
  if (from === to) return null;
  if (from === apart.folder) return apart.sees.some((folder) => folder === to) ? null : 'sim imports nothing but core';
  if (to === apart.folder) return apart.seenBy.some((folder) => folder === from) ? null : 'only cli imports sim';
  if (layerOf(to) < layerOf(from)) return null;
  if (neighbours.some(([left, right]) => left === from && right === to)) return null;
  return layerOf(from) === layerOf(to) ? `${from} and ${to} are of one layer` : `${to} lies above ${from}`;
}

// A reader that finds nothing would hold every rule.
test('layout: when imports are looked for, every form of them is found', () => {
  const text = `/** import './comment.ts' */
import './effect.ts';
import type { A } from './type.ts';
import {
  b,
  type C,
} from '../several/lines.ts'; // import './behind.ts'
import * as d from 'node:net';
export { e } from './again.ts';
export * from './all.ts';
const url = 'http://host/path'; const f = await import('./later.ts');`;
  expect(
    importsOf(withoutComments(text)).map(({ specifier, isType }) => (isType ? `type ${specifier}` : specifier)),
  ).toEqual([
    './effect.ts',
    'type ./type.ts',
    '../several/lines.ts',
    'node:net',
    './again.ts',
    './all.ts',
    './later.ts',
  ]);
  const found = files.reduce((sum, file) => sum + file.imports.length, 0);
  expect(found).toBeGreaterThan(files.length);
});

test('layout: when the map is asked, it allows what points down and nothing else', () => {
  const allowed = [
    ['exchange', 'shm'],
    ['relay', 'exchange'],
    ['shard', 'relay'],
    ['control', 'shard'],
    ['cli', 'sim'],
    ['sim', 'core'],
  ] as const;
  for (const [from, to] of allowed) expect(brokenRule(from, to), `${from} imports ${to}`).toBeNull();
  const refused = [
    ['core', 'http'],
    ['http', 'shm'],
    ['relay', 'upstream'],
    ['exchange', 'relay'],
    ['shard', 'control'],
    ['sim', 'http'],
    ['shard', 'sim'],
    ['control', 'main.ts'],
  ] as const;
  for (const [from, to] of refused) expect(brokenRule(from, to), `${from} imports ${to}`).not.toBeNull();
});

test('layout: when a folder is added, it has its place among the layers', () => {
  expect(folders.filter((folder) => layerOf(folder) < 0 && folder !== apart.folder)).toEqual([]);
  const named = layers.flat().filter((name) => !name.endsWith('.ts'));
  expect(
    named.filter((name) => !folders.includes(name)),
    'every folder of the map exists',
  ).toEqual([]);
});

test('layout: when a file imports another, the import points down', () => {
  const problems: string[] = [];
  for (const file of files) {
    for (const each of file.imports) {
      const target = targetOf(file, each);
      const rule = target === null ? null : brokenRule(file.folder, folderOf(target));
      if (rule !== null) problems.push(`${file.path} imports ${each.specifier}: ${rule}`);
    }
  }
  expect(problems).toEqual([]);
});

// The neighbours allowed above could close a circle; so could two folders of one layer that are both allowed one day.
test('layout: when imports are followed from folder to folder, none leads back', () => {
  const edges = new Map<string, Set<string>>();
  for (const file of files) {
    for (const each of file.imports) {
      const target = targetOf(file, each);
      if (target === null || folderOf(target) === file.folder) continue;
      edges.set(file.folder, (edges.get(file.folder) ?? new Set()).add(folderOf(target)));
    }
  }
  const done = new Set<string>();
  const circles: string[] = [];
  const follow = (folder: string, path: readonly string[]): void => {
    if (path.includes(folder)) {
      circles.push([...path.slice(path.indexOf(folder)), folder].join(' -> '));
      return;
    }
    if (done.has(folder)) return;
    for (const next of edges.get(folder) ?? []) follow(next, [...path, folder]);
    done.add(folder);
  };
  for (const folder of edges.keys()) follow(folder, []);
  expect(circles).toEqual([]);
});

test('layout: when control speaks of a shard, it is in types only', () => {
  const values = files
    .filter(({ folder }) => folder === 'control')
    .flatMap((file) => file.imports.map((each) => ({ file, each })))
    .filter(({ file, each }) => targetOf(file, each)?.startsWith('shard/') === true && !each.isType);
  expect(values.map(({ file, each }) => `${file.path} imports ${each.specifier}`)).toEqual([]);
});

// Each shard would load the schema and the YAML parser again, which is a third of the time it takes to start.
test('layout: when a shard thread starts, it does not load what only reads the configuration file', () => {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const reached = new Set<string>();
  const packages = new Set<string>();
  const follow = (path: string): void => {
    if (reached.has(path)) return;
    reached.add(path);
    for (const each of byPath.get(path)?.imports ?? []) {
      if (each.isType) continue;
      const target = targetOf(byPath.get(path)!, each);
      if (target === null) packages.add(each.specifier);
      else follow(target);
    }
  };
  follow('shard/thread.ts');
  expect(reached.size, 'the walk arrives').toBeGreaterThan(50);
  expect([...packages].filter((name) => name === 'zod' || name === 'yaml')).toEqual([]);
});

test.each(privileges.map((row) => [row.what, row] as const))(
  'layout: when a file may not %s, it does not',
  (_, { pattern, allowed }) => {
    const offenders = files.filter(({ path, code }) => pattern.test(code) && !allowed.test(path));
    expect(offenders.map(({ path }) => path)).toEqual([]);
  },
);

test.each(folders)('layout: when %s is opened, its index says what it does', (folder) => {
  const index = files.find(({ path }) => path === `${folder}/index.ts`);
  expect(index, 'there is an index.ts').toBeDefined();
  expect(index!.text).toMatch(new RegExp(`^/\\*\\*\\n \\* ${folder}: `));
  const others = files.filter((file) => file.folder === folder && file !== index);
  if (others.length > 2) expect(index!.text, 'in which order to read').toMatch(/Read in this order/);
});

test('layout: when a file grows, it is split before it passes 400 lines', () => {
  const long = files.map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }));
  expect(long.filter(({ lines }) => lines > linesMax)).toEqual([]);
});

test('layout: when a file exports, it exports by name', () => {
  expect(files.filter(({ code }) => /^export default\b/m.test(code)).map(({ path }) => path)).toEqual([]);
});
