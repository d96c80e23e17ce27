import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';

// FAULTS S12: what the process may do is as little as it needs.

const gateways: RunningGateway[] = [];
afterEach(async () => {
  await Promise.all(gateways.splice(0).map((gateway) => gateway.stop()));
});

const filter = fileURLToPath(new URL('fixtures/evaluating-filter.js', import.meta.url));
const yaml = (runtime: string, chain = ''): string => `
runtime: { shards: 1, ${runtime} }
models: [{ name: m, targets: [{ pool: p }] }]
limits: { json_check: full }
pools: [{ name: p, engine: none, picker: round_robin, endpoints: [{ url: "http://127.0.0.1:1" }] }]
${chain}`;

for (const [rule, status] of [
  ['reject', 500],
  ['accept', 200],
] as const) {
  test(`confinement: when code_from_strings is ${rule}, a filter that uses new Function gets ${status}`, async () => {
    const chain = `filter_chains: [{ name: edge, filters: [{ filter: own, module: "${filter}" }] }]`;
    const gateway = await startGateway(yaml(`code_from_strings: ${rule}`, chain), {
      listener: 'filter_chains: [edge]',
    });
    gateways.push(gateway);
    const response = await fetch(`${gateway.url}/x`);
    expect(response.status).toBe(status);
    expect(await response.text()).toContain(status === 200 ? '42' : 'internal_error');
    // The log's thread needs what is forbidden elsewhere; it runs all the same.
    await expect.poll(() => gateway.output(), { timeout: 10_000 }).toContain('"msg":"ready"');
  });
}

/** Runs the program as a container would: another user, nothing on disk to write to but /tmp. */
const canIsolate =
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  spawnSync('setpriv', ['--version']).status === 0 &&
  spawnSync('unshare', ['--mount', 'true']).status === 0;

test.skipIf(!canIsolate)(
  'confinement: when the program is no root and its file system is read-only, it serves all the same',
  async () => {
    // Read-only from here down, then an unprivileged user without any capability, who may gain none.
    const script =
      'mount --make-rprivate / && mount -o remount,bind,ro / && exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --bounding-set=-all "$@"';
    const gateway = await startGateway(yaml(''), { wrap: ['unshare', '--mount', 'sh', '-c', script, 'sh'] });
    gateways.push(gateway);
    const status = readFileSync(`/proc/${gateway.pid}/status`, 'utf8');
    expect(status).toMatch(/^Uid:\s+65534\s+65534\s+65534\s+65534$/m);
    expect(status).toMatch(/^CapEff:\s+0+$/m);
    expect(readFileSync(`/proc/${gateway.pid}/mounts`, 'utf8')).toMatch(/^\S+ \/ \S+ ro,/m);
    const body = JSON.stringify({ model: 'm', messages: [] });
    const response = await fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', body });
    expect(((await response.json()) as { error: { code: string } }).error.code, 'checked by a worker, then tried').toBe(
      'connect_failed',
    );
    expect((await fetch(`${gateway.adminUrl}/status`)).status).toBe(200);
  },
  30_000,
);
