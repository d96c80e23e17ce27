/** What the Node proxies of this folder share: where their packages are, and a server that keeps its connections. */
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { nodeFolder } from './installed.mjs';

const requireInstalled = createRequire(`${nodeFolder}/`);

/**
 * A package that --install-peers put beside the bench. There are no types where it was not installed.
 * @param {string} name
 * @returns {any}
 */
export const installedPackage = (name) => requireInstalled(name);

export const port = Number(process.env.PORT);
export const enginePort = Number(process.env.ENGINE_PORT);
export const engineOrigin = `http://127.0.0.1:${enginePort}`;
/** Idle connections that are kept to the engine. */
export const idleConnectionsMax = 256;
/** Longer than any pause between two rounds. */
export const idleTimeoutMs = 300_000;

/** Options of undici's pool, for the peers that send on through it. */
export const poolOptions = {
  // As many as there are exchanges: a stream holds one for minutes.
  connections: null,
  pipelining: 1,
  keepAliveTimeout: idleTimeoutMs,
  keepAliveMaxTimeout: idleTimeoutMs,
  headersTimeout: 0,
  bodyTimeout: 0,
};

/**
 * @param {import('node:http').RequestListener} onRequest
 */
export function serve(onRequest) {
  const server = createServer({ keepAliveTimeout: idleTimeoutMs, requestTimeout: 0, noDelay: true }, onRequest);
  server.maxRequestsPerSocket = 0;
  server.listen({ port, host: '127.0.0.1', backlog: 4096 });
}
