import { parseSimCommand, runSimCommand } from '../sim/index.ts';
import { UsageError } from './output.ts';
import type { Output } from './output.ts';

/** `penstock sim`: one simulated engine. Started by another process (the demo), it ends with it. Returns the exit code. */
export async function simCommand(argv: readonly string[], { err }: Output): Promise<number> {
  try {
    parseSimCommand(argv);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), 'sim');
  }
  if (process.send !== undefined) {
    process.once('disconnect', () => process.exit(0));
    process.channel?.unref(); // Listening must not keep the engine alive once it was told to end.
  }
  try {
    await runSimCommand(argv);
    return 0;
  } catch (error) {
    err(`penstock: ${error instanceof Error ? error.message : String(error)}\n`);
    return 2;
  }
}
