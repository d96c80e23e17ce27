/**
 * A proxy on undici as a careful Node developer writes it: one pool, `dispatch` rather than `fetch`, both bodies streamed
 * with backpressure, hop-by-hop fields left behind. It does not look into bodies.
 */
import { engineOrigin, installedPackage, poolOptions, serve } from './node-server.mjs';

const { Pool } = installedPackage('undici');
const pool = new Pool(engineOrigin, poolOptions);

/** RFC 9110 section 7.6.1. */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
]);

serve((request, response) => {
  const headers = [];
  for (let at = 0; at < request.rawHeaders.length; at += 2) {
    const name = request.rawHeaders[at] ?? '';
    if (!hopByHop.has(name.toLowerCase())) headers.push(name, request.rawHeaders[at + 1] ?? '');
  }
  const hasBody = request.method !== 'GET' && request.method !== 'HEAD';
  /** @type {((reason?: Error) => void) | null} */
  let abort = null;
  response.on('close', () => {
    if (!response.writableFinished) abort?.();
  });
  pool.dispatch(
    { path: request.url, method: request.method, headers, body: hasBody ? request : null },
    {
      onConnect(/** @type {() => void} */ cancel) {
        abort = cancel;
        if (response.destroyed) cancel();
      },
      onHeaders(/** @type {number} */ status, /** @type {Buffer[]} */ rawHeaders, /** @type {() => void} */ resume) {
        if (status < 200) return true;
        const relayed = [];
        for (let at = 0; at < rawHeaders.length; at += 2) {
          const name = rawHeaders[at]?.toString('latin1') ?? '';
          if (!hopByHop.has(name.toLowerCase())) relayed.push(name, rawHeaders[at + 1]?.toString('latin1') ?? '');
        }
        response.writeHead(status, relayed);
        response.on('drain', resume);
        return true;
      },
      onData: (/** @type {Buffer} */ chunk) => response.write(chunk),
      onComplete() {
        response.end();
      },
      onError() {
        if (response.headersSent) response.destroy();
        else response.writeHead(502).end();
      },
    },
  );
});
