import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { batchVersion } from '../../src/control/sharing/batch.ts';
import { freePort } from './gateway-process.ts';

const programs = ['valkey-server', 'redis-server'];

/** The program found on this machine, or null: then tests that need it say so and are skipped. */
export const valkeyProgram = programs.find((name) => spawnSync(name, ['--version']).status === 0) ?? null;

export const valkeyHint =
  valkeyProgram === null ? ' (SKIPPED: no valkey-server or redis-server here, see docs/sharing.md)' : '';

/** Of gateways that share by default, as they call it in the store. */
export function sharedStream(name: 'blocks' | 'loads'): string {
  return `{penstock}:v${batchVersion}:${name}`;
}

/** A Valkey or Redis of the test's own, in memory, on loopback, whose port stays the same while it goes down and comes back. */
export class Valkey {
  readonly port: number;
  /** Of its command line, beside those that keep it in memory and on loopback. */
  readonly #flags: readonly string[];
  #process: ChildProcess | null = null;

  static async start(flags: readonly string[] = []): Promise<Valkey> {
    for (let attempt = 1; ; attempt++) {
      const server = new Valkey(await freePort(), flags);
      try {
        await server.up();
        return server;
      } catch (error) {
        if (attempt === 5) throw error;
      }
    }
  }

  private constructor(port: number, flags: readonly string[]) {
    this.port = port;
    this.#flags = flags;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** With nothing in it. */
  async up(): Promise<void> {
    const settings = [
      '--port',
      `${this.port}`,
      '--bind',
      '127.0.0.1',
      '--save',
      '',
      '--appendonly',
      'no',
      ...this.#flags,
    ];
    const child = spawn(valkeyProgram!, settings, { stdio: ['ignore', 'ignore', 'ignore'] });
    this.#process = child;
    for (let attempt = 0; attempt < 200; attempt++) {
      if (child.exitCode !== null) throw new Error(`${valkeyProgram} ended with ${child.exitCode}`);
      if (await this.#answers()) return;
      await delay(25);
    }
    await this.down();
    throw new Error(`${valkeyProgram} did not answer`);
  }

  /** SIGKILL. */
  async down(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  /** Stops answering, and keeps its connections; `false` goes on. */
  freeze(isFrozen: boolean): void {
    this.#process?.kill(isFrozen ? 'SIGSTOP' : 'SIGCONT');
  }

  /** One command, as one connection of its own; the reply as it came. */
  async ask(...words: readonly string[]): Promise<string> {
    const socket = connect(this.port, '127.0.0.1');
    try {
      const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
      socket.write(`*${words.length}\r\n${parts.join('')}`);
      const [reply] = (await once(socket, 'data')) as [Buffer];
      return reply.toString('latin1');
    } finally {
      socket.destroy();
    }
  }

  async #answers(): Promise<boolean> {
    // It answers those it does not know, too.
    return /^[+]PONG|^-NOAUTH/.test(await this.ask('PING').catch(() => ''));
  }
}
