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
    name: 'slow-readers-at-once-c100',
    family: 'slow',
    summary:
      '100 clients ask for 3 MB within 10 ms and read them at 1 MB/s, while 8 connections send 3072-byte chats at a fixed rate',
    measure: 'slow-readers',
    targets: [],
    isQuick: false,
    peers: fewProxies,
    body: { bytes: 3 * 1024, content: 'messages', modelAt: 'last' },
    connections: 100,
    responseBytes: 3 * 1024 * 1024,
    bytesPerSecond: 1_000_000,
    rampS: 0.01,
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
