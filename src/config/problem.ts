/** What is wrong with a configuration file, and where. */
import type * as z from 'zod';
import { aloneOrListed, meantForm } from './filter-schema.ts';
import { isRawMap } from './reading.ts';

/** Keys and indexes from the root of the file: `['pools', 0, 'name']`. */
export type Path = readonly (string | number)[];

export interface Problem {
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  /** 1-based, in UTF-16 units. */
  readonly column: number;
  /** `pools[0].name`; '' when the file as a whole is meant. */
  readonly path: string;
  readonly message: string;
}

/** A problem before its place in the file is looked up. `at` says which side of the `key: value` is wrong. */
export interface Complaint {
  readonly path: Path;
  readonly at: 'key' | 'value';
  readonly message: string;
}

/** `FILE:LINE:COL: path.to.key: what is wrong`. */
export function formatProblem(problem: Problem): string {
  const place = `${problem.file}:${problem.line}:${problem.column}`;
  return problem.path === '' ? `${place}: ${problem.message}` : `${place}: ${problem.path}: ${problem.message}`;
}

export function formatPath(path: Path): string {
  let written = '';
  for (const step of path) {
    if (typeof step === 'number') written += `[${step}]`;
    else if (!/^[^\s.[\]"]+$/.test(step)) written += `[${JSON.stringify(step)}]`;
    else written += written === '' ? step : `.${step}`;
  }
  return written;
}

const nouns: Readonly<Record<string, string>> = {
  object: 'a map',
  record: 'a map',
  array: 'a list',
  string: 'text',
  boolean: 'true or false',
};

/** Wording of the complaints that zod itself raises; the rows word their own. */
export function wording(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.input === undefined) return 'is required';
  if (issue.code === 'invalid_type') {
    const isUnquoted =
      issue.expected === 'string' && (typeof issue.input === 'number' || typeof issue.input === 'boolean');
    return `must be ${nouns[issue.expected] ?? issue.expected}${isUnquoted ? ': put it in quotes' : ''}`;
  }
  if (issue.code === 'too_small' && issue.origin === 'array') {
    return `must have at least ${issue.minimum} ${issue.minimum === 1 ? 'entry' : 'entries'}`;
  }
  if (issue.code === 'too_big' && issue.origin === 'array') {
    return `must have at most ${issue.maximum} entries, has ${Array.isArray(issue.input) ? issue.input.length : 'more'}`;
  }
  return undefined;
}

function valueAt(raw: unknown, path: Path): unknown {
  let value: unknown = raw;
  for (const step of path) {
    if (Array.isArray(value) && typeof step === 'number') value = value[step] as unknown;
    else value = isRawMap(value) ? value[step] : undefined;
  }
  return value;
}

/** Zod's issues as complaints; `raw` is what was parsed. */
export function complaintsOf(issues: readonly z.core.$ZodIssue[], raw: unknown, under: Path = []): Complaint[] {
  return issues.flatMap((issue): Complaint[] => {
    const path: Path = [...under, ...issue.path.map((step) => (typeof step === 'number' ? step : String(step)))];
    switch (issue.code) {
      case 'unrecognized_keys': {
        const messages = issue.message.split('\n');
        return issue.keys.map((key, index) => ({ path: [...path, key], at: 'key', message: messages[index]! }));
      }
      case 'invalid_key':
        return issue.issues.map(({ message }) => ({ path, at: 'key', message }));
      case 'invalid_union': {
        const input = valueAt(raw, path);
        if (issue.message === aloneOrListed) {
          return complaintsOf(issue.errors[Array.isArray(input) ? 1 : 0] ?? [], raw, path);
        }
        // Filters are the one choice between sections; the other unions are scalars with a message of their own.
        if (issue.errors.length < 3) return [{ path, at: 'value', message: issue.message }];
        if (!isRawMap(input)) return [{ path, at: 'value', message: 'must be a map' }];
        const form = meantForm(input);
        if ('complaint' in form) return [{ path: [...path, 'filter'], at: 'value', message: form.complaint }];
        return complaintsOf(issue.errors[form.index] ?? [], raw, path);
      }
      default:
        return [{ path, at: 'value', message: issue.message }];
    }
  });
}
