/** Clients that read or write slowly while others want their answers. */
import { fewProxies } from './sizes.mjs';

/** @type {readonly import('../types.d.ts').Case[]} */
export const slowCases = [
  {
    name: 'slow-readers-c200',
    family: 'slow',
    summary: '200 clients read 3 MB responses at 1 MB/s, while 8 connections send 3072-byte chats at a fixed rate',
    measure: 'slow-readers',
    targets: [7],
    isQuick: false,
    peers: fewProxies,
    body: { bytes: 3 * 1024, content: 'messages', modelAt: 'last' },
    connections: 200,
    responseBytes: 3 * 1024 * 1024,
    bytesPerSecond: 1_000_000,
    isFresh: true,
  },
  {
    name: 'slow-writers-c200',
    family: 'slow',
    summary: '200 clients write 3 MB chats at 1 MB/s, while 8 connections send 3072-byte chats at a fixed rate',
    measure: 'slow-writers',
    targets: [],
    isQuick: false,
    peers: fewProxies,
    body: { bytes: 3 * 1024 * 1024, content: 'messages', modelAt: 'last' },
    connections: 200,
    responseBytes: 0,
    bytesPerSecond: 1_000_000,
    isFresh: true,
  },
];
