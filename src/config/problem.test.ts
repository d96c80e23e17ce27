import { expect, test } from 'vitest';
import { formatProblem, parseConfig } from './index.ts';

/** The problems of a file as `penstock check` prints them. */
function problemsOf(text: string, env: Record<string, string> = {}): string[] {
  return parseConfig(text, 'f.yaml', env).problems.map(formatProblem);
}

const listeners = 'listeners: [{ name: l, address: "127.0.0.1:0" }]\n';
const pools = 'pools: [{ name: p, endpoints: [{ url: "http://h:1" }] }]\n';
const base = listeners + pools;

/** Situation, what follows `base` (its first line is line 3), the whole report. */
const single: readonly (readonly [string, string, readonly string[]])[] = [
  [
    'a key is unknown',
    'limits:\n  body_byte_max: 1MiB',
    ['4:3: limits.body_byte_max: unknown key (did you mean body_bytes_max?)'],
  ],
  [
    'an unknown key is like no other',
    'runtime: { zzz: 1 }',
    ['3:12: runtime.zzz: unknown key; expected one of shards, code_from_strings, watch_config, shard_stall_ms'],
  ],
  [
    'a key is given twice',
    'limits:\n  header_count_max: 3\n  header_count_max: 4',
    ['5:3: limits.header_count_max: the same key is given twice'],
  ],
  ['a section is a list', 'limits: []', ['3:9: limits: must be a map']],
  ['a list is a map', 'models: {}', ['3:9: models: must be a list']],
  ['text is a number', 'default_pool: 7', ['3:15: default_pool: must be text: put it in quotes']],
  [
    'a size has no meaning',
    'limits: { body_bytes_max: 3mb }',
    ['3:27: limits.body_bytes_max: must be a size such as 64MiB, 10MB or a number of bytes'],
  ],
  [
    'a size is a list',
    'limits: { body_bytes_max: [1] }',
    ['3:27: limits.body_bytes_max: must be a size such as 64MiB, 10MB or a number of bytes'],
  ],
  ['a size is too small', 'limits: { body_bytes_max: 1023 }', ['3:27: limits.body_bytes_max: must be at least 1KiB']],
  [
    'a head size is too large',
    'limits: { head_bytes_max: 65KiB }',
    ['3:27: limits.head_bytes_max: must be at most 64KiB'],
  ],
  [
    'a duration has no meaning',
    'timeouts: { total_ms: soon }',
    ['3:23: timeouts.total_ms: must be a duration such as 500ms, 30s, 5m, 1h or a number of milliseconds'],
  ],
  [
    'a count is a fraction',
    'limits: { header_count_max: 1.5 }',
    ['3:29: limits.header_count_max: must be a whole number'],
  ],
  [
    'the shards are neither a count nor auto',
    'runtime: { shards: 65 }',
    ['3:20: runtime.shards: must be auto or a number from 1 to 64'],
  ],
  ['a flag is a word', 'logging: { pretty: yes }', ['3:20: logging.pretty: must be auto, true or false']],
  [
    'a choice has a typo',
    'logging: { level: inof }',
    ['3:19: logging.level: must be one of trace, debug, info, warn, error, fatal, silent (did you mean info?)'],
  ],
  [
    'the admin port is open to the network without a token',
    'admin: { address: "0.0.0.0:9901" }',
    ['3:19: admin.address: is not a loopback address, so admin.token is required (or unsafe_without_token: true)'],
  ],
  [
    'a secret has a line break',
    'admin: { token: "a\\nb" }',
    ['3:17: admin.token: must be visible ASCII text, not empty, without a line break'],
  ],
  [
    'a name has a space',
    'models: [{ name: a b, targets: [{ pool: p }] }]',
    ['3:18: models[0].name: must be 1 to 128 visible ASCII characters'],
  ],
  ['a required key is missing', 'models: [{ name: a }]', ['3:10: models[0].targets: is required']],
  [
    'a required list is empty',
    'models:\n  - name: a\n    targets: []',
    ['5:14: models[0].targets: must have at least 1 entry'],
  ],
  [
    'a model name is an alias elsewhere',
    'models:\n  - { name: a, aliases: [b, a], targets: [{ pool: p }] }\n  - { name: b, targets: [{ pool: p }] }',
    [
      '4:26: models[0].aliases[0]: model name b is already taken by models[1].name',
      '4:29: models[0].aliases[1]: model name a is already taken by models[0].name',
    ],
  ],
  [
    'a target names no pool',
    'models: [{ name: a, targets: [{ pool: pp }] }]',
    ['3:39: models[0].targets[0].pool: there is no pool pp'],
  ],
  ['default_pool names no pool', 'default_pool: elsewhere', ['3:15: default_pool: there is no pool elsewhere']],
  [
    'two chains share a name',
    'filter_chains:\n  - { name: c, filters: [] }\n  - { name: c, filters: [] }',
    ['5:13: filter_chains[1].name: filter chain name c is already taken by filter_chains[0].name'],
  ],
  [
    'less is buffered than one body has',
    'limits: { body_bytes_max: 2KiB, buffered_bytes_max: 1KiB }',
    [
      '3:53: limits.buffered_bytes_max: buffered_bytes_max (1024 bytes) must not be less than body_bytes_max (2048 bytes)',
    ],
  ],
  [
    'one body is more than the default buffer',
    'limits: { body_bytes_max: 2GiB }',
    [
      '3:27: limits.body_bytes_max: buffered_bytes_max (1073741824 bytes) must not be less than body_bytes_max (2147483648 bytes)',
    ],
  ],
  ['a variable is missing', 'admin: { token: "${NOPE}" }', ['3:17: admin.token: environment variable NOPE is not set']],
  [
    'a variable has a default',
    'admin:\n  token: ${A:-b}',
    ['4:10: admin.token: ${A:-b} is not an environment variable; write $${ for a literal ${'],
  ],
  ['a variable is not quoted in braces', 'admin: { token: ${A} }', ['3:18: inside { } or [ ] put "${NAME}" in quotes']],
  ['an alias has no anchor', 'default_pool: *nowhere', ['3:15: default_pool: no such anchor before this alias']],
  [
    'an alias is part of itself',
    'x: &a [*a]',
    [
      '3:1: x: unknown key; expected one of listeners, admin, runtime, logging, limits, timeouts, accounting, models, default_pool, pools, sharing, filter_chains',
      '3:8: x[0]: an alias refers to what it is part of',
    ],
  ],
  ['a key is a list', 'limits: { [1]: 2 }', ['3:11: limits: a key must be plain text']],
  ['a tag is unknown', 'default_pool: !secret p', ['3:15: Unresolved tag: !secret']],
  [
    'the YAML is broken',
    'limits: [',
    ['3:10: Flow sequence in block collection must be sufficiently indented and end with a ]'],
  ],
];

