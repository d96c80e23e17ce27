import { spawnSync } from 'node:child_process';
import { createPrivateKey, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';
import { until } from '../rig/until.ts';

// FAULTS S1: the real program at its chattiest, through good and failing requests, refused reloads and a crash. Then every byte
// it gave out is searched for every secret it was given.

const secret = (name: string): string => `sk-${name}-${randomBytes(9).toString('hex')}`;
const secrets = {
  credential: secret('credential'),
  admin: secret('admin'),
  passphrase: secret('passphrase'),
  header: secret('header'),
  option: secret('option'),
  misplaced: secret('misplaced'),
  clientBearer: secret('client-bearer'),
  clientKey: secret('client-key'),
  clientQuery: secret('client-query'),
  clientCookie: secret('client-cookie'),
  prompt: secret('prompt'),
  wrongToken: secret('wrong-token'),
} as const;
const env = {
  PENSTOCK_TEST_CREDENTIAL: secrets.credential,
  PENSTOCK_TEST_ADMIN: secrets.admin,
  PENSTOCK_TEST_PASSPHRASE: secrets.passphrase,
  PENSTOCK_TEST_HEADER: secrets.header,
  PENSTOCK_TEST_OPTION: secrets.option,
  PENSTOCK_TEST_MISPLACED: secrets.misplaced,
};

const certPath = fileURLToPath(new URL('../fixtures/tls/cert.pem', import.meta.url));
const plainKey = readFileSync(new URL('../fixtures/tls/key.pem', import.meta.url), 'utf8');
const crashingFilter = fileURLToPath(new URL('fixtures/crashing-filter.js', import.meta.url));

let folder: string;
let keyPath: string;
let endpoint: Server;
/** Fields the endpoint got, to see that the secrets were in use. */
const gotUp: string[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'penstock-secrets-'));
  keyPath = join(folder, 'key.pem');
  const cipher = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: secrets.passphrase } as const;
  writeFileSync(keyPath, createPrivateKey(plainKey).export(cipher));
  endpoint = createServer((request, response) => {
    gotUp.push(JSON.stringify(request.headers));
    request.resume().on('end', () => {
      if (request.url === '/reset') return void request.socket.destroy();
      if (request.url === '/garbage') return void request.socket.end('garbage\r\n\r\n');
      response.statusCode = request.url === '/fails' ? 500 : 200;
      response.setHeader('content-type', 'application/json');
      response.end('{"usage":{"prompt_tokens":1,"completion_tokens":1}}');
    });
  });
  await new Promise<void>((resolve) => endpoint.listen(0, '127.0.0.1', resolve));
});

afterAll(() => {
  endpoint.close();
  rmSync(folder, { recursive: true });
});

function yaml(): string {
  const { port } = endpoint.address() as AddressInfo;
  return `
logging: { level: trace, pretty: false }
models:
  - { name: m, targets: [{ pool: good }] }
  - { name: refused, targets: [{ pool: dead }] }
default_pool: good
pools:
  - { name: good, picker: round_robin, health: { path: /, interval_ms: 100ms }, retries: { attempts: 1 }, credential: "\${PENSTOCK_TEST_CREDENTIAL}", endpoints: [{ url: "http://127.0.0.1:${port}" }] }
  - { name: dead, engine: none, credential: "\${PENSTOCK_TEST_CREDENTIAL}", endpoints: [{ url: "http://127.0.0.1:1" }] }
filter_chains:
  - name: edge
    filters:
      - { filter: access_log }
      - { filter: headers, request: { set: { x-tenant: "\${PENSTOCK_TEST_HEADER}" } } }
      - { filter: crashing, module: "${crashingFilter}", options: { connection: "redis://u:\${PENSTOCK_TEST_OPTION}@h" } }
`;
}

