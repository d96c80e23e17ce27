import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { copyFile, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { Agent, createServer, request as httpsRequest, type RequestOptions, type Server } from 'node:https';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { patternOf } from '../../src/sim/byte-answer.ts';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';

// TLS on both sides: certificates of endpoints are checked unless told otherwise, and asked for by name.
const certPath = fileURLToPath(new URL('../fixtures/tls/cert.pem', import.meta.url));
const keyPath = fileURLToPath(new URL('../fixtures/tls/key.pem', import.meta.url));
const cert = readFileSync(certPath);

const large = patternOf(8_000_000);

let upstream: Server;
let upstreamUrl: string;
/** Server names the upstream was asked for. */
const serverNames: (string | false)[] = [];
const gateways: RunningGateway[] = [];
const folders: string[] = [];

beforeAll(async () => {
  upstream = createServer({ cert, key: readFileSync(keyPath) }, (request, response) => {
    serverNames.push((request.socket as TLSSocket & { servername: string | false }).servername);
    let bytes = 0;
    request.on('data', (chunk: Buffer) => (bytes += chunk.length));
    request.on('end', () => response.end(request.url === '/large' ? large : `${bytes} bytes`));
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  upstreamUrl = `https://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
});

afterEach(async () => {
  serverNames.length = 0;
  await Promise.all(gateways.splice(0).map((gateway) => gateway.stop()));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

afterAll(() => {
  upstream.close();
});

async function start(upstreamTls: string, listenerTls?: string): Promise<RunningGateway> {
  const gateway = await startGateway(
    `pools: [{ name: only, engine: none, picker: round_robin, tls: { ${upstreamTls} }, endpoints: [{ url: "${upstreamUrl}" }] }]\n`,
    listenerTls === undefined ? {} : { tls: listenerTls },
  );
  gateways.push(gateway);
  return gateway;
}

test('tls: when the endpoint presents a certificate nobody vouches for, 502 and nothing is sent', async () => {
  const gateway = await start('');
  const response = await fetch(`${gateway.url}/x`);
  expect(response.status).toBe(502);
  expect(((await response.json()) as { error: { code: string } }).error.code).toBe('connect_failed');
  expect(serverNames).toEqual([]);
});

test('tls: when its authority is configured, 3 MB pass and the endpoint is asked for by name', async () => {
  const gateway = await start(`ca_path: "${certPath}", server_name: penstock.test`);
  for (let round = 0; round < 2; round++) {
    const response = await fetch(`${gateway.url}/x`, { method: 'POST', body: Buffer.alloc(3_000_000, 'x') });
    expect(await response.text()).toBe('3000000 bytes');
  }
  expect(serverNames).toEqual(['penstock.test', 'penstock.test']);
});

test('tls: when endpoints send many large responses at once, every byte of all of them arrives', async () => {
  const gateway = await start('verify: false');
  const fetchLarge = async (): Promise<boolean> => {
    const response = await fetch(`${gateway.url}/large`);
    return Buffer.from(await response.arrayBuffer()).equals(large);
  };
  expect(await Promise.all(Array.from({ length: 12 }, fetchLarge))).toEqual(Array.from({ length: 12 }, () => true));
});

test('tls: when its certificate is for its address, that is checked, and no name is asked for', async () => {
  const gateway = await start(`ca_path: "${certPath}"`);
  expect((await fetch(`${gateway.url}/x`)).status).toBe(200);
  expect(serverNames).toEqual([false]);
});

test('tls: when verification is switched off, the request passes', async () => {
  const gateway = await start('verify: false');
  expect((await fetch(`${gateway.url}/x`)).status).toBe(200);
  expect(serverNames, 'an address is no name').toEqual([false]);
});

test('tls: when the listener has a certificate, clients that trust it are served', async () => {
  const listener = `{ certificates: [{ cert_path: "${certPath}", key_path: "${keyPath}" }] }`;
  const gateway = await start('verify: false', listener);
  const answer = await new Promise<string>((resolve, reject) => {
    const request = httpsRequest(
      `${gateway.url.replace('http:', 'https:')}/x`,
      { ca: cert, method: 'POST' },
      (response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => (body += chunk.toString()));
        response.on('end', () => resolve(`${response.statusCode} ${body}`));
      },
    );
    request.once('error', reject);
    request.end(Buffer.alloc(300_000, 'x'));
  });
  expect(answer).toBe('200 300000 bytes');
});

const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/tls/${name}`, import.meta.url));

interface Answer {
  status: number;
  body: string;
  /** CN of the certificate presented. */
  name: string;
  fingerprint: string;
}

interface ClientOptions extends RequestOptions {
  port: number;
}

/** One request; verification is off, the certificate presented is part of the answer. */
function ask(options: ClientOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      { host: '127.0.0.1', path: '/x', rejectUnauthorized: false, agent: false, ...options },
      (response) => {
        const peer = (response.socket as TLSSocket).getPeerCertificate();
        let body = '';
        response.on('data', (chunk: Buffer) => (body += chunk.toString()));
        response.on('error', reject);
        response.on('end', () =>
          resolve({
            status: response.statusCode!,
            body,
            name: String(peer.subject?.CN),
            fingerprint: peer.fingerprint256,
          }),
        );
      },
    );
    request.once('error', reject);
    request.end();
  });
}

