/**
 * The kinds of setting a schema row can have. Each builder makes a zod schema that reads the file's form (snake_case,
 * `64MiB`, numeric strings) and gives the program's form (camelCase, plain numbers), and registers what docs/config.md
 * says about it, so that a row is written once and is type, check, default, JSON Schema and documentation.
 */
import * as z from 'zod';
import { suggestion } from './nearest-name.ts';
import { withinBounds } from './reading.ts';
import type { Bounds, Reading } from './reading.ts';
import { jsonPatterns, readBytes, readDurationMs, readInteger, readNumber } from './units.ts';

/** A setting whose program form is `T`. */
export type Field<T> = z.ZodType<T>;

/**
 * When a changed value takes effect on a reload. `live`: for the next exchange. `restart`: only in a new process
 * (it is bound, or sized, at start); a reload that changes it is refused.
 */
export type Reload = 'live' | 'restart';

/** `default` is in the file's form. Without one the key is required. `reload` is inherited from the section when absent. */
export interface Row {
  readonly doc: string;
  readonly default?: unknown;
  readonly reload?: Reload;
  readonly secret?: boolean;
}

export interface FieldDoc {
  /** What the reader of the file writes: `size`, `text`, `list of text`. */
  readonly type: string;
  /** As written in the file; null when the key is required. */
  readonly fallback: string | null;
  readonly bounds: string;
  readonly reload: Reload | null;
  readonly secret: boolean;
  readonly doc: string;
}

/** Keyed by the outermost schema of a row, the one a section's shape holds. */
export const fieldDocs = z.registry<FieldDoc>();

interface Kind {
  readonly type: string;
  readonly bounds?: string;
}

/** Puts the row's default on `schema` and registers its documentation. Every builder ends here. */
export function field<T>(schema: z.ZodType<T>, row: Row, kind: Kind): Field<T> {
  const complete = row.default === undefined ? schema : schema.prefault(row.default);
  fieldDocs.add(complete, {
    type: kind.type,
    fallback: row.default === undefined ? null : writtenForm(row.default),
    bounds: kind.bounds ?? '',
    reload: row.reload ?? null,
    secret: row.secret ?? false,
    doc: row.doc,
  });
  return complete;
}

function writtenForm(value: unknown): string {
  if (typeof value === 'string') return value === '' ? '""' : value;
  if (Array.isArray(value)) return `[${value.map(writtenForm).join(', ')}]`;
  return JSON.stringify(value);
}

/** The same setting, null when the file does not give it. */
export function optional<T>(inner: Field<T>): Field<T | null> {
  const complete = inner.nullable().prefault(null);
  fieldDocs.add(complete, { ...fieldDocs.get(inner)!, fallback: 'none' });
  return complete;
}

/** A zod error that names what was wanted; a missing key is left to the loader, which says `is required` for all. */
export function wanted(what: string): (issue: { readonly input?: unknown }) => string | undefined {
  return (issue) => (issue.input === undefined ? undefined : `must be ${what}`);
}

function readInto<Raw, T>(read: (raw: Raw) => Reading<T>): (raw: Raw, context: z.RefinementCtx) => T {
  return (raw, context) => {
    const reading = read(raw);
    if ('value' in reading) return reading.value;
    context.addIssue({ code: 'custom', message: reading.complaint });
    return z.NEVER;
  };
}

/** Text with a grammar: `read` gives the parsed value or the complaint. */
export function parsed<T>(read: (text: string) => Reading<T>, type: string, row: Row): Field<T> {
  return field(z.string().transform(readInto(read)), row, { type });
}

interface NumberRow extends Row {
  /** In the file's form, as `default` is. */
  readonly min: number | string;
  readonly max: number | string;
}

type ReadNumber = (raw: number | string) => Reading<number>;

