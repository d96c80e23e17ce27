import { defineConfig } from 'vitest/config';

/** Tests that take minutes by their nature; `npm run soak -- waits`. */
export default defineConfig({
  test: { pool: 'forks', include: ['test/soak/**/*.test.ts'], testTimeout: 300_000, hookTimeout: 30_000 },
});
