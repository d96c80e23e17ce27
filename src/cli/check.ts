import { formatProblem, loadConfig } from '../config/index.ts';
import { parseOptions } from './arguments.ts';
import { UsageError } from './output.ts';
import type { Output } from './output.ts';

/** `penstock check`: `ok`, or one line a problem; warnings go to stderr, and change nothing. Returns the exit code. */
export async function checkCommand(argv: readonly string[], { out, err }: Output): Promise<number> {
  const { config } = parseOptions('check', argv, { config: { type: 'string', short: 'c' } });
  if (config === undefined) throw new UsageError('-c FILE is required', 'check');
  const loaded = await loadConfig(config, process.env);
  if (loaded.ok) {
    for (const warning of loaded.warnings) err(`${formatProblem(warning)} (warning)\n`);
    out('ok\n');
    return 0;
  }
  for (const problem of loaded.problems) out(formatProblem(problem) + '\n');
  return 1;
}
