import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished, expect, test } from 'vitest';
import { formatProblem, loadConfig, parseConfig } from './index.ts';
import type { Config } from './index.ts';

const minimal = `
listeners: [{ name: l, address: "127.0.0.1:0" }]
pools: [{ name: p, endpoints: [{ url: "http://h:1" }] }]
`;

function configOf(text: string, env: Record<string, string> = {}): Config {
  const result = parseConfig(text, '/etc/penstock/f.yaml', env);
  if (!result.ok) throw new Error(result.problems.map(formatProblem).join('\n'));
  return result.config;
}

test('config: when only listeners and pools are given, every other setting has the default of the contract', () => {
  const config = configOf(minimal);
  expect(config.limits).toEqual({
    bodyBytesMax: 67_108_864,
    headBytesMax: 16_384,
    jsonCheck: 'scan',
    targetBytesMax: 8192,
    headerCountMax: 98,
    bufferedBytesMax: 1_073_741_824,
    connectionsMax: 'auto',
    connectionsPerAddressMax: 0,
    requestsMax: 0,
    shedDelayMs: 500,
    shedMemoryPercent: 85,
    uploadRateMinBytes: 16_384,
    dispatchMinBytes: 0,
    priorityHeader: null,
  });
  expect(config.timeouts).toEqual({
    connectMs: 2000,
    firstByteMs: 300_000,
    streamIdleMs: 120_000,
    streamPingMs: 0,
    requestIdleMs: 30_000,
    downstreamIdleMs: 75_000,
    downstreamWriteMs: 30000,
    totalMs: 0,
    drainMs: 600_000,
  });
  expect(config.admin).toEqual({ address: { host: '127.0.0.1', port: 9901 }, token: null, unsafeWithoutToken: false });
  expect(config.runtime).toEqual({
    shards: 'auto',
    codeFromStrings: 'reject',
    watchConfig: false,
    shardStallMs: 10_000,
  });
  expect(config.logging).toEqual({ level: 'info', pretty: 'auto' });
  expect(config.listeners).toEqual([
    {
      name: 'l',
      address: { host: '127.0.0.1', port: 0 },
      tls: null,
      filterChains: [],
      chunkedRequests: 'accept',
      priority: 'normal',
      proxyProtocol: false,
    },
  ]);
  expect(config.models).toEqual([]);
  expect(config.sharing).toEqual({
    url: null,
    password: null,
    namespace: 'penstock',
    tls: { caPath: null, serverName: null },
  });
  expect(config.filterChains).toEqual([]);
  expect(config.pools).toEqual([
    {
      name: 'p',
      dialect: 'openai',
      engine: 'auto',
      picker: 'kv_aware',
      debugHeaders: false,
      hashOn: [
        { source: 'header', name: 'x-session-id' },
        { source: 'header', name: 'x-user-id' },
        { source: 'body', name: 'user' },
        { source: 'body', name: 'model' },
      ],
      endpoints: [
        {
          url: 'http://h:1',
          tls: false,
          host: 'h',
          port: 1,
          authority: 'h:1',
          basePath: '',
          weight: 1,
          sku: null,
          quantization: null,
          contextTokens: 0,
          role: 'both',
          bootstrapPort: null,
          kvEventsUrls: [],
          kvEventsReplayUrls: [],
        },
      ],
      disaggregation: null,
      kvEvents: null,
      health: null,
      metrics: { path: null, port: 0 },
      modelLists: true,
      connectionsMax: 0,
      inflightMax: 0,
      pendingTokensMax: 0,
      pendingPrefillMs: 0,
      completionRateMax: 0,
      queue: {
        requestsMax: 1024,
        bytesMax: 268_435_456,
        waitMs: 5000,
        waitHeader: 'x-request-timeout-ms',
        fairBy: { source: 'none' },
        fairness: 'round_robin',
        serviceHalfLifeMs: 60_000,
        saturatedAt: { waiting: 0, kvUsage: 0 },
      },
      keepaliveIdleMs: 4000,
      retries: { attempts: 2, on: ['connect', 'reset', '502', '503', '429'], budgetPercent: 20, budgetMin: 3 },
      ejection: { consecutiveFailures: 5, baseMs: 10_000, maxMs: 300_000, shareMaxPercent: 50 },
      slowStartMs: 5000,
      credential: null,
      passAuthorization: false,
      tls: { verify: true, caPath: null, serverName: null },
    },
  ]);
});

test('config: when there are no models and one pool, it is the default pool; with models it is not', () => {
  expect(configOf(minimal).defaultPool).toBe('p');
  expect(configOf(`${minimal}models: [{ name: m, targets: [{ pool: p }] }]`).defaultPool).toBeNull();
});

test('config: when a section is left empty, it counts as absent', () => {
  expect(configOf(`${minimal}limits:\nmodels:\nadmin: { token: }\n`)).toEqual(configOf(minimal));
});

test('config: when variables are used, they are put in before the value is read', () => {
  const config = configOf(
    `${minimal}
limits: { body_bytes_max: "\${SIZE}MiB", header_count_max: "\${COUNT}" }
logging: { pretty: "\${PRETTY}" }
admin: { address: "\${HOST}:\${PORT}", token: "a$\${b}\${TOKEN}" }
`,
    { SIZE: '2', COUNT: '50', PRETTY: 'false', HOST: '[::1]', PORT: '99', TOKEN: '${HOST}' },
  );
  expect(config.limits.bodyBytesMax).toBe(2_097_152);
  expect(config.limits.headerCountMax).toBe(50);
  expect(config.logging.pretty).toBe(false);
  // `$${` is a literal, and what a variable holds is not looked at again.
  expect(config.admin).toEqual({
    address: { host: '::1', port: 99 },
    token: 'a${b}${HOST}',
    unsafeWithoutToken: false,
  });
});