test.each(single)('config: when %s, the report says where and what', (_situation, rest, report) => {
  expect(problemsOf(base + rest)).toEqual(report.map((line) => `f.yaml:${line}`));
});

/** Situation, an entry of `filters` in line 6 from column 9, the report. */
const filterProblems: readonly (readonly [string, string, readonly string[]])[] = [
  [
    'a built-in has a typo',
    '{ filter: headrs }',
    ['6:19: F.filter: is not a built-in filter (did you mean headers?); a filter of your own needs `module`'],
  ],
  ['the name is missing', '{ when: { path: /x } }', ['6:9: F.filter: is required']],
  ['an entry is no map', 'request_id', ['6:9: F: must be a map']],
  [
    'a built-in has a foreign key',
    '{ filter: request_id, status: 200 }',
    ['6:31: F.status: unknown key; expected one of filter, when, unless'],
  ],
  ['a required key is missing', '{ filter: static_response }', ['6:9: F.status: is required']],
  ['a status is no status', '{ filter: static_response, status: 99 }', ['6:44: F.status: must be at least 200']],
  [
    'a header name is no token',
    '{ filter: headers, request: { set: { "a b": c } } }',
    ['6:46: F.request.set["a b"]: is not a header name'],
  ],
  [
    'a header value has a line break',
    '{ filter: headers, request: { add: { a: "b\\r\\nc" } } }',
    ['6:49: F.request.add.a: must be visible ASCII text without a line break'],
  ],
  [
    'framing would be changed',
    '{ filter: headers, response: { remove: [Content-Length] } }',
    ['6:49: F.response.remove[0]: is set by the gateway itself'],
  ],
  [
    'the gateway would write another value',
    '{ filter: headers, request: { set: { Host: a } } }',
    ['6:46: F.request.set.Host: is set by the gateway itself'],
  ],
  [
    'a media type has a line break',
    '{ filter: static_response, status: 200, content_type: "a\\r\\nb: c" }',
    ['6:63: F.content_type: must be visible ASCII text without a line break'],
  ],
  [
    'a header value is too long',
    `{ filter: headers, request: { set: { a: ${'b'.repeat(8193)} } } }`,
    ['6:49: F.request.set.a: must have at most 8192 characters'],
  ],
  ['a condition is empty', '{ filter: access_log, unless: {} }', ['6:39: F.unless: must have at least one condition']],
  [
    'a path pattern has a star inside',
    '{ filter: access_log, when: { path: /a*b } }',
    ['6:45: F.when.path: must start with / and may end in *'],
  ],
  [
    'a path in a list is none',
    '{ filter: access_log, when: { path: [/a, b] } }',
    ['6:50: F.when.path[1]: must start with / and may end in *'],
  ],
  [
    'a method is in small letters',
    '{ filter: access_log, when: { method: get } }',
    ['6:47: F.when.method: must be a method in capitals, such as POST'],
  ],
  [
    'a condition names no listener',
    '{ filter: access_log, when: { listener: k } }',
    ['6:49: F.when.listener: there is no listener k'],
  ],
  ['a module is no path', '{ filter: mine, module: 5 }', ['6:33: F.module: must be text: put it in quotes']],
];

