import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

/** `GET /sim/stats`, as far as rows look at it. */
export interface SimCounts {
  readonly active: number;
  readonly running: number;
  readonly waiting: number;
  readonly finished: Readonly<Record<string, number>>;
  readonly connections: number;
}

/** A simulated engine in a process of its own, which can be killed. */
export class Simulated {
  readonly url: string;
  readonly #process: ChildProcess;

  static async start(name: string, flags: readonly string[] = []): Promise<Simulated> {
    const args = [cli, 'sim', '--port', '0', '--host', '127.0.0.1', '--name', name, ...flags];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    for await (const line of createInterface({ input: child.stdout })) {
      const { msg, url } = JSON.parse(line) as { msg?: string; url?: string };
      if (msg === 'ready') return new Simulated(child, url!);
    }
    throw new Error(`${name} did not start`);
  }

  private constructor(child: ChildProcess, url: string) {
    this.#process = child;
    this.url = url;
  }

  async counts(): Promise<SimCounts> {
    return (await (await fetch(`${this.url}/sim/stats`)).json()) as SimCounts;
  }

  async setFaults(faults: Readonly<Record<string, unknown>>): Promise<void> {
    await fetch(`${this.url}/sim/faults`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(faults),
    });
  }

  /** Resolves when the process is gone; also when it was before. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGKILL'): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill(signal);
    await exited;
  }
}