/** The listener speaks TLS with the encrypted key. */
function start(): Promise<RunningGateway> {
  const tls = `{ certificates: [{ cert_path: "${certPath}", key_path: "${keyPath}", passphrase: "\${PENSTOCK_TEST_PASSPHRASE}" }] }`;
  return startGateway(yaml(), {
    tls,
    listener: 'filter_chains: [edge]',
    admin: 'token: "${PENSTOCK_TEST_ADMIN}"',
    env: {
      ...env,
      LOG_LEVEL: 'trace',
      NODE_OPTIONS: `--report-uncaught-exception --report-on-fatalerror --report-on-signal --report-directory=${folder}`,
    },
  });
}

function reports(): string[] {
  return readdirSync(folder).filter((name) => name !== 'key.pem');
}

/** The whole answer of the data port, head and body, as text. */
function ask(gateway: RunningGateway, method: string, path: string, body = ''): Promise<string> {
  return new Promise((resolve) => {
    const url = new URL(path, gateway.url.replace('http:', 'https:'));
    const headers = {
      authorization: `Bearer ${secrets.clientBearer}`,
      'x-api-key': secrets.clientKey,
      cookie: `a=${secrets.clientCookie}`,
      'content-length': Buffer.byteLength(body),
    };
    const request = httpsRequest(url, { method, headers, rejectUnauthorized: false, agent: false }, (response) => {
      let text = JSON.stringify([response.statusCode, response.rawHeaders]);
      response.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
      response.on('close', () => resolve(text));
    });
    request.on('error', (error) => resolve(String(error)));
    request.end(method === 'GET' ? undefined : body);
  });
}

async function askAdmin(gateway: RunningGateway, path: string, method: string, token: string): Promise<string> {
  const headers = { authorization: `Bearer ${token}`, 'x-penstock-admin': '1' };
  const answer = await fetch(gateway.adminUrl + path, { method, headers });
  return `${answer.status} ${JSON.stringify([...answer.headers])} ${await answer.text()}`;
}

function findSecrets(where: Readonly<Record<string, string>>): string[] {
  const found: string[] = [];
  for (const [name, text] of Object.entries(where)) {
    for (const [kind, value] of Object.entries(secrets)) {
      // As they are, or as they would be in a query, a basic credential or a dump of bytes.
      const forms = [value, Buffer.from(value).toString('base64').slice(0, 24), Buffer.from(value).toString('hex')];
      if (forms.some((form) => text.includes(form))) found.push(`${kind} in ${name}`);
    }
  }
  return found;
}

