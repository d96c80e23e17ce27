import { changeFields, type FieldChange, type Filter } from './filter.ts';

interface HeaderRules {
  readonly set: Readonly<Record<string, string>>;
  readonly add: Readonly<Record<string, string>>;
  readonly remove: readonly string[];
}

/** Sets, adds and removes fields of the request on its way up and of the response on its way down. */
export function headersFilter(options: { readonly request: HeaderRules; readonly response: HeaderRules }): Filter {
  const request = changeOf(options.request);
  const response = changeOf(options.response);
  return {
    ...(isEmpty(request) ? {} : { onRequestHead: (exchange) => changeFields(exchange.head, request) }),
    ...(isEmpty(response) ? {} : { onResponseHead: (exchange) => changeFields(exchange.responseHead, response) }),
  };
}

function changeOf(rules: HeaderRules): FieldChange {
  const lowered = (fields: Readonly<Record<string, string>>): [string, string][] =>
    Object.entries(fields).map(([name, value]) => [name.toLowerCase(), value]);
  return { set: lowered(rules.set), add: lowered(rules.add), remove: rules.remove.map((name) => name.toLowerCase()) };
}

function isEmpty(change: FieldChange): boolean {
  return change.set.length + change.add.length + change.remove.length === 0;
}
