/** Token streams: paced as models make them, as fast as the socket takes them, and prompts that wait for a first token. */
import { streamProxies } from './sizes.mjs';

/** @type {readonly import('../types.d.ts').Case[]} */
export const streamCases = [
  {
    name: 'stream-paced-c1000',
    family: 'stream',
    summary: '1,000 streams of 20 tokens a second, usage accounting on',
    measure: 'streams',
    targets: [5, 9],
    isQuick: true,
    peers: streamProxies,
    body: { bytes: 3 * 1024, content: 'messages', modelAt: 'last', isStream: true },
    connections: 1000,
    responseBytes: 0,
    stream: { tokensPerSecond: 20, tokens: 0, isRepeated: false },
    secondsMin: 4,
  },
  {
    name: 'stream-flatout-c100',
    family: 'stream',
    summary: '100 streams of 1,000 tokens as fast as they go, usage accounting on',
    measure: 'streams',
    targets: [5, 9],
    isQuick: false,
    peers: streamProxies,
    body: { bytes: 3 * 1024, content: 'messages', modelAt: 'last', isStream: true },
    connections: 100,
    responseBytes: 0,
    stream: { tokensPerSecond: 0, tokens: 1000, isRepeated: true },
    secondsMin: 2,
  },
  {
    name: 'prompt-220kb-c100',
    family: 'prompt',
    summary: '100 clients with prompts of 220 KB, answered with 20 tokens at 20 a second',
    measure: 'streams',
    targets: [6, 9],
    isQuick: false,
    peers: streamProxies,
    body: { bytes: 220 * 1024, content: 'messages', modelAt: 'last', isStream: true },
    connections: 100,
    responseBytes: 0,
    stream: { tokensPerSecond: 20, tokens: 20, isRepeated: true },
    secondsMin: 3,
  },
];