test('secrets: when the program has gone through good and bad requests, reloads and a crash, no output has any of them', async () => {
  const gateway = await start();
  const outputs: Record<string, string> = {};
  const chat = (model: string): string => JSON.stringify({ model, messages: [{ content: secrets.prompt }] });
  const key = `?key=${secrets.clientQuery}`;
  const requests: readonly (readonly [method: string, path: string, body?: string])[] = [
    ['POST', `/v1/chat/completions${key}`, chat('m')],
    ['POST', '/v1/chat/completions', chat('refused')],
    ['POST', '/v1/chat/completions', chat('unknown')],
    ['POST', '/v1/chat/completions', `{"model":"m","x":${secrets.prompt}`],
    ['POST', '/v1//chat/completions', chat('m')],
    ['POST', '/v1/messages', chat('refused')],
    ['GET', `/reset${key}`],
    ['GET', `/garbage${key}`],
    ['GET', `/fails${key}`],
    ['GET', `/throw${key}`],
    ['GET', '/a/../b'],
    ['GET', '/v1/models'],
  ];
  try {
    for (const [index, [method, path, body]] of requests.entries()) {
      outputs[`request ${index}`] = await ask(gateway, method, path, body);
    }
    expect(outputs['request 0']).toContain('prompt_tokens');
    expect(gotUp.join(), 'the credential is in use').toContain(`Bearer ${secrets.credential}`);
    expect(gotUp.join(), 'the header is in use').toContain(secrets.header);
    expect(gotUp.join(), "the client's own stays behind").not.toContain(secrets.clientBearer);
    expect(gotUp.join()).not.toContain(secrets.clientKey);

    for (const path of [
      '/',
      '/live',
      '/ready',
      '/metrics',
      '/status',
      '/exchanges',
      '/leases',
      '/histograms',
      '/config',
    ]) {
      outputs[path] = await askAdmin(gateway, path, 'GET', secrets.admin);
      expect(outputs[path], path).toMatch(/^200 /);
      outputs[`${path} refused`] = await askAdmin(gateway, path, 'GET', secrets.wrongToken);
    }
    expect(outputs['/config']).toContain('${PENSTOCK_TEST_OPTION}');

    const original = readFileSync(gateway.configPath, 'utf8');
    const broken = [
      original.replace('pool: dead', 'pool: "${PENSTOCK_TEST_MISPLACED}"'),
      original.replace('127.0.0.1:1"', '${PENSTOCK_TEST_MISPLACED}/ "'),
      original.replace('picker: round_robin', 'picker: "${PENSTOCK_TEST_MISPLACED}"'),
      original.replace('/crashing-filter.js', '/${PENSTOCK_TEST_MISPLACED}.js'),
      original.replace('token: "${PENSTOCK_TEST_ADMIN}"', 'token: "${PENSTOCK_TEST_MISPLACED}"'),
      original.replace('credential: "${PENSTOCK_TEST_CREDENTIAL}"', 'credential: "${PENSTOCK_TEST_CREDENTIAL}\\n"'),
      `${original}\n  - "\${PENSTOCK_TEST_MISPLACED}`,
    ];
    for (const [index, text] of broken.entries()) {
      writeFileSync(gateway.configPath, text);
      outputs[`reload ${index}`] = await askAdmin(gateway, '/reload', 'POST', secrets.admin);
      expect(outputs[`reload ${index}`], `reload ${index}`).toMatch(/^422 /);
    }
    writeFileSync(gateway.configPath, original);
    outputs['reload'] = await askAdmin(gateway, '/reload', 'POST', secrets.admin);
    expect(outputs['reload']).toMatch(/^200 /);

    // An error nobody catches, in a shard; then a dump of the process, by the signal for one.
    outputs['crash'] = await ask(gateway, 'GET', '/crash');
    await until(() => gateway.output().includes('crashed on purpose'), 'the crash is in the log', 10_000);
    process.kill(gateway.pid, 'SIGUSR2');
    const isAnswered = (): boolean => reports().length > 0 || gateway.output().includes('no diagnostic report');
    await until(isAnswered, 'the signal has been taken', 10_000);
  } finally {
    await gateway.stop();
  }
  outputs['stdout and stderr'] = gateway.output();
  for (const name of reports()) outputs[`file ${name}`] = readFileSync(join(folder, name), 'latin1');
  expect(outputs['stdout and stderr'].split('\n').length, 'there is something to search').toBeGreaterThan(20);
  expect(findSecrets(outputs)).toEqual([]);
  expect(findSecrets({ probe: `x${secrets.header}y` }), 'the search finds what is there').toEqual(['header in probe']);
}, 60_000);

test('secrets: when the passphrase of a key is wrong, the start fails and nothing of it is printed', () => {
  const configPath = join(folder, 'wrong.yaml');
  const certificate = `{ cert_path: "${certPath}", key_path: "${keyPath}", passphrase: "\${WRONG}" }`;
  const listener = `{ name: public, address: "127.0.0.1:0", tls: { certificates: [${certificate}] } }`;
  writeFileSync(
    configPath,
    `listeners: [${listener}]\nadmin: { address: "127.0.0.1:0" }\nruntime: { shards: 1 }\npools: [{ name: p, engine: none, endpoints: [{ url: "http://127.0.0.1:1" }] }]\n`,
  );
  const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, 'run', '-c', configPath], {
    env: { ...process.env, WRONG: secrets.wrongToken, LOG_LEVEL: 'trace' },
    encoding: 'utf8',
    timeout: 50_000,
  });
  rmSync(configPath);
  expect(status, stdout + stderr).not.toBe(0);
  expect(stdout + stderr).not.toBe('');
  expect(findSecrets({ stdout, stderr })).toEqual([]);
}, 60_000);
