import { EventEmitter } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { request } from 'undici';
import { afterAll, expect, test } from 'vitest';
import { until } from './fixtures/until.ts';
import { hashSeedOf } from './supervision.ts';
import { Supervisor } from './supervisor.ts';

const folder = mkdtempSync(join(tmpdir(), 'penstock-supervisor-'));
afterAll(() => rmSync(folder, { recursive: true }));
let scriptCount = 0;

const ready = "process.send({ kind: 'ready' });";
const stayAlive = 'setInterval(() => {}, 1000);';

/** A supervisor over a child that runs `source`; `lives` in it is how many there were before. */
function supervise(source: string) {
  const name = `child-${++scriptCount}`;
  const countPath = join(folder, `${name}.count`);
  writeFileSync(countPath, '');
  writeFileSync(
    join(folder, `${name}.mjs`),
    `import { appendFileSync, readFileSync } from 'node:fs';
     const lives = readFileSync(${JSON.stringify(countPath)}, 'utf8').length;
     appendFileSync(${JSON.stringify(countPath)}, 'x');
     ${source}`,
  );
  const signals = new EventEmitter();
  const lines: Record<string, unknown>[] = [];
  let readyCount = 0;
  const supervisor = new Supervisor({
    nodeArguments: [join(folder, `${name}.mjs`)],
    log: pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) }),
    backoff: { firstMs: 10, maxMs: 40, healthyMs: 60_000 },
    signals,
    onReady: () => void readyCount++,
  });
  return {
    supervisor,
    signals,
    lines,
    code: supervisor.run(),
    lives: () => readFileSync(countPath, 'utf8').length,
    readyCount: () => readyCount,
  };
}

test('supervisor: when the gateway exits with 0, 1 or 2, the code is passed on and nothing is restarted', async () => {
  for (const code of [0, 1, 2]) {
    const run = supervise(`${ready} process.exit(${code});`);
    expect(await run.code).toBe(code);
    expect(run.lives()).toBe(1);
  }
});

test('supervisor: when the gateway dies before it was ever ready, it is reported as unable to start', async () => {
  const run = supervise(`process.kill(process.pid, 'SIGABRT'); ${stayAlive}`);
  expect(await run.code).toBe(2);
  expect(run.lives()).toBe(1);
  expect(run.lines[0]).toMatchObject({ level: 60, signal: 'SIGABRT' });
});

test('supervisor: when the gateway crashes, it is restarted with growing waits, each told in the log', async () => {
  const run = supervise(`${ready} setTimeout(() => {
    if (lives === 1) process.exit(134);
    if (lives < 4) process.kill(process.pid, 'SIGKILL');
    process.exit(0);
  }, 20);`);
  expect(await run.code).toBe(0);
  expect(run.lives()).toBe(5);
  expect(run.lines.map((line) => line['restart_in_ms'])).toEqual([10, 20, 40, 40]);
  expect(run.lines[0]).toMatchObject({ signal: 'SIGKILL', exit_code: null });
  expect(run.lines[1]).toMatchObject({ signal: null, exit_code: 134 });
  expect(run.readyCount(), 'only the first life is news').toBe(1);
});

// A prompt that nobody is known to hold goes where its hash says, so it has to say the same after a crash.
test('supervisor: when the gateway crashes, its next life hashes prompts as before, and that of another supervisor differently', async () => {
  const tell = `
    const path = import.meta.filename + '.secret' + lives;
    (await import('node:fs')).writeFileSync(path, process.env.PENSTOCK_HASH_SECRET ?? '');
    ${ready}
    if (lives === 0) process.kill(process.pid, 'SIGABRT');
    else process.exit(0);`;
  const secrets: string[] = [];
  for (let supervisor = 0; supervisor < 2; supervisor++) {
    expect(await supervise(tell).code).toBe(0);
    for (const life of [0, 1]) {
      secrets.push(readFileSync(join(folder, `child-${scriptCount}.mjs.secret${life}`), 'utf8'));
    }
  }
  const [first, second, ofOther] = secrets.map(hashSeedOf);
  expect(second).toBe(first);
  expect(ofOther).not.toBe(first);
  expect(secrets[0]).toMatch(/^[0-9a-f]{32}$/);
});

