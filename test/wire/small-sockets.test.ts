import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** In a network namespace of its own loopback must be up, and the kernel's buffers can be made small for it alone. */
const enter = ['-rn', 'sh', '-c'];
const shrink =
  'ip link set lo up && echo "4096 16384 65536" > /proc/sys/net/ipv4/tcp_wmem && echo "4096 16384 65536" > /proc/sys/net/ipv4/tcp_rmem';

const probe = spawnSync('unshare', [...enter, shrink], { encoding: 'utf8' });
const whyNot = probe.status === 0 ? '' : `${probe.error?.message ?? ''}${probe.stderr ?? ''}`.trim();
if (whyNot !== '') console.log(`small-sockets: skipped, no network namespace can be made here: ${whyNot}`);

const vitest = fileURLToPath(new URL('../../node_modules/vitest/vitest.mjs', import.meta.url));
const files = ['integrity', 'backpressure', 'response', 'truncation'].map((name) => `test/wire/${name}.test.ts`);

// HOTPATH section 2.2: the library loses whole chunks when a write meets a full socket in a certain way, which never
// happens with the large buffers of loopback.
test.skipIf(whyNot !== '')(
  'small-sockets: when sockets hold 16 KB, the transfer and truncation tests hold all the same',
  { timeout: 90_000 },
  async () => {
    const child = spawn(
      'unshare',
      [...enter, `${shrink} && exec "$0" "$@"`, process.execPath, vitest, 'run', ...files],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, NO_COLOR: '1' },
      },
    );
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const code = await new Promise((resolve) => child.on('exit', resolve));
    expect(code, output.slice(-8000)).toBe(0);
  },
);
