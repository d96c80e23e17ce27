import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { constants } from 'node:os';
import type { Logger } from 'pino';
import { Backoff } from './backoff.ts';
import type { BackoffRule } from './backoff.ts';
import { deferred } from './deferred.ts';
import { ExitCode, hashSecretVariable, isGatewayMessage, logFd, logFdVariable } from './supervision.ts';

/**
 * The parent process of `penstock run`: keeps one gateway process alive.
 *
 * Threads are no fault boundary: a native crash or an out-of-memory in one shard ends the whole gateway process. What is
 * left to do then is a fast start, and only another process can do it. This one therefore opens no socket, reads no config
 * and holds no state: it spawns, forwards signals, waits.
 *
 *   spawn ──▶ running ──▶ exit 0, 1, 2 (or announced over IPC) ──▶ pass the code on
 *     ▲          │
 *     └─ backoff ┴ any other end: log it, start again; but exit 2 when no life was ever ready
 *
 * Signals: a service manager or a terminal may signal both processes at once, so a supervised gateway takes a repeated
 * SIGTERM for the same wish to drain; that a second one means "now" is decided here, where each arrives once. When the
 * supervisor itself dies the IPC channel closes, and the gateway drains.
 */
export interface SupervisorOptions {
  /** Arguments of `node`: the script first. */
  readonly nodeArguments: readonly string[];
  readonly log: Logger;
  readonly env?: NodeJS.ProcessEnv;
  readonly backoff?: BackoffRule;
  /** Signals are taken from here; tests pass an emitter of their own. */
  readonly signals?: Pick<NodeJS.EventEmitter, 'on' | 'off'>;
  /** The first life is ready. */
  readonly onReady?: () => void;
}

const drainSignals = ['SIGTERM', 'SIGINT'] as const;
type DrainSignal = (typeof drainSignals)[number];

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #backoff: Backoff;
  readonly #code = deferred<number>();
  readonly #env: NodeJS.ProcessEnv;
  #child: ChildProcess | null = null;
  #restartTimer: NodeJS.Timeout | null = null;
  #readyAtMs: number | null = null;
  #announcedCode: number | null = null;
  #drainSignal: DrainSignal | null = null;
  /** Set by the second signal; the exit code is then that of a program ended by it. */
  #forcedCode: number | null = null;
  #restartCount = 0;
  #wasReady = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.backoff);
    const env = options.env ?? process.env;
    const given = env[hashSecretVariable];
    const secret = given === undefined || given === '' ? randomBytes(16).toString('hex') : given;
    this.#env = { ...env, [logFdVariable]: String(logFd), [hashSecretVariable]: secret };
  }

  /** Process id of the running gateway, or null between two lives. */
  get childPid(): number | null {
    return this.#child?.pid ?? null;
  }

  get restartCount(): number {
    return this.#restartCount;
  }

  /** Resolves with the code this program should exit with, once the gateway ended for good. */
  async run(): Promise<number> {
    const signals = this.#options.signals ?? process;
    const onTerm = (): void => this.drain('SIGTERM');
    const onInt = (): void => this.drain('SIGINT');
    const onHup = (): void => {
      this.#child?.kill('SIGHUP');
    };
    signals.on('SIGTERM', onTerm).on('SIGINT', onInt).on('SIGHUP', onHup);
    this.#spawn();
    try {
      return await this.#code.promise;
    } finally {
      signals.off('SIGTERM', onTerm).off('SIGINT', onInt).off('SIGHUP', onHup);
    }
  }

  /** The first call asks the gateway to drain, the second ends it at once. */
  drain(signal: DrainSignal): void {
    if (this.#drainSignal !== null) {
      this.#forcedCode = 128 + constants.signals[signal];
      if (this.#child === null) this.#code.resolve(this.#forcedCode);
      else this.#child.kill('SIGKILL');
      return;
    }
    this.#drainSignal = signal;
    if (this.#child !== null) {
      this.#child.kill('SIGTERM');
      return;
    }
    // Between two lives there is nothing in flight to wait for.
    if (this.#restartTimer !== null) clearTimeout(this.#restartTimer);
    this.#code.resolve(0);
  }

  #spawn(): void {
    this.#restartTimer = null;
    this.#readyAtMs = null;
    this.#announcedCode = null;
    const child = spawn(process.execPath, this.#options.nodeArguments, {
      // Its stdout is our stderr, and our stdout its log's alone: native code and the modules of filters print too, and
      // what they print is no log line.
      stdio: ['ignore', 2, 2, 'ipc', 1],
      env: this.#env,
    });
    this.#child = child;
    child.on('message', (message) => this.#onMessage(message));
    child.once('error', (error) => {
      this.#options.log.error({ err: error }, 'gateway process could not be started');
      this.#onEnd(null, null);
    });
    child.once('exit', (code, signal) => this.#onEnd(code, signal));
  }

  #onMessage(message: unknown): void {
    if (!isGatewayMessage(message)) return;
    if (message.kind === 'exit') {
      this.#announcedCode = message.code;
      return;
    }
    this.#readyAtMs = performance.now();
    if (!this.#wasReady) this.#options.onReady?.();
    this.#wasReady = true;
  }

  #onEnd(code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#child === null) return; // `error` and `exit` of one child.
    this.#child = null;
    const meant = this.#forcedCode ?? this.#announcedCode ?? (code !== null && code <= 2 ? code : null);
    if (meant !== null) {
      this.#code.resolve(meant);
      return;
    }
    const livedMs = this.#readyAtMs === null ? 0 : performance.now() - this.#readyAtMs;
    if (this.#drainSignal !== null && this.#readyAtMs === null) {
      this.#code.resolve(ExitCode.drained); // It had not served yet, maybe not even heard the signal.
      return;
    }
    if (this.#drainSignal !== null) {
      // Died while draining: what was in flight is lost, and starting again would be against the wish to stop.
      this.#options.log.error({ exit_code: code, signal }, 'gateway process died while draining');
      this.#code.resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']);
      return;
    }
    if (!this.#wasReady) {
      // Whoever upgrades wants to know now, while the old process still serves, and not from a loop in the log.
      this.#options.log.fatal({ exit_code: code, signal }, 'gateway process died before it was ready');
      this.#code.resolve(ExitCode.cannotStart);
      return;
    }
    const waitMs = this.#backoff.nextMs(livedMs);
    this.#restartCount++;
    this.#options.log.error(
      { exit_code: code, signal, lived_ms: Math.round(livedMs), restart_in_ms: waitMs, restarts: this.#restartCount },
      'gateway process died, restarting it',
    );
    this.#restartTimer = setTimeout(() => this.#spawn(), waitMs);
  }
}