test('supervision: when no secret is given, one is drawn', () => {
  expect(hashSeedOf(undefined)).not.toBe(hashSeedOf(''));
  expect(hashSeedOf('a')).toBe(hashSeedOf('a'));
  expect(hashSeedOf('a')).toBeLessThan(2 ** 31);
});

// FAULTS F15: back within 2 s.
test('supervisor: when a serving gateway aborts, it answers again within two seconds', async () => {
  const run = supervise(`
    import { createServer } from 'node:http';
    const port = lives === 0 ? 0 : Number(readFileSync(import.meta.filename + '.port', 'utf8'));
    const { writeFileSync } = await import('node:fs');
    const server = createServer((_, response) => response.end(String(process.pid)));
    server.listen(port, '127.0.0.1', () => {
      writeFileSync(import.meta.filename + '.port', String(server.address().port));
      ${ready}
    });
    process.on('SIGTERM', () => process.exit(0));`);
  await until('first life is ready', () => run.readyCount() === 1);
  const port = readFileSync(join(folder, `child-${scriptCount}.mjs.port`), 'utf8');
  const firstPid = run.supervisor.childPid!;
  const startMs = performance.now();
  process.kill(firstPid, 'SIGABRT');
  await until('second life answers', async () => {
    const answer = await request(`http://127.0.0.1:${port}/live`).catch(() => null);
    return answer !== null && (await answer.body.text()) !== String(firstPid);
  });
  expect(performance.now() - startMs).toBeLessThan(2000);
  run.signals.emit('SIGTERM');
  expect(await run.code).toBe(0);
});

test('supervisor: when it gets SIGINT, the gateway gets one SIGTERM and its exit code counts', async () => {
  const run = supervise(`process.on('SIGTERM', () => process.exit(0)); ${stayAlive} ${ready}`);
  await until('ready', () => run.readyCount() === 1);
  run.signals.emit('SIGINT');
  expect(await run.code).toBe(0);
  expect(run.lives()).toBe(1);
});

test('supervisor: when a second signal comes during the drain, everything ends at once', async () => {
  const run = supervise(`process.on('SIGTERM', () => {}); ${stayAlive} ${ready}`);
  await until('ready', () => run.readyCount() === 1);
  run.signals.emit('SIGTERM');
  run.signals.emit('SIGTERM');
  expect(await run.code).toBe(128 + 15);
});

test('supervisor: when it is told to stop before the gateway is ready, it exits with 0', async () => {
  const run = supervise(stayAlive);
  await until('the child runs', () => run.lives() === 1);
  run.signals.emit('SIGTERM');
  expect(await run.code).toBe(0);
});

test('supervisor: when SIGHUP comes, it reaches the gateway', async () => {
  const run = supervise(`process.on('SIGHUP', () => process.exit(0)); ${stayAlive} ${ready}`);
  await until('ready', () => run.readyCount() === 1);
  run.signals.emit('SIGHUP');
  expect(await run.code).toBe(0);
});

test('supervisor: when the gateway announced its code, a SIGKILL as last breath is no crash', async () => {
  const run = supervise(
    `${ready} process.send({ kind: 'exit', code: 0 }, () => process.kill(process.pid, 'SIGKILL')); ${stayAlive}`,
  );
  expect(await run.code).toBe(0);
  expect(run.lives()).toBe(1);
});

test('supervisor: when the gateway crashes while draining, it is not started again', async () => {
  const run = supervise(`process.on('SIGTERM', () => process.kill(process.pid, 'SIGABRT')); ${stayAlive} ${ready}`);
  await until('ready', () => run.readyCount() === 1);
  run.signals.emit('SIGTERM');
  expect(await run.code).toBe(128 + 6);
  expect(run.lives()).toBe(1);
});