test.each(filterProblems)(
  'config: when in a filter %s, only the form that was meant is reported',
  (_situation, entry, report) => {
    const text = `${base}filter_chains:\n  - name: c\n    filters:\n      - ${entry}\n`;
    expect(problemsOf(text)).toEqual(
      report.map((line) => `f.yaml:${line.replace('F', 'filter_chains[0].filters[0]')}`),
    );
  },
);

/** Situation, a pool in line 2 from column 5, the report. */
const poolProblems: readonly (readonly [string, string, readonly string[]])[] = [
  ['endpoints are missing', '{ name: p }', ['2:5: pools[0].endpoints: is required']],
  [
    'endpoints are given twice',
    '{ name: p, endpoints: [{ url: "http://h" }, { url: "http://H:80/" }] }',
    ['2:56: pools[0].endpoints[1].url: http://h is already given by pools[0].endpoints[0].url'],
  ],
  [
    'a URL holds a password',
    '{ name: p, endpoints: [{ url: "http://a:b@h" }] }',
    ['2:35: pools[0].endpoints[0].url: must not hold a user or password; use credential'],
  ],
  [
    'a weight is negative',
    '{ name: p, endpoints: [{ url: "http://h", weight: -1 }] }',
    ['2:55: pools[0].endpoints[0].weight: must be at least 0'],
  ],
  [
    'all weights are 0',
    '{ name: p, endpoints: [{ url: "http://h", weight: 0 }] }',
    ['2:27: pools[0].endpoints: must not all have weight 0'],
  ],
  [
    'a publisher of KV events is no TCP address',
    '{ name: p, endpoints: [{ url: "http://h", kv_events_urls: ["ipc:///tmp/x", "tcp://h", "tcp://h:0"] }] }',
    [
      '2:64: pools[0].endpoints[0].kv_events_urls[0]: must be an address such as tcp://10.0.0.1:5557',
      '2:80: pools[0].endpoints[0].kv_events_urls[1]: must be an address such as tcp://10.0.0.1:5557',
      '2:91: pools[0].endpoints[0].kv_events_urls[2]: must be an address such as tcp://10.0.0.1:5557',
    ],
  ],
  [
    'there are not as many to ask for missed KV events as there are publishers',
    '{ name: p, endpoints: [{ url: "http://h", kv_events_urls: ["tcp://h:1", "tcp://[::1]:2"], kv_events_replay_urls: ["tcp://h:3"] }] }',
    ['2:118: pools[0].endpoints[0].kv_events_replay_urls: must have as many entries as kv_events_urls (2)'],
  ],
  [
    'the ports of the last ranks are none',
    '{ name: p, endpoints: [{ url: "http://h" }], kv_events: { port: 65534, replay_port: 65473, ranks: 64 } }',
    [
      '2:69: pools[0].kv_events.port: must leave room for 64 ranks: their last port is 65597',
      '2:89: pools[0].kv_events.replay_port: must leave room for 64 ranks: their last port is 65536',
    ],
  ],
  [
    'a retry cause is unknown',
    '{ name: p, endpoints: [{ url: "http://h" }], retries: { on: [timeout, 200] } }',
    [
      '2:66: pools[0].retries.on[0]: must be connect, reset or a status from 400 to 599',
      '2:75: pools[0].retries.on[1]: must be connect, reset or a status from 400 to 599',
    ],
  ],
  [
    'a hash source is unknown',
    '{ name: p, endpoints: [{ url: "http://h" }], hash_on: ["cookie:a"] }',
    ['2:60: pools[0].hash_on[0]: must be header:NAME, body:user or body:model'],
  ],
  [
    'ejection bounds are crossed',
    '{ name: p, endpoints: [{ url: "http://h" }], ejection: { base_ms: 10m } }',
    ['2:71: pools[0].ejection.base_ms: max_ms (300000 ms) must not be less than base_ms (600000 ms)'],
  ],
  [
    'a credential is empty',
    '{ name: p, endpoints: [{ url: "http://h" }], credential: "" }',
    ['2:62: pools[0].credential: must be visible ASCII text, not empty, without a line break'],
  ],
];

