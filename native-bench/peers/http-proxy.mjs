/** The `http-proxy` package with an agent that keeps connections. It does not look into bodies. */
import { Agent } from 'node:http';
import { idleConnectionsMax, engineOrigin, installedPackage, serve } from './node-server.mjs';

const { createProxyServer } = installedPackage('http-proxy');
const agent = new Agent({ keepAlive: true, maxFreeSockets: idleConnectionsMax, noDelay: true });
const proxy = createProxyServer({ target: engineOrigin, agent });

proxy.on('error', (/** @type {Error} */ _error, /** @type {any} */ _request, /** @type {any} */ response) => {
  if (response.headersSent) response.destroy();
  else response.writeHead?.(502).end();
});

serve((request, response) => proxy.web(request, response));
