/** Chat uploads routed by their body, response downloads, and a connection for each request. */
import { concurrencies, nativeProxies, plainProxies, proxies, sizes, withTwins } from './sizes.mjs';

/**
 * Targets and --quick by name of a case; what is not here is only in the full matrix.
 * @type {Record<string, { targets: number[], isQuick?: boolean }>}
 */
const wanted = {
  'upload-3kb-c1': { targets: [3] },
  'upload-3kb-c32': { targets: [4, 9, 10], isQuick: true },
  'upload-3mb-c1': { targets: [1, 3, 9] },
  'upload-3mb-c8': { targets: [1, 9, 10], isQuick: true },
  'upload-3mb-c8-image': { targets: [1, 9] },
  'response-3mb-c1': { targets: [2, 9] },
  'response-3mb-c8': { targets: [2, 9], isQuick: true },
};

/**
 * @param {string} name
 * @param {Omit<import('../types.d.ts').Case, 'name' | 'targets' | 'isQuick' | 'peers'> & { peers: readonly string[] }} rest
 * @returns {import('../types.d.ts').Case}
 */
function caseOf(name, rest) {
  const { targets, isQuick = false } = wanted[name] ?? { targets: [] };
  const peers = targets.includes(10) ? withTwins(rest.peers) : rest.peers;
  return { name, ...rest, peers, targets, isQuick };
}

const uploads = sizes.flatMap(([word, bytes]) =>
  concurrencies.flatMap((connections) =>
    /** @type {const} */ (['messages', 'image']).flatMap((content) =>
      /** @type {const} */ (['last', 'first']).map((modelAt) => {
        const suffix = `${content === 'image' ? '-image' : ''}${modelAt === 'first' ? '-first' : ''}`;
        const what = content === 'image' ? 'one base64 image' : 'many short messages';
        return caseOf(`upload-${word}-c${connections}${suffix}`, {
          family: 'upload',
          summary: `chat of ${bytes} bytes, ${what}, model ${modelAt}, ${connections} connections`,
          measure: 'requests',
          peers: proxies,
          body: { bytes, content, modelAt },
          connections,
          responseBytes: 0,
        });
      }),
    ),
  ),
);

const responses = sizes.flatMap(([word, bytes]) =>
  concurrencies.map((connections) =>
    caseOf(`response-${word}-c${connections}`, {
      family: 'response',
      summary: `completion of ${bytes} bytes to a short chat, ${connections} connections`,
      measure: 'requests',
      peers: plainProxies,
      body: { bytes: 1024, content: 'messages', modelAt: 'last' },
      connections,
      responseBytes: bytes,
    }),
  ),
);

const churn = caseOf('churn-c8', {
  family: 'churn',
  summary: 'a new connection for each 3072-byte chat, 8 at a time',
  measure: 'churn',
  peers: nativeProxies,
  body: { bytes: 3 * 1024, content: 'messages', modelAt: 'last' },
  connections: 8,
  responseBytes: 0,
});

/** @type {readonly import('../types.d.ts').Case[]} */
export const requestCases = [...uploads, ...responses, churn];
