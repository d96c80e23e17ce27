import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** The built gateway as its users run it: `penstock run -c FILE` in processes of its own, on free ports. */
export interface RunningGateway {
  readonly url: string;
  readonly adminUrl: string;
  /** The supervisor. */
  readonly process: ChildProcess;
  /** Process id of the gateway itself, which the supervisor started. */
  readonly pid: number;
  readonly configPath: string;
  /** As it was written. */
  readonly configText: string;
  /** Everything printed so far. */
  output(): string;
  /** What went to stdout: the log alone. */
  log(): string;
  /** Reads a JSON page of the admin port. */
  admin<Page = Record<string, unknown>>(path: string): Promise<Page>;
  /** Resolves with the exit code when the process has ended, however that came about. */
  readonly exited: Promise<number | null>;
  /** SIGTERM, once; resolves with the exit code. */
  stop(): Promise<number | null>;
}

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Exit code of a process that could not bind (CONTRACT section 1). */
const cannotBind = 2;

/**
 * Calls `start` until it does not fail for a port: one that was free a moment ago may have become the local port of
 * another test's connection.
 */
export async function untilBound<Started>(start: () => Promise<Started>): Promise<Started> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start();
    } catch (error) {
      if (!(error instanceof ExitError) || error.code !== cannotBind || attempt === 5) throw error;
    }
  }
}

/** The process ended before it was ready. */
export class ExitError extends Error {
  readonly code: number | null;

  constructor(code: number | null, output: string) {
    super(`the process ended with ${code} before it was ready:\n${output}`);
    this.code = code;
  }
}

export interface GatewayOptions {
  /** Arguments of node for the gateway process. */
  readonly nodeArguments?: readonly string[];
  /** Where its stdout goes; `output()` then has only stderr. */
  readonly stdout?: 'pipe' | number;
  readonly port?: number;
  /** Given, the start is tried once. */
  readonly adminPort?: number;
  /** The listener's `tls` section. */
  readonly tls?: string;
  /** Further keys of the listener, as YAML flow. */
  readonly listener?: string;
  /** A command that runs the program: its name and arguments are put behind. */
  readonly wrap?: readonly string[];
  /** Further keys of the `admin` section, as YAML flow: `token: abc`. */
  readonly admin?: string;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** `yaml`: everything but listeners and admin. `shards` is part of it when it matters. */
export function startGateway(yaml: string, options: GatewayOptions = {}): Promise<RunningGateway> {
  return options.adminPort === undefined ? untilBound(() => startOnce(yaml, options)) : startOnce(yaml, options);
}

async function startOnce(yaml: string, options: GatewayOptions): Promise<RunningGateway> {
  const folder = await mkdtemp(join(tmpdir(), 'penstock-test-'));
  if (options.wrap !== undefined) await chmod(folder, 0o755); // The command may make it another user's.
  const port = options.port ?? (await freePort());
  const adminPort = options.adminPort ?? (await freePort());
  const configPath = join(folder, 'gateway.yaml');
  const runtime = yaml.includes('runtime:') ? '' : 'runtime: { shards: 1 }\n';
  const admin = options.admin === undefined ? '' : `, ${options.admin}`;
  const tls = options.tls === undefined ? '' : `, tls: ${options.tls}`;
  const listener = options.listener === undefined ? '' : `, ${options.listener}`;
  const configText = `listeners: [{ name: public, address: "127.0.0.1:${port}"${tls}${listener} }]\nadmin: { address: "127.0.0.1:${adminPort}"${admin} }\n${runtime}${yaml}`;
  await writeFile(configPath, configText);
  const program = [process.execPath, ...(options.nodeArguments ?? []), cli, 'run', '-c', configPath];
  const command = [...(options.wrap ?? []), ...program];
  const child = spawn(command[0]!, command.slice(1), {
    stdio: ['ignore', options.stdout ?? 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
  });
  let output = '';
  let log = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
    log += chunk.toString();
  });
  child.stderr!.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exited = once(child, 'exit').then(([code]) => code as number | null);
  const adminUrl = `http://127.0.0.1:${adminPort}`;
  const pid = await untilReady(adminUrl, child, () => output);
  return {
    url: `http://127.0.0.1:${port}`,
    adminUrl,
    process: child,
    pid,
    configPath,
    configText,
    exited,
    output: () => output,
    log: () => log,
    async admin<Page>(path: string): Promise<Page> {
      return (await (await fetch(adminUrl + path)).json()) as Page;
    },
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      const code = await exited;
      await rm(folder, { recursive: true, force: true });
      return code;
    },
  };
}

async function untilReady(adminUrl: string, child: ChildProcess, output: () => string): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (child.exitCode !== null) throw new ExitError(child.exitCode, output());
    try {
      const response = await fetch(`${adminUrl}/ready`);
      const page = (await response.json()) as { pid: number };
      if (response.status === 200) return page.pid;
    } catch {
      // Not listening yet.
    }
    await delay(50);
  }
  child.kill('SIGKILL');
  throw new Error(`the gateway was not ready in 10 s:\n${output()}`);
}
