import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import pino from 'pino';
import { request } from 'undici';
import { afterEach, expect, test } from 'vitest';
import { AdminPort } from './admin-port.ts';
import { json } from './admin-server.ts';
import type { AdminRoute } from './admin-server.ts';
import { until } from './fixtures/until.ts';

const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0)) await end();
});

/** A process's admin port that says who it is. */
function portOf(name: string, port: number): AdminPort {
  const live: AdminRoute = { method: 'GET', isOpen: true, handle: () => json(200, { name: 'penstock', is: name }) };
  const config = { address: { host: '127.0.0.1', port }, token: 'secret' };
  const admin = new AdminPort({ routes: { '/live': live }, config, log: pino({ level: 'silent' }) });
  endings.push(() => admin.close());
  return admin;
}

async function whoAnswers(port: number): Promise<string | null> {
  const answer = await request(`http://127.0.0.1:${port}/live`).catch(() => null);
  return answer === null ? null : ((await answer.body.json()) as { is: string }).is;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// CONTRACT section 1: start new with the same config, wait for it, SIGTERM old.
test('admin port: when a new process is ready, the old one hands the address over; it gets it back when the new one ends', async () => {
  const old = portOf('old', 0);
  const port = (await old.open())!;
  await old.close();
  const first = portOf('first', port);
  expect(await first.open()).toBe(port);
  const second = portOf('second', port);
  expect(await second.open(), 'held by a Penstock').toBeNull();
  expect(await whoAnswers(port), 'until the new one is ready').toBe('first');
  await second.takeOver();
  expect(await whoAnswers(port)).toBe('second');
  await second.close();
  await until('first has it again', async () => (await whoAnswers(port)) === 'first');
});

test('admin port: when the new process fails before it is ready, the old one notices nothing', async () => {
  const port = await freePort();
  await portOf('old', port).open();
  const failing = portOf('failing', port);
  expect(await failing.open()).toBeNull();
  await failing.close();
  expect(await whoAnswers(port)).toBe('old');
});

test('admin port: when something else holds the address, the start fails and says which', async () => {
  const other = createServer((socket) => socket.resume().end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi'));
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  endings.push(() => new Promise((resolve) => other.close(resolve)));
  const { port } = other.address() as AddressInfo;
  await expect(portOf('new', port).open()).rejects.toMatchObject({
    exitCode: 2,
    message: `cannot listen on admin address 127.0.0.1:${port}: it is in use`,
  });
});