function boundsOf(row: NumberRow, read: ReadNumber): Bounds {
  const known = (raw: number | string): number => {
    const reading = read(raw);
    if ('complaint' in reading) throw new TypeError(`schema bound ${raw} ${reading.complaint}`);
    return reading.value;
  };
  return { min: known(row.min), max: known(row.max), minText: String(row.min), maxText: String(row.max) };
}

function bounded(read: ReadNumber, type: keyof typeof jsonPatterns, row: NumberRow): Field<number> {
  const jsonType = type === 'number' ? 'number' : 'integer';
  const bounds = boundsOf(row, read);
  const expected = read('not a number');
  const schema = z
    .union(
      [
        z.number().meta({ type: jsonType, minimum: bounds.min, maximum: bounds.max }),
        z.string().meta({ pattern: jsonPatterns[type] }),
      ],
      { error: wanted('complaint' in expected ? expected.complaint.replace(/^must be /, '') : type) },
    )
    .transform(
      readInto((raw: number | string) => {
        const reading = read(raw);
        return 'value' in reading ? withinBounds(reading.value, bounds) : reading;
      }),
    );
  return field(schema, row, { type, bounds: `${bounds.minText} to ${bounds.maxText}` });
}

export function bytes(row: NumberRow): Field<number> {
  return bounded(readBytes, 'size', row);
}

export function durationMs(row: NumberRow): Field<number> {
  return bounded(readDurationMs, 'duration', row);
}

export function integer(row: NumberRow): Field<number> {
  return bounded(readInteger, 'integer', row);
}

export function decimal(row: NumberRow): Field<number> {
  return bounded(readNumber, 'number', row);
}

export function flag(row: Row): Field<boolean> {
  const schema = z
    .union([z.boolean(), z.enum(['true', 'false'])], { error: wanted('true or false') })
    .transform((value) => value === true || value === 'true');
  return field(schema, row, { type: 'true or false' });
}

export function choice<const Name extends string>(names: readonly Name[], row: Row): Field<Name> {
  const schema = z.literal(names, {
    error: ({ input }) => {
      if (input === undefined) return undefined;
      const hint = typeof input === 'string' ? suggestion(input, names) : '';
      return `must be one of ${names.join(', ')}${hint}`;
    },
  });
  return field(schema, row, { type: names.map((name) => `\`${name}\``).join(', ') });
}

export function list<T>(
  element: Field<T>,
  type: string,
  row: Row & { readonly min?: number; readonly max: number },
): Field<readonly T[]> {
  const schema = z
    .array(element)
    .min(row.min ?? 0)
    .max(row.max);
  return field<readonly T[]>(schema, row, { type: `list of ${type}`, bounds: `${row.min ?? 0} to ${row.max} entries` });
}

export type CamelKey<Key> = Key extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<CamelKey<Tail>>}` : Key;

export function camelKey(key: string): string {
  return key.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** The program's form of a section: its keys in camelCase. Keys inside maps (header names, `options`) are user data and stay. */
export type Section<Shape extends z.ZodRawShape> = {
  readonly [Key in keyof Shape as CamelKey<Key>]: z.output<Shape[Key]>;
};

/** A map with fixed keys. An unknown key is one line of the error's message each, in the order of the issue's `keys`. */
export function section<Shape extends z.ZodRawShape>(shape: Shape, row: Row): Field<Section<Shape>> {
  const known = Object.keys(shape);
  const schema = z
    .strictObject(shape, {
      error: (issue) => {
        if (issue.code !== 'unrecognized_keys') return undefined;
        return issue.keys
          .map((key) => `unknown key${suggestion(key, known) || `; expected one of ${known.join(', ')}`}`)
          .join('\n');
      },
    })
    .transform((value) => {
      const entries = Object.entries(value).map(([key, inner]) => [camelKey(key), inner] as const);
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Section is what camelKey does, said in types.
      return Object.fromEntries(entries) as Section<Shape>;
    });
  return field<Section<Shape>>(schema, row, { type: 'section' });
}
