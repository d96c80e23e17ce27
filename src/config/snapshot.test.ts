import { expect, test } from 'vitest';
import { configFingerprint, maskedConfig, parseConfig, restartChanges } from './index.ts';
import type { Config } from './index.ts';

function configOf(text: string, env: Record<string, string> = {}): Config {
  const result = parseConfig(text, 'f.yaml', env);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.config;
}

const rest = 'pools: [{ name: p, endpoints: [{ url: "http://h:1" }] }]\n';
const base = `listeners: [{ name: l, address: "127.0.0.1:0" }]\n${rest}`;

test('config: when secrets are set, the shown config has none of them and keeps the names of the file', () => {
  const config = configOf(
    `
listeners:
  - { name: l, address: "127.0.0.1:0", tls: { certificates: [{ cert_path: c, key_path: k, passphrase: hush-1 }] } }
admin: { token: "hush-\${N}" }
pools: [{ name: p, endpoints: [{ url: "http://h:1" }], credential: "Bearer hush-\${N}" }]
filter_chains:
  - name: c
    filters:
      - { filter: headers, request: { set: { X-Api-Key: hush-4, x-plain_Name: shown } } }
      - { filter: f, module: f.js, options: { db: { password: hush-5, passwords: [hush-6] }, plain_key_free: shown } }
      - { filter: access_log, when: { header: { authorization: hush-7 } } }
`,
    { N: '2' },
  );
  const shown = maskedConfig(config);
  const text = JSON.stringify(shown);
  expect(text).not.toContain('hush');
  expect(text.match(/\*\*\*/g)).toHaveLength(8);
  expect(text).toContain('"x-plain_Name":"shown"');
  expect(shown).toHaveProperty('limits.body_bytes_max', 67_108_864);
  expect(shown).toHaveProperty('pools.0.pass_authorization', false);
  expect(shown).toHaveProperty('listeners.0.tls.certificates.0.key_path', expect.stringMatching(/\/k$/));
});

test('config: when a variable stands in free text, the shown config names it; names and addresses are shown', () => {
  const config = configOf(
    `listeners: [{ name: l, address: "\${HOST}:0" }]
pools: [{ name: p, endpoints: [{ url: "http://\${HOST}:1", sku: "x-\${KEY}" }] }]
filter_chains:
  - name: c
    filters:
      - { filter: headers, request: { add: { x-plain: "a \${KEY} b" } }, response: { set: { x-b: "\${KEY}" } } }
      - { filter: static_response, status: 200, headers: { x-c: "\${KEY}" }, body: "\${KEY}", content_type: "a/\${KEY}" }
      - { filter: f, module: f.js, options: { plain: ["\${KEY}", { deep: "\${KEY}-x" }] } }
`,
    { KEY: 'hush-9', HOST: '127.0.0.1' },
  );
  const text = JSON.stringify(maskedConfig(config));
  expect(text).not.toContain('hush');
  expect(text.match(/\$\{KEY\}/g)).toHaveLength(8);
  expect(text).toContain('"url":"http://127.0.0.1:1"');
});

test('config: when two files say the same, their fingerprints are equal; when a setting differs, they are not', () => {
  const fingerprint = configFingerprint(configOf(base));
  expect(fingerprint).toMatch(/^[0-9a-f]{12}$/);
  expect(configFingerprint(configOf(`# comment\nlimits: { body_bytes_max: 65536KiB }\n${base}`))).toBe(fingerprint);
  expect(configFingerprint(structuredClone(configOf(base)))).toBe(fingerprint);
  expect(configFingerprint(configOf(`${base}limits: { body_bytes_max: 1KiB }`))).not.toBe(fingerprint);
  expect(configFingerprint(configOf(`${base}admin: { token: t }`))).not.toBe(fingerprint);
});

test('config: when a reload changes what is bound or sized at start, the changes are named, and only those', () => {
  const before = configOf(base);
  expect(restartChanges(before, before)).toEqual([]);
  const live = configOf(
    `${base}timeouts: { total_ms: 5s }\nlimits: { body_bytes_max: 1MiB }\nmodels: [{ name: m, targets: [{ pool: p }] }]\n`,
  );
  expect(restartChanges(before, live)).toEqual([]);
  const after = configOf(
    `listeners: [{ name: l, address: "127.0.0.1:1", chunked_requests: reject }]\n${rest}runtime: { shards: 3 }\nadmin: { token: t }\nlimits: { buffered_bytes_max: 2GiB }\n`,
  );
  expect(restartChanges(before, after)).toEqual([
    'listeners[0].address',
    'admin.token',
    'runtime.shards',
    'limits.buffered_bytes_max',
  ]);
  const more = configOf(
    `listeners: [{ name: l, address: "127.0.0.1:0" }, { name: m, address: "127.0.0.1:0" }]\n${rest}`,
  );
  expect(restartChanges(before, more)).toEqual(['listeners']);
});