test('config: when filters are given, their own keys are camelCase and the keys of users stay as they are', () => {
  const { filterChains } = configOf(`${minimal}
filter_chains:
  - name: edge
    filters:
      - { filter: static_response, status: 204, content_type: a/b, when: { path: /x*, header: { X-A_b: "*" } } }
      - { filter: headers, request: { set: { X-Snake_Case: "1" } } }
      - { filter: mine, module: ./f.js, options: { some_key: [{ inner_key: null }], n: 1.5 } }
`);
  const none = { set: {}, add: {}, remove: [] };
  expect(filterChains[0]?.filters).toEqual([
    {
      filter: 'static_response',
      module: null,
      status: 204,
      headers: {},
      body: '',
      contentType: 'a/b',
      when: { path: ['/x*'], method: null, model: null, listener: null, stream: null, header: { 'X-A_b': '*' } },
      unless: null,
    },
    {
      filter: 'headers',
      module: null,
      request: { ...none, set: { 'X-Snake_Case': '1' } },
      response: none,
      when: null,
      unless: null,
    },
    {
      filter: 'mine',
      module: '/etc/penstock/f.js',
      options: { some_key: [{ inner_key: null }], n: 1.5 },
      when: null,
      unless: null,
    },
  ]);
});

test('config: when anchors are shared, each use has the values', () => {
  const config = configOf(`
listeners: [{ name: l, address: "127.0.0.1:0" }]
default_pool: a
pools:
  - { name: a, endpoints: [{ url: "http://h:1" }], retries: &r { attempts: 7, on: [connect, 503] } }
  - { name: b, endpoints: [{ url: "http://h:1" }], retries: *r }
`);
  expect(config.pools.map(({ retries }) => retries)).toEqual([
    { attempts: 7, on: ['connect', '503'], budgetPercent: 20, budgetMin: 3 },
    { attempts: 7, on: ['connect', '503'], budgetPercent: 20, budgetMin: 3 },
  ]);
});

test('config: when a config is loaded, it is frozen to the last leaf and can be posted to a thread', () => {
  const config = configOf(
    `${minimal}filter_chains: [{ name: c, filters: [{ filter: f, module: f.js, options: { a: [{}] } }] }]`,
  );
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    expect(Object.isFrozen(value)).toBe(true);
    expect([Object.prototype, Array.prototype]).toContain(Object.getPrototypeOf(value));
    Object.values(value).forEach(walk);
  };
  walk(config);
  expect(structuredClone(config)).toEqual(config);
});

test('config: when two files are loaded, nothing of one is shared with the other', () => {
  expect(configOf(minimal).pools[0]?.retries.on).not.toBe(configOf(`${minimal}#`).pools[0]?.retries.on);
});

test('config: when a file names files, each must exist and is resolved against the folder of the file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'penstock-config-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, 'f.yaml');
  await writeFile(
    path,
    `listeners:
  - name: l
    address: 127.0.0.1:0
    tls:
      certificates:
        - cert_path: cert.pem
          key_path: key.pem
pools: [{ name: p, endpoints: [{ url: "https://h" }], tls: { ca_path: . } }]
filter_chains: [{ name: c, filters: [{ filter: f, module: f.js }] }]
`,
  );
  const before = await loadConfig(path, {});
  expect(before.problems.map(formatProblem)).toEqual([
    `${path}:6:22: listeners[0].tls.certificates[0].cert_path: no such file: ${join(folder, 'cert.pem')}`,
    `${path}:7:21: listeners[0].tls.certificates[0].key_path: no such file: ${join(folder, 'key.pem')}`,
    `${path}:8:71: pools[0].tls.ca_path: no such file: ${folder}`,
    `${path}:9:59: filter_chains[0].filters[0].module: no such file: ${join(folder, 'f.js')}`,
  ]);
  const fixture = (name: string): URL => new URL(`../../test/fixtures/tls/${name}`, import.meta.url);
  await copyFile(fixture('cert.pem'), join(folder, 'cert.pem'));
  await copyFile(fixture('key.pem'), join(folder, 'key.pem'));
  await copyFile(fixture('client-ca.pem'), join(folder, 'ca.pem'));
  const good = `listeners: [{ name: l, address: "h:0", tls: { certificates: [{ cert_path: cert.pem, key_path: key.pem }] } }]
pools: [{ name: p, endpoints: [{ url: "https://h" }], tls: { ca_path: ca.pem } }]
`;
  await writeFile(path, good);
  const after = await loadConfig(path, {});
  expect(after.ok && after.config.listeners[0]?.tls?.certificates).toEqual([
    { certPath: join(folder, 'cert.pem'), keyPath: join(folder, 'key.pem'), passphrase: null, serverNames: [] },
  ]);
  expect(after.ok && after.config.pools[0]?.tls.caPath).toBe(join(folder, 'ca.pem'));
  expect(after.paths.toSorted()).toEqual(['ca.pem', 'cert.pem', 'key.pem'].map((name) => join(folder, name)));
});

test('config: when the file cannot be read, that is a problem and not an exception', async () => {
  const result = await loadConfig('/nonexistent/f.yaml', {});
  expect(result.problems.map(formatProblem)).toEqual([
    expect.stringMatching(/^\/nonexistent\/f\.yaml:1:1: cannot be read: ENOENT/),
  ]);
});