test.each(poolProblems)('config: when in a pool %s, the report says where and what', (_situation, pool, report) => {
  expect(problemsOf(`pools:\n  - ${pool}\n${listeners}`)).toEqual(report.map((line) => `f.yaml:${line}`));
});

test('config: when listeners clash or name what is not there, the report says with what', () => {
  const text = `listeners:
  - { name: a, address: "127.0.0.1:8080", filter_chains: [edgee] }
  - { name: a, address: "127.0.0.1:8080" }
  - { name: b, address: "127.0.0.1:9901" }
  - { name: c, address: "127.0.0.1:99999", tls: { certificates: [{ cert_path: c.pem }] } }
filter_chains: [{ name: edge, filters: [] }]
${pools}`;
  expect(problemsOf(text)).toEqual([
    'f.yaml:2:59: listeners[0].filter_chains[0]: there is no filter chain edgee (did you mean edge?)',
    'f.yaml:3:13: listeners[1].name: listener name a is already taken by listeners[0].name',
    'f.yaml:3:25: listeners[1].address: address 127.0.0.1:8080 is already taken by listeners[0].address',
    'f.yaml:4:25: listeners[2].address: address 127.0.0.1:9901 is already taken by admin.address',
    'f.yaml:5:25: listeners[3].address: port must be 0 to 65535',
    'f.yaml:5:66: listeners[3].tls.certificates[0].key_path: is required',
  ]);
});

