import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';

// Whole-body work on worker threads: exact prompt counts where no usage is reported, full checks of JSON.
let upstream: Server;
let received = 0;
let gateway: RunningGateway;

beforeAll(async () => {
  upstream = createServer((request, response) => {
    received++;
    request.resume();
    request.on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{"choices":[]}'));
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  const { port } = upstream.address() as AddressInfo;
  gateway = await startGateway(`
logging: { level: warn }
limits: { json_check: full }
accounting: { prompt_tokens: exact }
models: [{ name: m, targets: [{ pool: only }] }]
pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "http://127.0.0.1:${port}" }] }]
`);
});

afterAll(async () => {
  await gateway.stop();
  upstream.close();
});

function send(body: string): Promise<Response> {
  return fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json' },
  });
}

async function outstanding(): Promise<number> {
  const page = await gateway.admin<{ outstanding: Record<string, number> }>('/leases');
  return Object.values(page.outstanding).reduce((sum, count) => sum + count, 0);
}

test('body jobs: when a 3 MB body is valid, it passes, and the count and its slabs come back', async () => {
  const response = await send(
    JSON.stringify({ messages: [{ role: 'user', content: 'word '.repeat(600_000) }], model: 'm' }),
  );
  expect(response.status).toBe(200);
  await expect.poll(outstanding, { timeout: 15_000 }).toBe(0);
  const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  expect(metrics).toMatch(/penstock_tokens_total\{[^}]*kind="prompt"[^}]*source="estimated"\} \d+/);
  expect(metrics).toMatch(/penstock_leases_taken_total\{kind="worker_job"\} 2/);
});

// The scanner checks structure, not the spelling of a number nobody wants; a parser does.
test('body jobs: when only a full parse sees the fault, 400 comes and no endpoint sees a byte', async () => {
  const before = received;
  const response = await send('{"model":"m","temperature":0.1.2,"messages":[]}');
  expect(response.status).toBe(400);
  expect(((await response.json()) as { error: { code: string } }).error.code).toBe('body_invalid');
  expect(received).toBe(before);
  await expect.poll(outstanding).toBe(0);
});
