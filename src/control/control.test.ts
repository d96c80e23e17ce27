import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { EndpointState } from '../shm/index.ts';
import { rig, rigYaml } from './fixtures/rig.ts';
import { until } from './fixtures/until.ts';
import { readiness } from './status.ts';

test('control: when all shards listen, it is running, and a port 0 is one that was free', async () => {
  const { control, end } = await rig();
  expect(readiness(control)).toMatchObject({ ready: false, status: 'starting' });
  await control.start();
  expect(control.phase).toBe('running');
  expect(control.ports).toEqual([expect.any(Number)]);
  expect(control.ports[0]).toBeGreaterThan(0);
  expect(control.shards.uws).toBe('fake');
  expect(readiness(control)).toMatchObject({ ready: true, shards: { listening: 2, count: 2 } });
  await end();
});

test('control: when a shard cannot bind, the start fails with exit code 2 and the reason, and everything ends', async () => {
  const { control, end } = await rig('listen=fail');
  await expect(control.start()).rejects.toMatchObject({ exitCode: 2, message: 'address is in use' });
  await end();
});

test('control: when the port the kernel chose is taken before the second shard binds it, all choose again', async () => {
  const { control, said, end } = await rig('listen=taken-once');
  await control.start();
  expect(control.phase).toBe('running');
  expect(control.shards.listeningCount).toBe(2);
  expect(said('a free port was taken meanwhile, choosing another')).toBe(true);
  expect(said('shard ended unasked')).toBe(false);
  await end();
});

test('control: when a shard dies while it loads, the start fails with what it threw', async () => {
  const { control, end } = await rig('load=throw');
  await expect(control.start()).rejects.toMatchObject({ exitCode: 2, message: 'native module is missing' });
  await end();
});

test('control: when a drain is asked for during the start, the start ends with exit code 0', async () => {
  const { control, end } = await rig();
  const start = control.start();
  const drained = control.drain();
  await expect(start).rejects.toMatchObject({ exitCode: 0 });
  expect(await drained).toBe(true);
  await end();
});

test('control: when a drain is asked for while the shared store is waited for, no shard is started', async () => {
  const store = createTcpServer(); // Accepts, and says nothing.
  store.listen(0, '127.0.0.1');
  await once(store, 'listening');
  const { port } = store.address() as AddressInfo;
  const { control, end } = await rig('', `${rigYaml}sharing: { url: "redis://127.0.0.1:${port}" }\n`);
  const start = control.start();
  const refused = expect(start).rejects.toMatchObject({ exitCode: 0 });
  await once(store, 'connection');
  expect(await control.drain()).toBe(true);
  await refused;
  expect(control.shards.views().map(({ phase }) => phase)).toEqual(['exited', 'exited']);
  await end();
  store.close();
});

test('control: when a shard dies, it is restarted and not ready meanwhile', async () => {
  const { control, tell, said, lines, end } = await rig();
  await control.start();
  tell(1, 'throw');
  await until('death is noticed', () => said('shard died'));
  expect(readiness(control).ready).toBe(false);
  await until('replacement listens', () => said('shard restarted'));
  expect(readiness(control).ready).toBe(true);
  expect(lines.find(({ msg }) => msg === 'shard died')).toMatchObject({ shard: 1, err: { message: 'told to die' } });
  tell(0, 'exit');
  await until(
    'second replacement listens',
    () => control.shards.views()[0]!.restartCount === 1 && control.shards.listeningCount === 2,
  );
  await end();
});

test('control: when shards log, their lines are handed on as they are', async () => {
  const { control, tell, shardLines, end } = await rig();
  await control.start();
  tell(0, 'log', { lines: '{"a":1}\n{"b":2}\n' });
  await until('lines arrive', () => shardLines.length === 1);
  expect(shardLines).toEqual(['{"a":1}\n{"b":2}\n']);
  await end();
});

