/** Streams that are open and say nothing: what one costs in memory. */

/** @type {readonly import('../types.d.ts').Case[]} */
export const heldCases = [
  {
    name: 'open-streams-c5000',
    family: 'open',
    summary: '5,000 streams after their first event, idle',
    measure: 'open-streams',
    targets: [8],
    isQuick: false,
    peers: ['penstock', 'haproxy', 'nginx-unbuffered', 'undici'],
    body: { bytes: 3 * 1024, content: 'messages', modelAt: 'last', isStream: true },
    connections: 5000,
    responseBytes: 0,
    isFresh: true,
  },
];
