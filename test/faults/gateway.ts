import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ExitError, freePort, untilBound } from '../rig/gateway-process.ts';

// The program under test: `penstock run` in processes of its own, started the way a fault wants it (under prlimit, with less
// heap, with a log nobody reads), and asked afterwards what it wrote, counted and still holds.

export interface GatewayOptions {
  /** Everything of the file but `listeners` and `admin`. */
  readonly yaml: string;
  /** Keys of the one listener beside its name and address, as YAML flow. */
  readonly listener?: string;
  /** The command stands before node: `prlimit --nofile=256`, say. */
  readonly wrapper?: readonly string[];
  readonly nodeFlags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Of stdout: `read` keeps it, `unread` leaves it in the pipe, anything else is a file it is written to. */
  readonly stdout?: string;
  /** The `tls` section of a second listener, as YAML flow. */
  readonly tls?: string;
  /** In place of a free one. */
  readonly adminPort?: number;
  /** A second process takes the place of this one: same file, same ports. */
  readonly over?: Gateway;
}

/** One line of the access log, and what of it is judged. */
export interface AccessRecord {
  readonly request_id: string;
  readonly status: number;
  readonly reason: string;
  readonly retries: number;
  readonly model?: string;
  readonly path: string;
}

export interface StatusPage {
  readonly config_version: number;
  readonly shards: readonly { readonly state: string }[];
  readonly pools: readonly {
    readonly name: string;
    readonly endpoints: readonly { readonly url: string; readonly state: string; readonly inflight: number }[];
  }[];
}

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const readyBoundMs = 15_000;
const stopBoundMs = 8000;
/** What the process prints is kept for the checks; a flood beyond this is cut at the front. */
const outputBytesMax = 64 * 1024 * 1024;

type Ports = readonly [port: number, adminPort: number, tlsPort: number];

async function portsOf({ over, adminPort }: GatewayOptions): Promise<Ports> {
  if (over !== undefined) return [over.port, over.adminPort, over.tlsPort];
  const ports = new Set<number>();
  while (ports.size < 3) ports.add(await freePort()); // In a small range one comes twice.
  const [port, freeAdminPort, tlsPort] = [...ports] as [number, number, number];
  return [port, adminPort ?? freeAdminPort, tlsPort];
}

export class Gateway {
  readonly folder: string;
  readonly port: number;
  readonly adminPort: number;
  /** Of the second listener, where there is one. */
  readonly tlsPort: number;
  readonly configPath: string;
  readonly process: ChildProcess;
  readonly exited: Promise<number | null>;
  readonly #stdoutPath: string | null;
  #output = '';
  /** Process id of the gateway itself; the child is its supervisor. */
  pid = 0;

  static start(options: GatewayOptions): Promise<Gateway> {
    const { over } = options;
    return untilBound(async () => {
      const gateway = new Gateway(options, await portsOf(options));
      await gateway.#untilReady(over?.pid ?? 0);
      return gateway;
    });
  }

  /** Starts it and does not wait: it is expected to fail. */
  static async attempt(options: GatewayOptions): Promise<Gateway> {
    return new Gateway(options, await portsOf(options));
  }

