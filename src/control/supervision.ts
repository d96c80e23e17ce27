import { createHash, randomInt } from 'node:crypto';

/**
 * What the gateway process tells its supervisor over the IPC channel, and what the exit codes mean. The other direction
 * needs no messages: signals say all there is to say, and a closed channel means the supervisor is gone.
 */
export type GatewayToSupervisor =
  /** Every shard listens; sent once. */
  | { readonly kind: 'ready' }
  /** The process is about to end on purpose with `code`, even if its last breath turns out to be a SIGKILL. */
  | { readonly kind: 'exit'; readonly code: number };

/** The supervisor hands its stdout to the gateway process under this number, and says so in the environment. */
export const logFd = 4;
export const logFdVariable = 'PENSTOCK_LOG_FD';

/**
 * What hashes of prompts are keyed with. The supervisor draws it once and hands it to every life of the gateway, so that one
 * that has just crashed, and knows of no cache, still sends each prompt where it was sent before. Set for the supervisor itself
 * it is taken over: gateways that share it agree on where a prompt belongs.
 */
export const hashSecretVariable = 'PENSTOCK_HASH_SECRET';

/** 31 bits; a drawn one without a secret. */
export function hashSeedOf(secret: string | undefined): number {
  if (secret === undefined || secret === '') return randomInt(2 ** 31);
  return createHash('sha256').update(secret).digest().readUInt32LE(0) >>> 1;
}

/** Exit codes of the gateway process. The supervisor passes these on; anything else is a crash and is restarted. */
export const ExitCode = { drained: 0, badConfig: 1, cannotStart: 2 } as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** The gateway cannot start; `exitCode` says whose fault it is, `message` is for the operator. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly exitCode: ExitCode;

  constructor(message: string, exitCode: ExitCode = ExitCode.cannotStart) {
    super(message);
    this.exitCode = exitCode;
  }
}

export function isGatewayMessage(message: unknown): message is GatewayToSupervisor {
  if (typeof message !== 'object' || message === null || !('kind' in message)) return false;
  return message.kind === 'ready' || (message.kind === 'exit' && 'code' in message && typeof message.code === 'number');
}
