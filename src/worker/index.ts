/**
 * worker: what runs in worker threads, because it would hold up an accept thread: exact token counts of a prompt and full
 * checks of a large JSON body. Owns the threads and the memory a job is put together in; body slabs stay the exchange's,
 * which holds them until the answer is here.
 *
 *   shard: pieces of slabs ─▶ worker-pool ─▶ thread: scratch ─▶ jobs ─▶ a few numbers
 *
 * Read in this order: job (what goes in and comes out), worker-pool (the caller's side), thread (the other side), scratch,
 * jobs, prompt-text, token-count, json-fault.
 */
export type { ByteRange, JsonCheck, JsonProblem, TokenCount } from './job.ts';
export { jobBytesDefault, WorkerPool } from './worker-pool.ts';
export type { WorkerPoolOptions } from './worker-pool.ts';
