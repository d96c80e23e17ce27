/** What of the folder runs as WebAssembly: one module, so that all of it works on the same bytes. ../scan-memory.ts loads it. */
export { index } from './hits';
export { skip } from './nested-value';
export { hashCheckpoint, hashFinish, hashPush, hashReset } from './prefix-hash';
