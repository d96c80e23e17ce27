import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import type { Config } from '../config/index.ts';

/**
 * The ports that shards are to bind. A port 0 becomes a number here when several shards have to share it: the acceptor's
 * library sets SO_REUSEPORT for given ports only, so what it had let the kernel choose no second shard could bind.
 */
export async function portsToBind(listeners: Config['listeners'], shardCount: number): Promise<number[]> {
  const ports: number[] = [];
  for (const { address } of listeners) {
    ports.push(address.port === 0 && shardCount > 1 ? await freePort(address.host) : address.port);
  }
  return ports;
}

async function freePort(host: string): Promise<number> {
  const server = createServer().listen({ host, port: 0, exclusive: true });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
