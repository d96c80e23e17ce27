import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { formatProblem, jsonSchema, loadConfig, parseConfig, referenceMarkdown } from './index.ts';
import { isRawMap } from './reading.ts';
import { nodesOf, schemaTree } from './schema-tree.ts';

const root = new URL('../../', import.meta.url);
const examples = readdirSync(new URL('config/', root)).filter((name) => name.endsWith('.yaml'));

test.each(examples)('config: when the example %s is checked without an environment, it is right', async (name) => {
  const result = await loadConfig(new URL(`config/${name}`, root).pathname, {});
  expect(result.problems.map(formatProblem)).toEqual([]);
});

test('config: when the full example is read, it has every key, each with its default', () => {
  const text = readFileSync(new URL('config/full.yaml', root), 'utf8');
  const paths = new Set<string>();
  const collect = (value: unknown, path: string): void => {
    paths.add(path);
    if (Array.isArray(value)) value.forEach((entry) => collect(entry, `${path}[]`));
    else if (typeof value === 'object' && value !== null) {
      for (const [key, entry] of Object.entries(value)) collect(entry, path === '' ? key : `${path}.${key}`);
    }
  };
  collect(parse(text), '');
  // Sections that are off by default and need files of the user, or other endpoints, are shown in a comment.
  // `when` has the keys of `unless`.
  const isShownAsComment = (path: string): boolean =>
    /^listeners\[\]\.tls\.|^pools\[\]\.disaggregation\.|\.(module|options)$|\.when\./.test(path);
  const missing = [...nodesOf(schemaTree)]
    .map(({ path }) => path)
    .filter((path) => !paths.has(path) && !isShownAsComment(path));
  // The forms of a filter are an entry of the list, not a key.
  expect(missing.filter((path) => path !== 'filter_chains[].filters[]')).toEqual([]);

  const required = `
listeners: [{ name: public, address: "127.0.0.1:8080", filter_chains: [edge] }]
models: [{ name: llama-3.1-8b, targets: [{ pool: local }] }]
pools: [{ name: local, endpoints: [{ url: "http://127.0.0.1:8000" }], kv_events: {}, health: {} }]
filter_chains:
  - name: edge
    filters:
      - { filter: request_id }
      - filter: access_log
        unless:
          path: [/metrics, /internal/*]
          method: GET
          model: llama-3.1-8b
          listener: public
          stream: false
          header: { x-probe: "*" }
      - { filter: forwarded_headers }
      - { filter: headers }
      - { filter: static_response, when: { path: /robots.txt }, status: 200 }
`;
  expect(parseConfig(text, 'f.yaml', {})).toEqual(parseConfig(required, 'f.yaml', {}));
});

test('config: when the schema changes, docs/config.md changes with it', () => {
  const committed = readFileSync(new URL('docs/config.md', root), 'utf8');
  expect(committed === referenceMarkdown(), 'docs/config.md is stale: run npm run docs').toBe(true);
});

test('config: when a row is added, it says what it is for', () => {
  for (const { path, doc } of nodesOf(schemaTree)) {
    expect(doc.doc, path).toMatch(/\.$/);
    expect(doc.type, path).not.toBe('');
  }
});

// A key that disappears or changes its place breaks the files of users.
test('config: when the JSON Schema is made, it has these keys', () => {
  const keys = new Set<string>();
  const walk = (schema: unknown, path: string): void => {
    if (!isRawMap(schema)) return;
    for (const [key, inner] of Object.entries(isRawMap(schema['properties']) ? schema['properties'] : {})) {
      const at = path === '' ? key : `${path}.${key}`;
      keys.add(at);
      walk(inner, at);
    }
    walk(schema['items'], `${path}[]`);
    if (Array.isArray(schema['anyOf'])) schema['anyOf'].forEach((inner) => walk(inner, path));
  };
  walk(jsonSchema(), '');
  expect([...keys].join('\n')).toMatchSnapshot();
});

test('config: when an editor validates with the JSON Schema, unknown keys are refused and defaults are known', () => {
  const schema = jsonSchema();
  expect(schema).toHaveProperty('additionalProperties', false);
  expect(schema).toHaveProperty('required', ['listeners', 'pools']);
  expect(schema).toHaveProperty('properties.limits.properties.body_bytes_max.default', '64MiB');
});