test('control: when the file is good, a reload is in force in every shard under a new version', async () => {
  const { control, rewrite, end } = await rig();
  await control.start();
  const [firstSlot] = control.snapshot.endpointSlots[0]!;
  rewrite(rigYaml.replace('http://127.0.0.1:2', 'http://127.0.0.1:3'));
  expect(await control.reload()).toMatchObject({ ok: true, version: 2 });
  expect(control.shards.views().map(({ appliedVersion }) => appliedVersion)).toEqual([2, 2]);
  expect(control.snapshot.endpointSlots[0]![0], 'an endpoint that stays keeps its slot').toBe(firstSlot);
  await end();
});

/** The URL of an engine that lists one model. */
async function listing(model: string): Promise<string> {
  const server = createServer((request, response) => {
    const isList = request.url === '/v1/models';
    response.writeHead(isList ? 200 : 404).end(isList ? JSON.stringify({ data: [{ id: model }] }) : '');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

// Of one whose models are not known any model is asked.
test('control: when a reload brings an endpoint, its models are known before shards send it anything; refused, it is asked no more', async () => {
  const [first, second] = [await listing('a'), await listing('b')];
  const yaml = rigYaml
    .replace('engine: none', 'engine: auto')
    .replace(/endpoints: .*/, `endpoints: [{ url: "${first}" }]`);
  const { control, rewrite, end } = await rig('refuse=1', yaml);
  await control.start();
  const namesOf = (slot: number): string[] | null =>
    control.observers.catalogue.list(slot)?.map(({ name }) => name) ?? null;
  const seen: (string[] | null)[][] = [];
  const apply = control.shards.apply.bind(control.shards);
  vi.spyOn(control.shards, 'apply').mockImplementation((snapshot) => {
    seen.push([0, 1].map(namesOf));
    return apply(snapshot);
  });
  const both = yaml.replace(`{ url: "${first}" }`, `{ url: "${first}" }, { url: "${second}" }`);
  await until('what the first has is known', () => namesOf(0) !== null);
  rewrite(`${both}models: [{ name: refused, targets: [{ pool: local }] }]\n`);
  expect((await control.reload()).ok).toBe(false);
  expect(seen, 'told to take it, and to leave it').toEqual([
    [['a'], ['b']],
    [['a'], null],
  ]);
  rewrite(both);
  expect((await control.reload()).ok).toBe(true);
  expect(seen[2]).toEqual([['a'], ['b']]);
  await end();
});

// FAULTS F42 and F44.
test('control: when the file is bad, half-written or needs a restart, nothing changes and the problems are told', async () => {
  const { control, rewrite, end } = await rig();
  await control.start();
  const before = control.snapshot;
  const bad: [string, RegExp][] = [
    [rigYaml.replace('engine', 'engin'), /test\.yaml:\d+:\d+: pools\[0\]\.engin: .*did you mean engine/],
    [rigYaml.slice(0, rigYaml.indexOf('endpoints')), /endpoints/],
    [rigYaml.replace('shards: 2', 'shards: 3'), /^runtime\.shards: needs a restart/],
    [rigYaml.replace('127.0.0.1:0', '127.0.0.1:8443'), /^listeners\[0\]\.address: needs a restart/],
  ];
  for (const [yaml, expected] of bad) {
    rewrite(yaml);
    const result = await control.reload();
    expect(result.ok ? [] : result.problems).toContainEqual(expect.stringMatching(expected));
    expect(control.snapshot).toBe(before);
  }
  await end();
});

// FAULTS F44: a file cut behind a whole section is a good file, unless it said where it ends.
test('control: when the file in force ends with `...`, one that does not is refused; any other may end as it likes', async () => {
  const { control, rewrite, end } = await rig();
  await control.start();
  const marked = `${rigYaml.trimEnd()}\n...\n`;
  for (const [yaml, isOk] of [
    [rigYaml, true],
    [marked, true],
    [rigYaml, false],
    [marked, true],
  ] as const) {
    rewrite(yaml);
    expect((await control.reload()).ok).toBe(isOk);
  }
  await end();
});

test('control: when one shard refuses a configuration, all are back on the old one, and its new endpoints drain', async () => {
  const { control, rewrite, end } = await rig('refuse=1');
  await control.start();
  const { config } = control.snapshot;
  rewrite(
    rigYaml.replace('http://127.0.0.1:2', 'http://127.0.0.1:3') +
      'models: [{ name: refused, targets: [{ pool: local }] }]\n',
  );
  expect(await control.reload()).toEqual({ ok: false, problems: ['shard 1: filter does not load'] });
  expect(control.snapshot).toMatchObject({ version: 3 });
  expect(control.snapshot.config).toBe(config);
  expect(control.shards.views().map(({ appliedVersion }) => appliedVersion)).toEqual([3, 3]);
  for (const slot of control.snapshot.endpointSlots[0]!) expect(control.fleet.state(slot)).toBe(EndpointState.healthy);
  expect(control.fleet.state(2), 'the slot of the endpoint that did not make it').toBe(EndpointState.free);
  await end();
});

test('control: when a configuration was refused, endpoints are known to prefix indexes by the numbers they had', async () => {
  const { control, rewrite, end } = await rig('refuse=1');
  await control.start();
  const { ordinals } = control.snapshot.prefixes[0]!;
  const other = rigYaml.replace('http://127.0.0.1:2', 'http://127.0.0.1:3');
  rewrite(`${other}models: [{ name: refused, targets: [{ pool: local }] }]\n`);
  expect((await control.reload()).ok).toBe(false);
  rewrite(rigYaml.replace('"http://127.0.0.1:2" }', '"http://127.0.0.1:2" }, { url: "http://127.0.0.1:3" }'));
  expect((await control.reload()).ok).toBe(true);
  expect(control.snapshot.prefixes[0]!.ordinals.slice(0, 2)).toEqual(ordinals);
  await end();
});

test('control: when a reload is asked for during the start, it comes after it', async () => {
  const { control, end } = await rig();
  const reload = control.reload();
  await control.start();
  expect(await reload).toMatchObject({ ok: true, version: 2 });
  await end();
});

test('control: when reloads are asked for faster than they finish, those that wait are one', async () => {
  const { control, end } = await rig();
  await control.start();
  const results = await Promise.all([control.reload(), control.reload(), control.reload()]);
  expect(results.every(({ ok }) => ok)).toBe(true);
  expect(control.snapshot.version).toBeLessThanOrEqual(3);
  await end();
});

// FAULTS F22.
test('control: when it drains, a reload is refused and the drain goes on', async () => {
  const { control, end } = await rig('drain=never');
  await control.start();
  const drained = control.drain();
  expect(await control.reload()).toEqual({ ok: false, problems: ['the gateway is draining'] });
  expect(readiness(control)).toMatchObject({ ready: false, status: 'draining' });
  expect(await drained).toBe(true);
  expect(control.phase).toBe('stopped');
  await end();
});

test('control: when a shard dies while draining, it is not replaced and the drain ends', async () => {
  const { control, tell, said, end } = await rig('drain=never');
  await control.start();
  const drained = control.drain();
  tell(0, 'throw');
  await until('death is noticed', () => said('shard died'));
  expect(await drained).toBe(true);
  expect(said('shard restarted')).toBe(false);
  await end();
});

// HOTPATH 1.1: terminating a thread with uWS handles aborts the process.
test('control: when a shard does not end, it is left alone and the drain says so', async () => {
  const { control, tell, end } = await rig('stop=never');
  await control.start();
  expect(await control.drain()).toBe(false);
  expect(control.shards.views().map(({ phase }) => phase)).toEqual(['stopping', 'stopping']);
  tell(0, 'exit');
  tell(1, 'exit');
  await until('both are gone', () => control.shards.views().every(({ phase }) => phase === 'exited'));
  await end();
});

test('control: when exchanges are asked for, all shards answer; those that stay silent are named', async () => {
  const { control, end } = await rig();
  await control.start();
  const { exchanges, silentShards } = await control.shards.exchanges();
  expect(exchanges.map(({ request_id }) => request_id).toSorted()).toEqual(['r0', 'r1']);
  expect(silentShards).toEqual([]);
  await end();
  const silent = await rig('exchanges=silent');
  await silent.control.start();
  expect((await silent.control.shards.exchanges()).silentShards).toHaveLength(2);
  await silent.end();
});
