/** Proxies that run on Node, each in a process of its own, on the Node that runs the bench. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeFolder, packageVersion } from './installed.mjs';
import { startProgram } from './native-peer.mjs';

/**
 * @param {string} name
 * @param {string} packageName
 * @param {string} file
 * @param {string} summary
 * @returns {import('../types.d.ts').Peer}
 */
function nodePeer(name, packageName, file, summary) {
  const script = fileURLToPath(new URL(file, import.meta.url));
  return {
    name,
    summary,
    find: () => packageVersion(packageName),
    start: ({ enginePort }) =>
      startProgram(name, (port) => ({
        command: process.execPath,
        argv: [script],
        env: { PORT: String(port), ENGINE_PORT: String(enginePort), NODE_ENV: 'production' },
      })),
  };
}

export const undici = nodePeer('undici', 'undici', 'undici-proxy.mjs', 'undici pool; does not look into bodies');
export const httpProxy = nodePeer('http-proxy', 'http-proxy', 'http-proxy.mjs', 'does not look into bodies');
export const fastifyHttpProxy = nodePeer(
  'fastify-http-proxy',
  '@fastify/http-proxy',
  'fastify-http-proxy.mjs',
  'does not look into bodies',
);

const portkeyScript = join(nodeFolder, 'node_modules', '@portkey-ai', 'gateway', 'build', 'start-server.js');
const loopback = new URL('portkey-loopback.mjs', import.meta.url).href;

/**
 * package.json holds its `@hono/node-server` at 1.8.2: with the newest that its own range allows (1.19, and 1.14 too), every
 * streamed answer is a 500 (`TypeError: immutable`).
 * @type {import('../types.d.ts').Peer}
 */
export const portkey = {
  name: 'portkey',
  summary: 'application-level gateway; parses bodies and writes them anew',
  isRewriting: true,
  find: () => packageVersion('@portkey-ai/gateway'),
  start: ({ enginePort }) =>
    startProgram(
      'portkey',
      (port) => ({
        command: process.execPath,
        argv: ['--import', loopback, portkeyScript, '--headless', `--port=${port}`],
        env: { NODE_ENV: 'production' },
      }),
      {
        authorization: 'Bearer none',
        'x-portkey-provider': 'openai',
        'x-portkey-custom-host': `http://127.0.0.1:${enginePort}/v1`,
        // Fields it does not know stay behind otherwise.
        'x-portkey-forward-headers': 'x-bench-response,x-bench-stream',
      },
    ),
};