function portOf(gateway: RunningGateway): number {
  return Number(new URL(gateway.url).port);
}

const twoCertificates = `certificates: [
  { cert_path: "${certPath}", key_path: "${keyPath}" },
  { cert_path: "${fixture('second.pem')}", key_path: "${fixture('second-key-locked.pem')}", passphrase: opensesame }]`;

// RFC 6066 section 3. Names that nobody has get the first, as a client that sends none.
test('tls: when the client names a server, it gets the certificate with that name', async () => {
  const gateway = await start('verify: false', `{ ${twoCertificates} }`);
  const port = portOf(gateway);
  for (const [servername, name] of [
    ['penstock.test', 'penstock.test'],
    ['second.test', 'second.test'],
    ['any.second.test', 'second.test'],
    ['a.b.second.test', 'penstock.test'],
    ['third.test', 'penstock.test'],
    ['', 'penstock.test'],
  ] as const) {
    expect(await ask({ port, servername }), servername).toMatchObject({ status: 200, body: '0 bytes', name });
  }
  for (const line of gateway.log().trim().split('\n')) expect(() => JSON.parse(line) as unknown, line).not.toThrow();
});

test('tls: when the client is old, or offers no forward secrecy, the handshake fails', async () => {
  const gateway = await start('verify: false', `{ ${twoCertificates} }`);
  const port = portOf(gateway);
  const refusals = [
    { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
    { maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA:AES128-GCM-SHA256' },
    { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA' },
  ] as const;
  for (const options of refusals) await expect(ask({ port, ...options }), JSON.stringify(options)).rejects.toThrow();
  expect((await ask({ port, maxVersion: 'TLSv1.2' })).status).toBe(200);
});

test('tls: when client certificates are optional or required, strangers fail and those without get what is configured', async () => {
  const known = { cert: readFileSync(fixture('client.pem')), key: readFileSync(fixture('client-key.pem')) };
  const stranger = { cert, key: readFileSync(keyPath) };
  const served: number[] = [];
  for (const mode of ['optional', 'required']) {
    const tls = `{ ${twoCertificates}, client_auth: ${mode}, client_ca_path: "${fixture('client-ca.pem')}" }`;
    const port = portOf(await start('verify: false', tls));
    for (const servername of ['penstock.test', 'second.test']) {
      expect((await ask({ port, servername, ...known })).status).toBe(200);
      await expect(ask({ port, servername, ...stranger })).rejects.toThrow();
      const without = await ask({ port, servername, method: 'POST', headers: { 'content-length': 0 } });
      served.push(without.status);
      if (without.status !== 200) expect(without.body).toContain('"code":"not_allowed"');
    }
  }
  expect(served).toEqual([200, 200, 403, 403]);
});

/** A gateway whose certificate files are its own, to be replaced. */
async function startRenewable(more = ''): Promise<{ gateway: RunningGateway; renew: (name: string) => Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'penstock-tls-'));
  folders.push(folder);
  const renew = async (name: string): Promise<void> => {
    for (const [from, to] of [
      [`${name}.pem`, 'cert.pem'],
      [name === 'cert' ? 'key.pem' : `${name}-key.pem`, 'key.pem'],
    ] as const) {
      await copyFile(fixture(from), join(folder, `${to}.new`));
      await rename(join(folder, `${to}.new`), join(folder, to));
    }
  };
  await renew('cert');
  const tls = `{ certificates: [{ cert_path: "${folder}/cert.pem", key_path: "${folder}/key.pem" }] }`;
  // A request for /exit ends the shard that gets it.
  const source = `export const createFilter = () => ({
    onRequestHead({ head }) { if (head.path === '/exit') setImmediate(() => process.exit(3)); },
  });`;
  await writeFile(join(folder, 'exit.mjs'), source);
  const gateway = await startGateway(
    `${more}filter_chains: [{ name: edge, filters: [{ filter: exit, module: "${folder}/exit.mjs" }] }]
pools: [{ name: only, engine: none, picker: round_robin, tls: { verify: false }, endpoints: [{ url: "${upstreamUrl}" }] }]\n`,
    { tls, listener: 'filter_chains: [edge]' },
  );
  gateways.push(gateway);
  return { gateway, renew };
}

async function reload(gateway: RunningGateway): Promise<{ status: number; text: string }> {
  const response = await fetch(`${gateway.adminUrl}/reload`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
  });
  return { status: response.status, text: await response.text() };
}

