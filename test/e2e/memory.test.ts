import { connect, type Socket } from 'node:net';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';

// What the gateway holds for bodies is bounded by what its clients have in flight, and goes back.
const MiB = 1024 * 1024;
const clientCount = 64;
const bodyBytes = 3 * MiB;
/** Code, heap and pools of a gateway that has seen no traffic vary by this much. */
const fixedBytes = 64 * MiB;

let upstream: Server;
let gateway: RunningGateway;

beforeAll(async () => {
  upstream = createServer((request, response) => {
    request.resume();
    request.on('end', () => response.end('{}'));
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  const { port } = upstream.address() as AddressInfo;
  gateway = await startGateway(`
logging: { level: warn }
models: [{ name: m, targets: [{ pool: only }] }]
pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "http://127.0.0.1:${port}" }] }]
`);
});

afterAll(async () => {
  await gateway.stop();
  upstream.close();
});

async function residentBytes(): Promise<number> {
  const status = await readFile(`/proc/${gateway.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024;
}

async function bufferedBytes(): Promise<number> {
  const text = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  return [...text.matchAll(/^penstock_buffered_bytes\{[^}]*\} (\d+)/gm)].reduce(
    (sum, match) => sum + Number(match[1]),
    0,
  );
}

/** Sends all of a 3 MB body but its last byte, with the model at the end: the gateway has to hold all of it. */
async function uploadAlmost(): Promise<Socket> {
  const tail = '","model":"m"}';
  const body = Buffer.from(`{"prompt":"${'x'.repeat(bodyBytes - 11 - tail.length)}${tail}`);
  const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1');
  const head = `POST /v1/completions HTTP/1.1\r\nHost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  socket.write(head);
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.write(body.subarray(0, -1), () => resolve());
  });
  return socket;
}

function finish(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('data', (data: Buffer) => {
      resolve(data.toString('latin1').slice(0, 15));
      socket.destroy();
    });
    socket.write('}');
  });
}

test(
  'memory: when 64 clients upload 3 MB each, RSS grows by no more than 1.3 times their bytes',
  { timeout: 60_000 },
  async () => {
    const before = await residentBytes();
    const sockets = await Promise.all(Array.from({ length: clientCount }, uploadAlmost));
    await expect.poll(bufferedBytes, { timeout: 10_000 }).toBeGreaterThanOrEqual(clientCount * (bodyBytes - MiB / 2));
    const grown = (await residentBytes()) - before;
    expect(grown / MiB).toBeLessThan((1.3 * clientCount * bodyBytes + fixedBytes) / MiB);
    expect(await Promise.all(sockets.map(finish))).toEqual(sockets.map(() => 'HTTP/1.1 200 OK'));
    await expect.poll(bufferedBytes, { timeout: 10_000 }).toBe(0);
  },
);

test(
  'memory: when 10 000 further requests have passed, RSS is within 10 % of where it settled',
  { timeout: 120_000 },
  async () => {
    const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'x'.repeat(3000) }] });
    const run = async (count: number): Promise<void> => {
      let left = count;
      const client = async (): Promise<void> => {
        while (left-- > 0) {
          const response = await fetch(`${gateway.url}/v1/chat/completions`, {
            method: 'POST',
            body,
            headers: { 'content-type': 'application/json' },
          });
          expect(response.status).toBe(200);
          await response.arrayBuffer();
        }
      };
      await Promise.all(Array.from({ length: 16 }, client));
    };
    await run(5000);
    const settled = await residentBytes();
    await run(10_000);
    expect((await residentBytes()) / settled).toBeLessThan(1.1);
  },
);