test('config: when there are pools but neither models nor a default, nothing could be routed', () => {
  const text = `${listeners}pools:\n  - { name: p, endpoints: [{ url: "http://h" }] }\n  - { name: p, endpoints: [{ url: "http://h" }] }\n`;
  expect(problemsOf(text)).toEqual([
    'f.yaml:1:1: default_pool: is required with 2 pools and no models: nothing could be routed',
    'f.yaml:4:13: pools[1].name: pool name p is already taken by pools[0].name',
  ]);
});

test('config: when there is no map at all, the report says so once', () => {
  expect(problemsOf('')).toEqual(['f.yaml:1:1: the file is empty']);
  expect(problemsOf('# nothing\n')).toEqual(['f.yaml:1:1: the file is empty']);
  expect(problemsOf('- a')).toEqual(['f.yaml:1:1: the file must be a map of keys']);
  expect(problemsOf('{}')).toEqual(['f.yaml:1:1: listeners: is required', 'f.yaml:1:1: pools: is required']);
  expect(problemsOf(`${base}---\nx: 1`)[0]).toMatch(/^f\.yaml:3:1: .*multiple documents/);
});

test('config: when one section is wrong, relations in the others are still reported', () => {
  const text = `${base}limits: { x: 1 }\ndefault_pool: q\nmodels: [{ name: 5, targets: [{ pool: r }] }]\n`;
  expect(problemsOf(text).map((line) => line.split(': ')[1])).toEqual([
    'limits.x',
    'default_pool',
    'models[0].name',
    'models[0].targets[0].pool',
  ]);
});

test('config: when there is more of a thing than shared tables hold, the report counts it', () => {
  const many = (count: number, entry: (index: number) => string): string =>
    Array.from({ length: count }, (_, i) => entry(i)).join(', ');
  const endpoints = (count: number, pool: number): string => many(count, (i) => `{ url: "http://h${pool}:${i + 1}" }`);
  expect(problemsOf(`${pools}listeners: [${many(17, (i) => `{ name: l${i}, address: "h:0" }`)}]`)).toEqual([
    'f.yaml:2:12: listeners: must have at most 16 entries, has 17',
  ]);
  expect(problemsOf(`${base}models: [${many(1025, (i) => `{ name: m${i}, targets: [{ pool: p }] }`)}]`)).toEqual([
    'f.yaml:3:9: models: must have at most 1024 entries, has 1025',
  ]);
  const full = many(2, (pool) => `{ name: p${pool}, endpoints: [${endpoints(600, pool)}] }`);
  expect(problemsOf(`${listeners}default_pool: p0\npools: [${full}]`)).toEqual([
    'f.yaml:3:8: pools: must have at most 1024 endpoints over all pools, has 1200',
  ]);
  expect(
    problemsOf(
      `${listeners}default_pool: p0\npools: [${many(65, (i) => `{ name: p${i}, endpoints: [{ url: "http://h" }] }`)}]`,
    ),
  ).toEqual(['f.yaml:3:8: pools: must have at most 64 entries, has 65']);
});

// "Billion laughs": nine lines of YAML that stand for 10^9 values.
test('config: when aliases multiply, reading stops with a problem in bounded time', () => {
  let bomb = 'x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n';
  for (let level = 1; level <= 9; level++)
    bomb += `x${level}: &x${level} [${Array(10)
      .fill(`*x${level - 1}`)
      .join(', ')}]\n`;
  const started = performance.now();
  expect(problemsOf(base + bomb).some((line) => line.includes('aliases stand for more than'))).toBe(true);
  expect(performance.now() - started).toBeLessThan(5000);
});

test('config: when the text nests without end, it is a problem and not a crash', () => {
  expect(problemsOf('['.repeat(50_000))).toHaveLength(1);
  const deep = problemsOf(`${base}x: ${'['.repeat(100)}${']'.repeat(100)}`);
  expect(deep.some((line) => line.includes('nested more than 64 deep'))).toBe(true);
});

