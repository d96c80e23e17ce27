import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { parseArgs } from 'node:util';
import pino from 'pino';
import type { Logger } from 'pino';
import { counterCell } from '../account/metric-cells.ts';
import { metrics } from '../account/metrics.ts';
import { formatProblem, loadConfig } from '../config/index.ts';
import type { LoadResult } from '../config/index.ts';
import { adminRoutes } from './admin-routes.ts';
import { AdminPort } from './admin-port.ts';
import { rejectCodeFromStrings } from './code-generation.ts';
import { Control } from './control.ts';
import { keepEnvironmentOutOfReports } from './crash-reports.ts';
import { LogSink } from './log-sink.ts';
import { addressText, listenerAddresses } from './status.ts';
import { ExitCode, logFdVariable, StartError } from './supervision.ts';
import type { GatewayToSupervisor } from './supervision.ts';
import { packageVersion } from './version.ts';

/**
 * The gateway process: reads arguments, environment, config file and signals, and turns them into calls on Control.
 *
 * Under a supervisor (an IPC channel is there) a repeated SIGTERM or SIGINT is the same wish again, since a terminal and
 * the supervisor may both deliver one; without one the second signal ends the process at once.
 */
export interface GatewayOptions {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The script of a shard thread. */
  readonly shardUrl: URL;
}

/** For what is left to write when everything else has ended. */
const logCloseTimeoutMs = 2000;
const stalledLogTimeoutMs = 300;

/** Returns when the process has ended but for its exit, which happens right after. */
export async function runGateway(options: GatewayOptions): Promise<void> {
  process.on('uncaughtException', onDefect);
  process.on('unhandledRejection', onDefect);
  const { values } = parseArgs({ args: [...options.argv], options: { config: { type: 'string', short: 'c' } } });
  if (values.config === undefined) {
    process.stderr.write('penstock: -c FILE is required\n');
    return exit(ExitCode.badConfig);
  }
  const configPath = values.config;
  const loaded = await loadConfig(configPath, options.env);
  if (!loaded.ok) {
    for (const problem of loaded.problems) process.stderr.write(formatProblem(problem) + '\n');
    return exit(ExitCode.badConfig);
  }
  return runConfig(loaded, configPath, options);
}

async function runConfig(
  { config, texts, paths, hasEndMark, warnings }: LoadResult & { readonly ok: true },
  configPath: string,
  options: GatewayOptions,
): Promise<void> {
  const { env, shardUrl } = options;
  const logLevel = levelOf(env['LOG_LEVEL']) ?? config.logging.level;
  let onDropped = (_lineCount: number): void => {};
  const destination = Number(env[logFdVariable] ?? 1);
  const sink = new LogSink({
    destination,
    pretty: config.logging.pretty === 'auto' ? isatty(destination) : config.logging.pretty,
    onDropped: (lineCount) => onDropped(lineCount),
  });
  const log = pino({ level: logLevel }, sink);
  keepEnvironmentOutOfReports(() =>
    log.warn('no diagnostic report: with this version of Node it holds the environment'),
  );
  for (const warning of warnings) log.warn(formatProblem(warning));
  let control: Control;
  try {
    control = new Control({
      config,
      texts,
      paths,
      hasEndMark,
      configPath,
      env,
      log,
      onLog: (lines) => sink.write(lines),
      logLevel,
      uwsPath: env['PENSTOCK_UWS'] ?? null,
      shardUrl,
      onStalled: (shard) => {
        // Ending the thread would abort the process (its handles are open), and until the process ends the kernel hands
        // the shard its share of all new connections. So all of it ends, and the supervisor starts it again.
        log.fatal({ shard }, 'shard was given up, ending the process');
        void sink.close(stalledLogTimeoutMs).then(() => process.kill(process.pid, 'SIGKILL'));
      },
    });
  } catch (error) {
    return finish(log, sink, startCode(log, error));
  }
  const droppedCell = counterCell(control.series, metrics.logLinesDropped, []);
  onDropped = (lineCount) => control.series.add(droppedCell, lineCount);
  const admin = new AdminPort({ routes: adminRoutes(control), config: config.admin, log });
  onSignals(control, log);
  let code: ExitCode = ExitCode.drained;
  try {
    const adminPort = await admin.open();
    // The acceptor's library reads this when it is loaded. Twice our own limit, so that the guard answers 431 with a body.
    process.env['UWS_HTTP_MAX_HEADERS_SIZE'] = String(config.limits.headBytesMax * 2);
    if (config.runtime.codeFromStrings === 'reject') {
      await sink.opened;
      rejectCodeFromStrings();
    }
    await control.start();
    await admin.takeOver();
    log.info(
      {
        listeners: listenerAddresses(control),
        admin: addressText(config.admin.address.host, adminPort ?? config.admin.address.port),
        shards: control.shards.count,
        uws: control.shards.uws,
        version: packageVersion,
      },
      'ready',
    );
    void tellSupervisor({ kind: 'ready' });
  } catch (error) {
    code = startCode(log, error);
    void control.drain();
  }
  const isEnded = await control.stopped;
  await admin.close();
  log.info({ exit_code: code }, 'stopped');
  await finish(log, sink, code, isEnded);
}

