/** The sizes of the matrix, and the words for them. */
export const sizes = /** @type {const} */ ([
  ['3kb', 3 * 1024],
  ['64kb', 64 * 1024],
  ['300kb', 300 * 1024],
  ['1mb', 1024 * 1024],
  ['3mb', 3 * 1024 * 1024],
  ['10mb', 10 * 1024 * 1024],
]);
export const concurrencies = /** @type {const} */ ([1, 8, 32]);

const all = [
  'direct',
  'penstock',
  'haproxy',
  'haproxy-body',
  'nginx',
  'nginx-unbuffered',
  'envoy',
  'undici',
  'http-proxy',
  'fastify-http-proxy',
  'portkey',
];
/** Peers that are compared in most cases. */
export const proxies = all;
/** Looking into a body matters for uploads only. */
export const plainProxies = all.filter((name) => name !== 'haproxy-body');
/** For streams: without the further Node proxies, which uploads and responses show. */
export const streamProxies = plainProxies.filter((name) => !['http-proxy', 'fastify-http-proxy'].includes(name));
export const nativeProxies = ['direct', 'penstock', 'haproxy', 'nginx', 'nginx-unbuffered', 'envoy'];
/** Cases that take a fresh process for each round are long. */
export const fewProxies = ['direct', 'penstock', 'haproxy', 'nginx-unbuffered'];

const withTwoThreads = ['penstock', 'haproxy', 'nginx-unbuffered'];

/**
 * Two shards run beside one, so that a round holds both; and so do two threads of others, which tell what the machine makes
 * of two.
 * @param {readonly string[]} names
 */
export function withTwins(names) {
  return names.flatMap((name) => (withTwoThreads.includes(name) ? [name, `${name}-2`] : [name]));
}