test('config: when a file tries to reach a prototype, the key is refused', () => {
  const text = `${base}filter_chains: [{ name: c, filters: [{ filter: f, module: ./f.js, options: { __proto__: { a: 1 } } }] }]`;
  expect(problemsOf(text)).toEqual(['f.yaml:3:78: filter_chains[0].filters[0].options: a key must be plain text']);
});

test('config: when a secret is wrong, its value is not repeated', () => {
  const report = problemsOf(`${base}admin: { token: "\${T}" }`, { T: 'hunter2\n' }).join();
  expect(report).toContain('admin.token');
  expect(report).not.toContain('hunter2');
});

test('config: when a secret of the environment stands in the wrong place, problems name its variable instead', () => {
  const env = { KEY: 'sk-hunter2', PART: 'hunter2' };
  const report = problemsOf(
    `${base}models: [{ name: m, aliases: ["\${KEY}"], targets: [{ pool: "\${KEY}" }] }, { name: "\${KEY}", targets: [{ pool: p }] }]\ndefault_pool: "x\${PART}"`,
    env,
  ).join('\n');
  expect(report).toContain('there is no pool ${KEY}');
  expect(report).toContain('model name ${KEY} is already taken');
  expect(report).toContain('there is no pool x${PART}');
  expect(report).not.toContain('hunter2');
});

/** Situation, the pool's further keys, its endpoints' roles, what is wrong. */
const roles: readonly (readonly [string, string, readonly string[], readonly string[]])[] = [
  ['there are none', '', ['both', 'both'], []],
  [
    'there is no protocol for them',
    '',
    ['prefill', 'decode', 'both'],
    [
      "pools[0].endpoints[0].role: role prefill needs the pool's disaggregation: how its engines hand prompts over",
      "pools[0].endpoints[1].role: role decode needs the pool's disaggregation: how its engines hand prompts over",
    ],
  ],
  ['they fit the protocol', 'disaggregation: { protocol: vllm }, ', ['prefill', 'decode'], []],
  ['either endpoint does either', 'disaggregation: { protocol: vllm }, ', ['both', 'both'], []],
  [
    'nobody answers',
    'disaggregation: { protocol: vllm }, ',
    ['prefill'],
    ['pools[0].disaggregation: protocol vllm needs an endpoint with role decode or both'],
  ],
  [
    'there is one endpoint for all',
    'disaggregation: { protocol: vllm }, ',
    ['both'],
    ['pools[0].disaggregation: protocol vllm needs two endpoints: one cannot hand a prompt to itself'],
  ],
  [
    'SGLang engines have no mode',
    'disaggregation: { protocol: sglang }, ',
    ['both', 'decode'],
    ['pools[0].disaggregation: protocol sglang needs an endpoint with role prefill'],
  ],
  [
    'the dialect knows no such thing',
    'dialect: anthropic, disaggregation: { protocol: sglang }, ',
    ['prefill', 'decode'],
    ['pools[0].disaggregation: works with dialect openai only, not anthropic'],
  ],
  [
    'the protocol is missing',
    'disaggregation: { prefill_from_tokens: 5 }, ',
    ['prefill', 'decode'],
    ['pools[0].disaggregation.protocol: is required'],
  ],
];
test.each(roles)(
  'config: when endpoints have roles and %s, it says what does not fit',
  (_, keys, written, expected) => {
    const endpoints = written.map((role, index) => `{ url: "http://h:${index + 1}", role: ${role} }`);
    const text = `${listeners}pools: [{ name: p, ${keys}endpoints: [${endpoints.join(', ')}] }]\n`;
    expect(problemsOf(text).map((problem) => problem.replace(/^\d+:\d+: |^f\.yaml:\d+:\d+: /, ''))).toEqual(expected);
  },
);
