/** `@fastify/http-proxy`, which sends on through undici. It does not look into bodies. */
import { engineOrigin, idleTimeoutMs, port, installedPackage } from './node-server.mjs';

const fastify = installedPackage('fastify');
const httpProxy = installedPackage('@fastify/http-proxy');

const app = fastify({ logger: false, keepAliveTimeout: idleTimeoutMs, requestTimeout: 0, bodyLimit: 64 * 1024 * 1024 });
await app.register(httpProxy, {
  upstream: engineOrigin,
  undici: {
    // As many as there are exchanges: a stream holds one for minutes.
    connections: null,
    pipelining: 1,
    keepAliveTimeout: idleTimeoutMs,
    keepAliveMaxTimeout: idleTimeoutMs,
    headersTimeout: 0,
    bodyTimeout: 0,
  },
});
await app.listen({ port, host: '127.0.0.1', backlog: 4096 });
