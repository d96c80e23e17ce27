import { parseArgs } from 'node:util';
import type { ParseArgsConfig } from 'node:util';
import { UsageError } from './output.ts';

type Options = NonNullable<ParseArgsConfig['options']>;
type Values<Table extends Options> = ReturnType<typeof parseArgs<{ args: string[]; options: Table }>>['values'];

/** Throws UsageError for what the table does not know, and for anything that is no option. */
export function parseOptions<const Table extends Options>(
  command: string,
  argv: readonly string[],
  options: Table,
): Values<Table> {
  try {
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), command);
  }
}

/** A whole number in the range, or the default when the option was not given. */
export function integerOption(
  command: string,
  name: string,
  text: string | undefined,
  { fallback, min, max }: { readonly fallback: number; readonly min: number; readonly max: number },
): number {
  if (text === undefined) return fallback;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (!(value >= min && value <= max)) throw new UsageError(`--${name} must be ${min} to ${max}`, command);
  return value;
}
