import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { ValkeyStore } from './store.ts';

// Stores scripted byte by byte; test/e2e/sharing.test.ts has a real one.

/** A store that says `answer` to whatever comes. */
async function storeThatSays(answer: string, password: string | null = null): Promise<ValkeyStore> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('data', () => void socket.write(answer));
    socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = server.address() as AddressInfo;
  const address = { tls: false, host: '127.0.0.1', port, database: 0, username: null, password: null };
  return new ValkeyStore({ address, password, namespace: 'n', version: 1, ca: null, serverName: null });
}

async function complaintOf(failing: Promise<unknown>): Promise<string> {
  const error = await failing.then(
    () => null,
    (reason: unknown) => reason,
  );
  return (error as Error).message;
}

test.each([
  ["-ERR unknown command 'AUTH', with args beginning with: 'hush hush' \r\n", "ERR unknown command 'AUTH'"],
  ['-ERR what is hush hush?\r\n', 'ERR what is ***?'],
  [`-ERR \x1b[2J${'x'.repeat(100_000)}\r\n`, `ERR ?[2J${'x'.repeat(192)}`],
])('store: when it refuses a password with %s, that is told in few words, and without it', async (answer, told) => {
  const store = await storeThatSays(answer, 'hush hush');
  expect(await complaintOf(store.connect())).toBe(told);
});

test('store: when what answers is none, and never hangs up, whoever asked is told', async () => {
  const store = await storeThatSays('nonsense\r\n');
  const link = await store.connect();
  onTestFinished(() => link.close());
  expect(await complaintOf(link.agreeOn('00000001'))).toMatch(/RESP/i);
  expect(await complaintOf(link.read({ blocks: '0-0', loads: '0-0' }, 1, 60_000))).toMatch(/RESP/i);
});

test('store: when it cannot be reached, it says so', async () => {
  const address = { tls: false, host: 'localhost', port: 1, database: 0, username: null, password: null };
  const store = new ValkeyStore({ address, password: null, namespace: 'n', version: 1, ca: null, serverName: null });
  expect(await complaintOf(store.connect())).toContain('ECONNREFUSED');
});