  private constructor(options: GatewayOptions, [port, adminPort, tlsPort]: Ports) {
    const { over, wrapper = [], nodeFlags = [], stdout = 'read' } = options;
    this.port = port;
    this.adminPort = adminPort;
    this.tlsPort = tlsPort;
    this.folder = over?.folder ?? mkdtempSync(join(tmpdir(), 'penstock-faults-'));
    this.configPath = over?.configPath ?? join(this.folder, 'gateway.yaml');
    if (over === undefined) this.configure(options.yaml, options.listener, options.tls);
    const isPiped = stdout === 'read' || stdout === 'unread';
    this.#stdoutPath = isPiped ? null : stdout;
    const [command, ...args] = [...wrapper, process.execPath, ...nodeFlags, cli, 'run', '-c', this.configPath];
    this.process = spawn(command, args, {
      stdio: ['ignore', isPiped ? 'pipe' : openSync(stdout, 'a'), 'pipe'],
      env: { ...process.env, LOG_LEVEL: 'info', ...options.env },
    });
    const keep = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString()).slice(-outputBytesMax);
    };
    if (stdout === 'read') this.process.stdout!.on('data', keep);
    this.process.stderr!.on('data', keep);
    this.exited = once(this.process, 'exit').then(([code]) => code as number | null);
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The file as it is written; `listener`: see GatewayOptions. */
  configure(yaml: string, listener = '', tls = ''): void {
    const extra = listener === '' ? '' : `, ${listener}`;
    const second = tls === '' ? '' : `, { name: secure, address: "127.0.0.1:${this.tlsPort}", tls: ${tls}${extra} }`;
    const text = `listeners: [{ name: public, address: "127.0.0.1:${this.port}"${extra} }${second}]
admin: { address: "127.0.0.1:${this.adminPort}" }
${yaml}`;
    writeFileSync(this.configPath, text);
  }

  /** Everything printed so far, by the supervisor too. */
  output(): string {
    const file = this.#stdoutPath === null || this.#stdoutPath.startsWith('/dev/') ? '' : this.#stdoutPath;
    return file === '' ? this.#output : this.#output + readFileSync(file, 'utf8');
  }

  /** Reads on from a pipe that was left unread. */
  readOn(): void {
    this.process.stdout!.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
  }

  records(): AccessRecord[] {
    const lines = this.output().split('\n');
    return lines.filter((line) => line.endsWith('"msg":"access"}')).map((line) => JSON.parse(line) as AccessRecord);
  }

  /** Lines of the log that contain `text`, but for the access log. */
  logged(text: string | RegExp): string[] {
    const lines = this.output().split('\n');
    return lines.filter((line) => !line.endsWith('"msg":"access"}') && line.search(text) >= 0);
  }

  async admin<Page>(path: string, boundMs = 5000): Promise<Page> {
    return (await (await this.ask(path, boundMs)).json()) as Page;
  }

  ask(path: string, boundMs = 5000): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.adminPort}${path}`, { signal: AbortSignal.timeout(boundMs) });
  }

  post(path: string): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.adminPort}${path}`, {
      method: 'POST',
      headers: { 'x-penstock-admin': '1' },
      signal: AbortSignal.timeout(15_000),
    });
  }

  status(): Promise<StatusPage> {
    return this.admin<StatusPage>('/status');
  }

  async stateOf(url: string): Promise<string> {
    const { pools } = await this.status();
    return pools.flatMap(({ endpoints }) => endpoints).find((each) => each.url === url)?.state ?? 'none';
  }

  /** Sum over a metric's samples whose labels contain every one of `labels`; 0 when it has none yet. */
  async metric(name: string, ...labels: readonly string[]): Promise<number> {
    const page = await (await this.ask('/metrics')).text();
    let sum = 0;
    for (const line of page.split('\n')) {
      if (!line.startsWith(`${name}{`) && !line.startsWith(`${name} `)) continue;
      if (labels.every((label) => line.includes(label))) sum += Number(line.slice(line.lastIndexOf(' ') + 1));
    }
    return sum;
  }

  /** Leases that are out, by kind; empty when all were given back within `boundMs`. */
  async leasesLeft(boundMs: number): Promise<Record<string, number>> {
    const endMs = performance.now() + boundMs;
    for (;;) {
      const { outstanding } = await this.admin<{ outstanding: Record<string, number> }>('/leases');
      const left = Object.fromEntries(Object.entries(outstanding).filter(([, count]) => count !== 0));
      if (Object.keys(left).length === 0 || performance.now() > endMs) return left;
      await sleep(50);
    }
  }

  /** Resident memory of the gateway process in MB. proc(5). */
  rssMB(): number {
    const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8')) ?? [];
    return Number(kib ?? 0) / 1024;
  }

  /** CPU time of the gateway process so far, in seconds. Ticks of 1/100 s: proc(5). */
  cpuSeconds(): number {
    const text = readFileSync(`/proc/${this.pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  /** Which process answers on the admin port now; 0 for none. */
  async pidNow(): Promise<number> {
    try {
      return (await this.admin<{ pid: number }>('/ready', 1000)).pid;
    } catch {
      return 0;
    }
  }

  get isOver(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null;
  }

  /** SIGTERM, and SIGKILL to both processes when that takes too long. Resolves with the exit code; null: it was killed. */
  async stop(): Promise<number | null> {
    if (!this.isOver) this.process.kill('SIGTERM');
    const timer = setTimeout(() => this.kill(), stopBoundMs);
    const code = await this.exited;
    clearTimeout(timer);
    return code;
  }

  kill(): void {
    for (const pid of [this.pid, this.process.pid ?? 0]) {
      try {
        if (pid > 0) process.kill(pid, 'SIGKILL');
      } catch {
        // It is gone already.
      }
    }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #untilReady(notPid: number): Promise<void> {
    const endMs = performance.now() + readyBoundMs;
    while (performance.now() < endMs) {
      if (this.isOver) throw new ExitError(this.process.exitCode, this.output());
      try {
        const response = await this.ask('/ready', 1000);
        const { pid } = (await response.json()) as { pid: number };
        if (response.status === 200 && pid !== notPid) {
          this.pid = pid;
          return;
        }
      } catch {
        // Not listening yet.
      }
      await sleep(25);
    }
    this.kill();
    throw new Error(`the gateway was not ready in ${readyBoundMs} ms:\n${this.output().slice(-4000)}`);
  }
}
