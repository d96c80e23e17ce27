import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Config } from '../config/index.ts';
import { askAdmin } from './admin-client.ts';
import { AdminServer, json } from './admin-server.ts';
import type { AdminRoute } from './admin-server.ts';
import { addressText } from './status.ts';
import { StartError } from './supervision.ts';

/**
 * The admin address during an upgrade. Data ports are shared by SO_REUSEPORT, so a new process with the same config can
 * start beside the old one; Node's own listener cannot share, so the admin address is handed over:
 *
 *   new: address in use by a Penstock? go on without it ─▶ shards listen ─▶ POST /handover ─▶ bind
 *   old: answers, stops listening, tries to bind again every second (gets it back when the new process dies)
 *
 * Until then the old process answers there. A new process that fails before it is ready disturbs nothing. Anything else
 * that holds the address is a mistake in the configuration, and the start fails.
 */
export interface AdminPortOptions {
  readonly routes: Readonly<Record<string, AdminRoute>>;
  readonly config: Pick<Config['admin'], 'address' | 'token'>;
  readonly log: Logger;
}

const bindRetryMs = 20;
const bindRetryTimeoutMs = 2000;
const reclaimIntervalMs = 1000;

export class AdminPort {
  readonly #options: AdminPortOptions;
  readonly #server: AdminServer;
  #port: number | null = null;
  #reclaimTimer: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor(options: AdminPortOptions) {
    const { routes, config, log } = options;
    this.#options = options;
    const handover: AdminRoute = { method: 'POST', handle: () => this.#handOver() };
    this.#server = new AdminServer({ routes: { ...routes, '/handover': handover }, token: config.token, log });
  }

  /** The bound port, or null while another Penstock answers there. Rejects with StartError when it cannot be had. */
  async open(): Promise<number | null> {
    const { address } = this.#options.config;
    if (await this.#tryListen()) return this.#port;
    if (address.port !== 0 && (await this.#isHeldByPenstock())) {
      this.#options.log.info(
        { admin: this.#addressText },
        'admin address is held by another process, taking over later',
      );
      return null;
    }
    throw new StartError(`cannot listen on admin address ${this.#addressText}: it is in use`);
  }

  /** Ready: gets the address from the process that has it. Failing to is logged and tried again in the background. */
  async takeOver(): Promise<void> {
    if (this.#port !== null || this.#isClosed) return;
    try {
      await this.#ask('POST', '/handover');
      const endMs = performance.now() + bindRetryTimeoutMs;
      while (performance.now() < endMs) {
        if (await this.#tryListen()) return;
        await sleep(bindRetryMs);
      }
    } catch (error) {
      this.#options.log.warn({ err: error }, 'admin address was not handed over');
    }
    this.#reclaimLater();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#reclaimTimer !== null) clearTimeout(this.#reclaimTimer);
    if (this.#port !== null) await this.#server.close();
  }

  get #addressText(): string {
    const { host, port } = this.#options.config.address;
    return addressText(host, port);
  }

  /** False when the address is in use; rejects with StartError for anything else. */
  async #tryListen(): Promise<boolean> {
    const { host, port } = this.#options.config.address;
    try {
      this.#port = await this.#server.listen(host, port);
      return true;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return false;
      const reason = error instanceof Error ? error.message : String(error);
      throw new StartError(`cannot listen on admin address ${this.#addressText}: ${reason}`);
    }
  }

  #handOver(): ReturnType<typeof json> {
    this.#options.log.info('admin address is handed over');
    // After the answer: `stopListening` waits for it.
    setImmediate(() => {
      this.#port = null;
      void this.#server.stopListening().then(() => this.#reclaimLater());
    });
    return json(200, { pid: process.pid });
  }

  #reclaimLater(): void {
    if (this.#isClosed) return;
    this.#reclaimTimer = setTimeout(() => void this.#reclaim(), reclaimIntervalMs).unref();
  }

  async #reclaim(): Promise<void> {
    const isBound = await this.#tryListen().catch(() => false);
    if (!isBound) return this.#reclaimLater();
    if (this.#isClosed) await this.#server.close();
    else this.#options.log.info({ admin: this.#addressText }, 'admin address is ours again');
  }

  async #isHeldByPenstock(): Promise<boolean> {
    try {
      const answer = await this.#ask('GET', '/live');
      return typeof answer === 'object' && answer !== null && 'name' in answer && answer.name === 'penstock';
    } catch {
      return false;
    }
  }

  #ask(method: 'GET' | 'POST', path: string): Promise<unknown> {
    const { address, token } = this.#options.config;
    // An address of all interfaces is reached by way of loopback.
    const host = address.host === '0.0.0.0' ? '127.0.0.1' : address.host === '::' ? '::1' : address.host;
    return askAdmin(path, { origin: `http://${addressText(host, address.port)}`, token, method });
  }
}