const fingerprintOf = (name: string): string => new X509Certificate(readFileSync(fixture(name))).fingerprint256;

test('tls: when a reload brings another certificate, new connections get it and a kept-alive one is told to close', async () => {
  const { gateway, renew } = await startRenewable();
  const port = portOf(gateway);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  expect((await ask({ port, agent })).fingerprint).toBe(fingerprintOf('cert.pem'));
  await renew('renewed');
  expect(await reload(gateway)).toMatchObject({ status: 200 });
  expect((await ask({ port })).fingerprint).toBe(fingerprintOf('renewed.pem'));
  expect((await ask({ port, agent })).fingerprint, 'the old connection goes on').toBe(fingerprintOf('cert.pem'));
  expect((await ask({ port, agent })).fingerprint, 'once').toBe(fingerprintOf('renewed.pem'));
  agent.destroy();
  const { certificates } = await gateway.admin<{ certificates: { fingerprint: string }[] }>('/status');
  expect(certificates.map(({ fingerprint }) => fingerprint)).toEqual([fingerprintOf('renewed.pem')]);
});

// FAULTS F46.
test('tls: when the files are broken or gone, a reload is refused with their place and the old certificate stays', async () => {
  const { gateway, renew } = await startRenewable();
  const port = portOf(gateway);
  const path = /cert_path: "([^"]+)"/.exec(readFileSync(gateway.configPath, 'utf8'))![1]!;
  await copyFile(fixture('renewed.pem'), path);
  expect(await reload(gateway)).toMatchObject({
    status: 422,
    text: expect.stringContaining('listeners[0].tls.certificates[0].key_path: does not belong to the certificate'),
  });
  await rm(path);
  expect(await reload(gateway)).toMatchObject({ status: 422, text: expect.stringContaining('no such file') });
  expect((await ask({ port })).fingerprint).toBe(fingerprintOf('cert.pem'));
  // A shard that has to start again has only memory to go by.
  await ask({ port, path: '/exit' }).catch(() => {});
  const restarts = async (): Promise<number> =>
    (await gateway.admin<{ shards: { restarts: number }[] }>('/status')).shards[0]!.restarts;
  await expect.poll(restarts, { timeout: 5000 }).toBe(1);
  await expect.poll(async () => (await fetch(`${gateway.adminUrl}/ready`)).status, { timeout: 10_000 }).toBe(200);
  expect((await ask({ port })).fingerprint).toBe(fingerprintOf('cert.pem'));
  await renew('renewed');
  expect((await reload(gateway)).status).toBe(200);
  expect((await ask({ port })).fingerprint).toBe(fingerprintOf('renewed.pem'));
});

