import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // The acceptor is a native addon with handles of its own: a process per file, never a thread (docs/acceptor.md).
    pool: 'forks',
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    exclude: ['test/soak/**', 'node_modules/**', 'dist/**'],
    // What is built is run as Node runs it.
    server: { deps: { external: [/\/dist\//] } },
    testTimeout: 20_000,
    hookTimeout: 20_000,
    teardownTimeout: 5_000,
    // Waits end with what they wait for; this is for a machine that does other things too.
    expect: { poll: { timeout: 5_000 } },
    maxWorkers: 2,
  },
});
