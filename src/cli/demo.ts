import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ExitCode, Supervisor } from '../control/index.ts';
import { integerOption, parseOptions } from './arguments.ts';
import { demoConfig, demoModel } from './demo-config.ts';
import { UsageError } from './output.ts';
import type { Output } from './output.ts';
import { gatewayArguments, supervisorLog } from './run.ts';

/**
 * `penstock demo`: three simulated engines and a gateway in front of them, each a process of its own, so that one's CPU
 * time is not the other's. Everything ends with this process: the engines when their IPC channel closes, the gateway too.
 */
const host = '127.0.0.1';
const engineNames = ['sim-1', 'sim-2', 'sim-3'] as const;
const engineStartTimeoutMs = 15_000;

/** Returns the exit code once the gateway has drained. */
export async function demoCommand(argv: readonly string[], output: Output): Promise<number> {
  const values = parseOptions('demo', argv, {
    port: { type: 'string' },
    'admin-port': { type: 'string' },
    shards: { type: 'string', default: 'auto' },
    speed: { type: 'string', default: '1' },
  });
  const portRange = { min: 0, max: 65_535 } as const;
  const wantedPort = integerOption('demo', 'port', values.port, { ...portRange, fallback: 8080 });
  const wantedAdminPort = integerOption('demo', 'admin-port', values['admin-port'], { ...portRange, fallback: 9901 });
  if (!/^(auto|[1-9]\d?)$/.test(values.shards)) throw new UsageError('--shards must be auto or 1 to 64', 'demo');
  if (!/^\d+(\.\d+)?$/.test(values.speed)) throw new UsageError('--speed must be a number', 'demo');
  const port = await freePort(wantedPort);
  const adminPort = await freePort(wantedAdminPort);
  for (const [name, taken] of [
    ['port', port === null && wantedPort],
    ['admin-port', adminPort === null && wantedAdminPort],
  ]) {
    if (taken === false) continue;
    output.err(`penstock: ${host}:${taken} is in use; choose another with --${name} N\n`);
    return ExitCode.cannotStart;
  }
  const folder = await mkdtemp(join(tmpdir(), 'penstock-demo-'));
  const engines: ChildProcess[] = [];
  try {
    const engineUrls = await Promise.all(engineNames.map((name) => startEngine(name, values.speed, engines)));
    const configPath = join(folder, 'demo.yaml');
    await writeFile(configPath, demoConfig({ port: port!, adminPort: adminPort!, shards: values.shards, engineUrls }));
    const supervisor = new Supervisor({
      nodeArguments: gatewayArguments(configPath),
      log: supervisorLog(),
      onReady: () => output.out(welcome(port!, adminPort!, configPath)),
    });
    return await supervisor.run();
  } catch (error) {
    output.err(`penstock: ${error instanceof Error ? error.message : String(error)}\n`);
    return ExitCode.cannotStart;
  } finally {
    for (const engine of engines) engine.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * The port itself when nobody listens there, any free one for 0, null when it is taken. The gateway's own listeners
 * share ports (SO_REUSEPORT) and would not notice; a second demo is then served in turns by both.
 */
function freePort(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen(port, host, () => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server that listens has an AddressInfo.
      const bound = (server.address() as AddressInfo).port;
      server.close(() => resolve(bound));
    });
  });
}

/** Nobody wants to wait minutes for a 3 MB prompt in a demo, which is what one GPU would take. */
const fastPrefill = ['--prefill-rate', '1000000', '--prefill-pair-ms', '0'] as const;

/** Resolves with the engine's URL when it listens. In a process group of its own: Ctrl-C is the gateway's to handle. */
async function startEngine(name: string, speed: string, engines: ChildProcess[]): Promise<string> {
  const script = fileURLToPath(new URL('../cli.js', import.meta.url));
  const child = spawn(
    process.execPath,
    [
      script,
      'sim',
      '--port',
      '0',
      '--host',
      host,
      '--name',
      name,
      '--model',
      demoModel,
      '--speed',
      speed,
      ...fastPrefill,
    ],
    {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      detached: true,
    },
  );
  engines.push(child);
  const lines = createInterface({ input: child.stdout! });
  const signal = AbortSignal.timeout(engineStartTimeoutMs);
  const line = await Promise.race([
    once(lines, 'line', { signal }).then(([text]) => String(text)),
    once(child, 'exit', { signal }).then(([code]): never => {
      throw new Error(`${name} ended with code ${String(code)}`);
    }),
  ]);
  // What it writes later is read and dropped, so that a full pipe cannot stop it.
  lines.on('line', () => {});
  const message: unknown = JSON.parse(line);
  if (typeof message !== 'object' || message === null || !('url' in message)) throw new Error(`${name} did not listen`);
  return String(message.url);
}

function welcome(port: number, adminPort: number, configPath: string): string {
  return `
Penstock is ready: http://${host}:${port} in front of ${engineNames.join(', ')}. Try it:

  curl -N http://${host}:${port}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{"model":"${demoModel}","stream":true,"messages":[{"role":"user","content":"Tell me about penstocks."}]}'

Dashboard and metrics: http://${host}:${adminPort}/  and  http://${host}:${adminPort}/metrics
Config file: ${configPath}
Ctrl-C drains and stops everything.

`;
}
