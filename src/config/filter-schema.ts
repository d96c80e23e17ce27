/** `filter_chains`: what a chain is, the built-in filters, and the form of a user's own. */
import * as z from 'zod';
import { field, flag, integer, list, optional, parsed, section } from './field.ts';
import type { Field, Row } from './field.ts';
import { suggestion } from './nearest-name.ts';
import type { RawMap, Reading } from './reading.ts';
import { filePath, headerMap, headerMatchMap, headerName, headerText, name, text } from './text-field.ts';

/** Stands for the errors of the form that was used; `complaintsOf` puts those in its place. */
export const aloneOrListed = 'must be one value or a list of them';

/** One value or several; always a list in the program. */
function oneOrMany(element: Field<string>, type: string, row: Row): Field<readonly string[]> {
  const schema = z
    .union([element, z.array(element).min(1).max(256)], { error: aloneOrListed })
    .transform((value) => (typeof value === 'string' ? [value] : value));
  return field<readonly string[]>(schema, row, { type: `${type}, or a list of them` });
}

function readPathPattern(pattern: string): Reading<string> {
  const isPattern = /^(?:\/[^\s*]*\*?|\*)$/.test(pattern);
  return isPattern ? { value: pattern } : { complaint: 'must start with / and may end in *' };
}

function readMethod(method: string): Reading<string> {
  return /^[A-Z]+$/.test(method) ? { value: method } : { complaint: 'must be a method in capitals, such as POST' };
}

const conditionShape = {
  path: optional(
    oneOrMany(parsed(readPathPattern, 'path', { doc: '' }), 'path', {
      doc: 'Path of the request, without its query. Exact, or a prefix when it ends in `*`.',
    }),
  ),
  method: optional(oneOrMany(parsed(readMethod, 'method', { doc: '' }), 'method', { doc: 'Method of the request.' })),
  model: optional(oneOrMany(name({ doc: '' }), 'model name', { doc: 'Model the client asked for, as it wrote it.' })),
  listener: optional(oneOrMany(name({ doc: '' }), 'listener name', { doc: 'Listener the request came in by.' })),
  stream: optional(flag({ doc: 'Whether the client asked for a stream.' })),
  header: optional(
    headerMatchMap({ doc: 'Headers the request must have, with these values; `*` stands for any value.' }),
  ),
};

function condition(doc: string) {
  const isEmpty = (value: object): boolean => Object.values(value).every((part) => part === null);
  const row: Row = { doc };
  const inner = section(conditionShape, row);
  // Empty means "always" when read as a conjunction and "never" to most people, so it is not accepted.
  const schema = inner.refine((value) => !isEmpty(value), 'must have at least one condition');
  return optional(field(schema, row, { type: 'condition' }));
}

const conditions = {
  when: condition('The filter runs only for requests that match all of these.'),
  unless: condition('The filter does not run for requests that match all of these.'),
};

function filter<const Name extends string, Shape extends z.ZodRawShape>(filterName: Name, doc: string, shape: Shape) {
  return section(
    {
      filter: field(z.literal(filterName), { doc: 'Which filter.' }, { type: `\`${filterName}\`` }),
      ...shape,
      ...conditions,
    },
    { doc },
    // `module === null` tells the compiler that `filter` names a built-in.
  ).transform((value) => ({ ...value, module: null }));
}

const headerRules = (doc: string) =>
  section(
    {
      set: headerMap({ default: {}, doc: 'Headers to replace, or to add when absent.' }),
      add: headerMap({ default: {}, doc: 'Header lines to add beside any of the same name.' }),
      remove: list(headerName({ doc: '' }), 'header names', { default: [], max: 64, doc: 'Headers to drop.' }),
    },
    { default: {}, doc },
  );

const builtIns = {
  request_id: filter('request_id', 'Takes or makes `x-request-id`, sends it upstream and returns it.', {}),
  access_log: filter('access_log', 'Writes one log line an exchange, when it ends.', {}),
  forwarded_headers: filter('forwarded_headers', 'Appends `x-forwarded-for`, `-proto` and `-host`.', {}),
  headers: filter('headers', 'Changes request and response headers.', {
    request: headerRules('What is done to the request before it goes upstream.'),
    response: headerRules('What is done to the response before it goes downstream.'),
  }),
  static_response: filter('static_response', 'Answers without any endpoint.', {
    status: integer({ min: 200, max: 599, doc: 'Status of the answer.' }),
    headers: headerMap({ default: {}, doc: 'Headers of the answer.' }),
    body: text({ default: '', doc: 'Body of the answer.' }),
    content_type: headerText({ default: 'text/plain; charset=utf-8', doc: 'Media type of the body.' }),
  }),
};

const ownFilter = section(
  {
    filter: name({ doc: 'A name of your choice, for logs.' }),
    module: filePath({ doc: 'JavaScript module of the filter, relative to the file.' }),
    options: field(
      z.record(z.string(), z.unknown()),
      { default: {}, doc: 'Handed to the module untouched.' },
      { type: 'map' },
    ),
    ...conditions,
  },
  { doc: 'A filter of your own.' },
);

const builtInNames = Object.keys(builtIns);
const filterForms = [...Object.values(builtIns), ownFilter] as const;
type FilterForm = z.output<(typeof builtIns)[keyof typeof builtIns]> | z.output<typeof ownFilter>;

/** Which of the forms the author of `raw` meant: its errors are worth showing, those of the others are not. */
export function meantForm(raw: RawMap): { readonly index: number } | { readonly complaint: string } {
  if (raw['module'] !== undefined) return { index: filterForms.length - 1 };
  const filterName = raw['filter'];
  if (filterName === undefined) return { complaint: 'is required' };
  const written = typeof filterName === 'string' ? filterName : '';
  const index = builtInNames.indexOf(written);
  if (index >= 0) return { index };
  return {
    complaint: `is not a built-in filter${suggestion(written, builtInNames)}; a filter of your own needs \`module\``,
  };
}

export const filterChain = section(
  {
    name: name({ doc: 'What listeners call the chain.' }),
    filters: list(z.union(filterForms) as z.ZodType<FilterForm>, 'filters', {
      max: 64,
      doc: 'The filters, in the order they run.',
    }),
  },
  { doc: 'One filter chain.' },
);
