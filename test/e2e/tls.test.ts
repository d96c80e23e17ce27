import { readFileSync } from 'node:fs';
import { createServer, request as httpsRequest, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';

// TLS on both sides: certificates of endpoints are checked unless told otherwise, and asked for by name.
const certPath = fileURLToPath(new URL('../fixtures/tls/cert.pem', import.meta.url));
const keyPath = fileURLToPath(new URL('../fixtures/tls/key.pem', import.meta.url));
const cert = readFileSync(certPath);

let upstream: Server;
let upstreamUrl: string;
/** Server names the upstream was asked for. */
const serverNames: (string | false)[] = [];
const gateways: RunningGateway[] = [];

beforeAll(async () => {
  upstream = createServer({ cert, key: readFileSync(keyPath) }, (request, response) => {
    serverNames.push((request.socket as TLSSocket & { servername: string | false }).servername);
    let bytes = 0;
    request.on('data', (chunk: Buffer) => (bytes += chunk.length));
    request.on('end', () => response.end(`${bytes} bytes`));
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  upstreamUrl = `https://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
});

afterEach(async () => {
  serverNames.length = 0;
  await Promise.all(gateways.splice(0).map((gateway) => gateway.stop()));
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

test('tls: when verification is switched off, the request passes', async () => {
  const gateway = await start('verify: false');
  expect((await fetch(`${gateway.url}/x`)).status).toBe(200);
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
