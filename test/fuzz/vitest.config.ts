import { defineConfig } from 'vitest/config';

/** The replay of mutated requests against a real shard; `npm run fuzz -- wire`. */
export default defineConfig({
  test: { pool: 'forks', include: ['test/fuzz/wire.fuzz.ts'], testTimeout: 3_600_000, hookTimeout: 30_000 },
});