test(
  'tls: when certificates change 50 times under load, no connection and no request is lost',
  { timeout: 60_000 },
  async () => {
    const { gateway, renew } = await startRenewable('runtime: { shards: 2 }\n');
    const port = portOf(gateway);
    let isOver = false;
    const failures: string[] = [];
    const seen = new Map<string, number>();
    const client = async (agent: Agent | false): Promise<void> => {
      while (!isOver) {
        const answer = await ask({ port, agent }).catch((error: Error) => error);
        if (answer instanceof Error) failures.push(answer.message);
        else if (answer.status !== 200) failures.push(String(answer.status));
        else seen.set(answer.fingerprint, (seen.get(answer.fingerprint) ?? 0) + 1);
      }
    };
    const keptAlive = new Agent({ keepAlive: true, maxSockets: 2 });
    const clients = [client(false), client(false), client(false), client(keptAlive), client(keptAlive)];
    for (let round = 1; round <= 50; round++) {
      await renew(round % 2 === 0 ? 'cert' : 'renewed');
      expect((await reload(gateway)).status).toBe(200);
    }
    isOver = true;
    await Promise.all(clients);
    keptAlive.destroy();
    expect(failures).toEqual([]);
    for (const name of ['cert.pem', 'renewed.pem']) expect(seen.get(fingerprintOf(name)), name).toBeGreaterThan(0);
    expect((await ask({ port })).fingerprint).toBe(fingerprintOf('cert.pem'));
  },
);

// https://kubernetes.io/docs/concepts/configuration/secret/: the files are links through `..data`, swapped by a rename.
test('tls: when the config is watched and a volume of certificates is swapped, they are presented without a signal', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'penstock-tls-'));
  folders.push(folder);
  const swap = async (version: string, name: string): Promise<void> => {
    await mkdir(join(folder, version));
    await copyFile(fixture(`${name}.pem`), join(folder, version, 'tls.crt'));
    await copyFile(fixture(name === 'cert' ? 'key.pem' : `${name}-key.pem`), join(folder, version, 'tls.key'));
    await symlink(version, join(folder, '..data_tmp'));
    await rename(join(folder, '..data_tmp'), join(folder, '..data'));
  };
  await swap('..1', 'cert');
  for (const key of ['tls.crt', 'tls.key']) await symlink(`..data/${key}`, join(folder, key));
  const gateway = await startGateway(
    `runtime: { shards: 1, watch_config: true }\npools: [{ name: only, engine: none, picker: round_robin, tls: { verify: false }, endpoints: [{ url: "${upstreamUrl}" }] }]\n`,
    { tls: `{ certificates: [{ cert_path: "${folder}/tls.crt", key_path: "${folder}/tls.key" }] }` },
  );
  gateways.push(gateway);
  const port = portOf(gateway);
  expect((await ask({ port })).fingerprint).toBe(fingerprintOf('cert.pem'));
  await swap('..2', 'renewed');
  await expect
    .poll(async () => (await ask({ port })).fingerprint, { timeout: 10_000 })
    .toBe(fingerprintOf('renewed.pem'));
  // A bad file changes nothing, is told once, and the next good one is taken.
  await swap('..3', 'cert');
  await rm(join(folder, '..3', 'tls.key'));
  const refusals = (): number => gateway.log().split('config was not reloaded').length - 1;
  await expect.poll(refusals, { timeout: 10_000 }).toBe(1);
  const text = readFileSync(gateway.configPath, 'utf8');
  await writeFile(gateway.configPath, `${text}nonsense: true\n`);
  await expect.poll(refusals, { timeout: 10_000 }).toBe(2);
  expect((await ask({ port })).fingerprint).toBe(fingerprintOf('renewed.pem'));
  await writeFile(gateway.configPath, text);
  await swap('..4', 'cert');
  await expect.poll(async () => (await ask({ port })).fingerprint, { timeout: 10_000 }).toBe(fingerprintOf('cert.pem'));
  expect(refusals()).toBeLessThanOrEqual(3);
});

// FAULTS F59: what never becomes a handshake holds a socket for the library's 10 s at the most, and nobody else up.
test(
  'tls: when garbage and silence come to the port, handshakes beside them go on and the sockets are closed',
  { timeout: 40_000 },
  async () => {
    const gateway = await start('verify: false', `{ ${twoCertificates} }`);
    const port = portOf(gateway);
    const closed: Promise<unknown>[] = [];
    for (let index = 0; index < 50; index++) {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      socket.resume();
      closed.push(once(socket, 'close'));
      await once(socket, 'connect');
      if (index % 2 === 0) socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
      else if (index % 4 === 1) socket.write(Buffer.from('1603010200010001fc0303', 'hex'));
    }
    const startMs = performance.now();
    expect((await ask({ port })).status).toBe(200);
    expect(performance.now() - startMs, 'handshake beside them, ms').toBeLessThan(2000);
    await Promise.all(closed);
  },
);
