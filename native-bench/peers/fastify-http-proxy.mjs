/** `@fastify/http-proxy`, which sends on through undici. It does not look into bodies. */
import { engineOrigin, idleTimeoutMs, installedPackage, poolOptions, port } from './node-server.mjs';

const fastify = installedPackage('fastify');
const httpProxy = installedPackage('@fastify/http-proxy');

const app = fastify({ logger: false, keepAliveTimeout: idleTimeoutMs, requestTimeout: 0, bodyLimit: 64 * 1024 * 1024 });
await app.register(httpProxy, {
  upstream: engineOrigin,
  undici: poolOptions,
});
await app.listen({ port, host: '127.0.0.1', backlog: 4096 });
