import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { parseConfig } from '../config/index.ts';
import { demoConfig } from './demo-config.ts';
import { dispatch } from './dispatch.ts';
import { commandHelp } from './help.ts';

const folder = mkdtempSync(join(tmpdir(), 'penstock-cli-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const code = await dispatch(argv, { out: (text) => void (out += text), err: (text) => void (err += text) });
  return { code, out, err };
}

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const good = `listeners: [{ name: public, address: "127.0.0.1:0" }]
pools: [{ name: local, endpoints: [{ url: "http://127.0.0.1:8001" }] }]
`;

test('cli: when asked for version or help, it says so on stdout with exit code 0', async () => {
  expect(await run('--version')).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), err: '' });
  const help = await run('--help');
  expect(help.code).toBe(0);
  for (const command of ['run', 'check', 'demo', 'sim', 'schema', 'top']) {
    expect(help.out).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
    expect(await run(command, '--help')).toEqual({ code: 0, out: commandHelp[command], err: '' });
  }
});

test('cli: when the command line is wrong, help goes to stderr with exit code 1', async () => {
  for (const argv of [
    [],
    ['no-such'],
    ['run'],
    ['check'],
    ['run', '--no-such'],
    ['check', 'stray.yaml'],
    ['demo', '--port', 'x'],
    ['schema', '--format', 'xml'],
    ['sim', '--speed', 'fast'],
    ['__proto__'],
  ]) {
    const { code, out, err } = await run(...argv);
    expect(code, argv.join(' ')).toBe(1);
    expect(out).toBe('');
    expect(err).toMatch(/Usage: penstock|penstock sim \[flags\]/);
  }
});

test('cli: when a help text is shown, no line is wider than 120 columns', () => {
  for (const [command, text] of Object.entries(commandHelp)) {
    for (const line of text.split('\n')) expect(line.length, `${command}: ${line}`).toBeLessThanOrEqual(120);
  }
});

test('check: when the file is valid, it prints ok', async () => {
  expect(await run('check', '-c', file('good.yaml', good))).toEqual({ code: 0, out: 'ok\n', err: '' });
});

test('check: when a target asks for what no endpoint has, it says so and the file is still valid', async () => {
  const models = 'models: [{ name: m, targets: [{ pool: local, skus: [b200] }] }]\n';
  const path = file('unmet.yaml', good + models);
  const { code, out, err } = await run('check', '-c', path);
  expect([code, out]).toEqual([0, 'ok\n']);
  expect(err).toBe(
    `${path}:${good.split('\n').length}:52: models[0].targets[0].skus: ` +
      'no endpoint of pool local has what is asked for: nothing goes to this target (warning)\n',
  );
});

test('check: when there are problems, each is one line with its place', async () => {
  const path = file('bad.yaml', good.replace('pools', 'pool').replace('public', '""'));
  const { code, out } = await run('check', '--config', path);
  expect(code).toBe(1);
  const lines = out.trimEnd().split('\n');
  expect(lines.length).toBeGreaterThanOrEqual(2);
  for (const line of lines) expect(line.startsWith(`${path}:`)).toBe(true);
  expect(out).toMatch(/:2:1: pool: .*did you mean pools\?/);
});

test('check: when the file does not exist, that is a problem too', async () => {
  const { code, out } = await run('check', '-c', join(folder, 'missing.yaml'));
  expect(code).toBe(1);
  expect(out).toContain('missing.yaml');
});

test('schema: when asked for, it is a JSON Schema, or the reference page', async () => {
  const { code, out } = await run('schema');
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({ properties: { listeners: {}, pools: {} } });
  expect((await run('schema', '--format', 'markdown')).out).toContain('buffered_bytes_max');
});

test('demo: when its config is written, it is a valid one', () => {
  const text = demoConfig({
    port: 8080,
    adminPort: 9901,
    shards: 'auto',
    engineUrls: ['http://127.0.0.1:1', 'http://127.0.0.1:2'],
  });
  const parsed = parseConfig(text, 'demo.yaml', {});
  expect(parsed.problems).toEqual([]);
});

test('demo: when its port is taken, it says so and exits with 2, before it starts anything', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  expect(await run('demo', '--port', `${port}`)).toEqual({
    code: 2,
    out: '',
    err: `penstock: 127.0.0.1:${port} is in use; choose another with --port N\n`,
  });
  server.close();
});

test('top: when asked for one frame, it shows shards, endpoints and percentiles of the admin port', async () => {
  const status = {
    version: '1.2.3',
    pid: 1,
    phase: 'running',
    uptime_s: 3700,
    config_version: 4,
    rss_bytes: 150 * 1024 * 1024,
    buffered_bytes: 0,
    buffered_bytes_max: 1024 ** 3,
    requests_total: 12_345,
    tokens_total: 7,
    listeners: [{ name: 'public', address: '127.0.0.1:8080' }],
    shards: [
      { index: 0, state: 'listening', connections: 5, buffered_bytes: 0, requests_total: 9, restarts: 0, uptime_s: 5 },
    ],
    pools: [
      {
        name: 'local',
        endpoints: [
          {
            url: 'http://a:1',
            state: 'healthy',
            inflight: 2,
            inflight_tokens: 100,
            queue: null,
            running: 3,
            kv_usage: 0.5,
            ttft_ewma_ms: 12.3,
            prompt_tokens_per_second: 800,
            completion_tokens_per_second: 12_345.6,
            prompt_headroom: 7000,
            completion_headroom: null,
            catalogue: { models: ['m'], adapters: ['a', 'b'], further: 0, context_tokens: 131_072 },
          },
        ],
      },
    ],
  };
  const percentiles = { p50: 1.5, p90: 20, p99: 300, 'p99.9': 4000 };
  const histograms = [
    { name: 'penstock_ttft_seconds', labels: { model: 'm', pool: 'local' }, count: 3, max: 5000, percentiles },
  ];
  const seen: (string | undefined)[] = [];
  const server = createHttpServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end(JSON.stringify(request.url === '/status' ? status : { histograms }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const { code, out } = await run('top', '--once', '--admin', `http://127.0.0.1:${port}`, '--token', 't');
  expect(code).toBe(0);
  expect(seen).toEqual(['Bearer t', 'Bearer t']);
  expect(out).toContain('penstock 1.2.3  running  up 1h1m  config v4  rss 150 MiB');
  expect(out).toContain('requests 12.3k');
  expect(out).toMatch(
    /local {2}http:\/\/a:1 {2}healthy +2 +100 +- +3 {2}50% +12 +800 +12\.3k +7000 +- +1\+2 +131\.1k$/m,
  );
  expect(out).toMatch(/ttft +m +local +3 +1\.5 +20 +300 +4000 +5000/);
  server.close();
  server.closeAllConnections();
});

test('top: when nobody listens at the admin port, it says so and exits with 2', async () => {
  const { code, err } = await run('top', '--once', '--admin', 'http://127.0.0.1:1');
  expect(code).toBe(2);
  expect(err).toBe('penstock: http://127.0.0.1:1: nobody listens there\n');
});
