/**
 * cli: the commands of the `penstock` program, one file each; `src/cli.ts` calls `dispatch` and nothing else.
 *
 * Read in this order: dispatch (which command), arguments and output (what they share), help, then the commands. A command
 * takes its arguments and returns an exit code; it writes through `Output`.
 */
export { dispatch } from './dispatch.ts';
export { terminal, UsageError } from './output.ts';
export type { Output } from './output.ts';