/** 0 when the start was interrupted by a drain. */
function startCode(log: Logger, error: unknown): ExitCode {
  const code = error instanceof StartError ? error.exitCode : ExitCode.cannotStart;
  if (code === ExitCode.drained) return code;
  if (error instanceof StartError) log.fatal(error.message);
  else log.fatal({ err: error }, 'cannot start');
  return code;
}

async function finish(log: Logger, sink: LogSink, code: ExitCode, isEnded = true): Promise<void> {
  log.flush();
  const isWritten = await sink.close(logCloseTimeoutMs);
  await exit(code, isEnded && isWritten);
}

/**
 * Ends the process. A shard that did not end would abort it on exit, a blocked stdout would hang it: then, with the
 * supervisor told what the code is, SIGKILL is the exit that works.
 */
async function exit(code: ExitCode, isClean = true): Promise<void> {
  await tellSupervisor({ kind: 'exit', code });
  if (!isClean) process.kill(process.pid, 'SIGKILL');
  process.exit(code);
}

function tellSupervisor(message: GatewayToSupervisor): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve();
    else process.send(message, undefined, undefined, () => resolve());
  });
}

function onSignals(control: Control, log: Logger): void {
  const isSupervised = process.send !== undefined;
  const drain = (signal: string): void => {
    if (control.phase === 'draining' && !isSupervised) process.kill(process.pid, 'SIGKILL');
    log.info({ signal }, 'signal received');
    void control.drain();
  };
  process.on('SIGTERM', drain);
  process.on('SIGINT', drain);
  process.on('SIGHUP', () => void control.reload());
  // The supervisor is gone: nobody would restart this process or pass signals on, so it ends in good order.
  process.on('disconnect', () => drain('disconnect'));
  if (isSupervised && !process.connected) drain('disconnect'); // It went while this process was starting.
}

function levelOf(text: string | undefined): string | undefined {
  const level = text?.toLowerCase();
  return level !== undefined && (level === 'silent' || Object.hasOwn(pino.levels.values, level)) ? level : undefined;
}

/**
 * Control's own logic is wrong. process.exit would abort over the shards' handles anyway, so the end is quick; the
 * supervisor starts a new process. Written straight to stderr: the log thread may be what failed.
 */
function onDefect(error: unknown): void {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const line = { level: 60, time: Date.now(), pid: process.pid, msg: 'control thread failed', error: text };
  try {
    writeSync(2, JSON.stringify(line) + '\n');
  } finally {
    process.kill(process.pid, 'SIGKILL');
  }
}
