import { packageVersion } from '../control/index.ts';
import { checkCommand } from './check.ts';
import { demoCommand } from './demo.ts';
import { commandHelp, generalHelp } from './help.ts';
import { UsageError } from './output.ts';
import type { Output } from './output.ts';
import { runCommand } from './run.ts';
import { schemaCommand } from './schema.ts';
import { simCommand } from './sim.ts';
import { topCommand } from './top.ts';

type Command = (argv: readonly string[], output: Output) => number | Promise<number>;

const commands: Readonly<Record<string, Command>> = {
  run: runCommand,
  check: checkCommand,
  demo: demoCommand,
  sim: simCommand,
  schema: schemaCommand,
  top: topCommand,
};

/** Runs the command that `argv` names. Returns the exit code: 1 with help on stderr for a wrong command line. */
export async function dispatch(argv: readonly string[], output: Output): Promise<number> {
  const [name, ...rest] = argv;
  if (name === '--version' || name === '-v') {
    output.out(packageVersion + '\n');
    return 0;
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    output.out(generalHelp);
    return 0;
  }
  const command = name !== undefined && Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (name === undefined || command === undefined) {
    output.err((name === undefined ? '' : `penstock: unknown command "${name}"\n\n`) + generalHelp);
    return 1;
  }
  const help = commandHelp[name];
  if (help !== undefined && rest.some((argument) => argument === '--help' || argument === '-h')) {
    output.out(help);
    return 0;
  }
  try {
    return await command(rest, output);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    output.err(`penstock: ${error.message}\n\n${commandHelp[error.command ?? ''] ?? generalHelp}`);
    return 1;
  }
}
