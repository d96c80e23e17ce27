import type { Exchange, FieldList } from '../exchange/index.ts';

/**
 * An answer of a filter in place of the endpoint's. `status` is 200 to 599. Framing, date, via and x-request-id in `headers`
 * are left out: the gateway writes its own.
 */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

/**
 * What a filter may see and change of an exchange. Everything else of the record is the gateway's.
 *
 * `head` is what goes upstream, `responseHead` what goes downstream. `head` may be changed until dispatch (the head and
 * facts hooks): its fields, path and query. `responseHead` may be changed in the response-head hook: its fields, and its
 * status between those that have a body, or those that have none. What a hook leaves is checked by the rules that hold for peers.
 */
export type FilteredExchange = Pick<Exchange, 'head' | 'facts' | 'responseHead' | 'requestId' | 'startedMs'> &
  Readonly<Pick<Exchange, 'isCommitted'>>;

/**
 * A filter acts at one or several points of an exchange. Hooks are synchronous and see borrowed bytes. A hook that throws
 * ends its exchange with 500 `internal_error`; the process goes on.
 */
export interface Filter {
  /** For the gateway's own: the head hook runs for requests refused at the door, too, because it costs next to nothing. */
  readonly runsOnRefusal?: true;
  /** The request head is here. Return an answer to end the exchange with it. */
  onRequestHead?(exchange: FilteredExchange): Answer | void;
  /** The model is known (the body may still be arriving). Return an answer to end the exchange with it. */
  onRequestFacts?(exchange: FilteredExchange): Answer | void;
  /** @hot per chunk. A piece of the request body, as the client sent it. */
  onRequestBody?(exchange: FilteredExchange, bytes: Uint8Array, start: number, end: number): void;
  /** The endpoint's final response head, before it is sent downstream. */
  onResponseHead?(exchange: FilteredExchange): void;
  /** @hot per chunk. A piece of the response body, before it is sent downstream. */
  onResponseChunk?(exchange: FilteredExchange, bytes: Uint8Array, start: number, end: number): void;
  /** The exchange is over, however it ended. */
  onEnd?(exchange: FilteredExchange): void;
}

/** What a user's module exports: `export function createFilter(options, context)`. */
export interface FilterModule {
  createFilter(options: Readonly<Record<string, unknown>>, context: FilterContext): Filter;
}

export interface FilterContext {
  /** Writes one line to the gateway's log. */
  log(level: 'debug' | 'info' | 'warn' | 'error', fields: object, message: string): void;
  /** Address of the client, '' once it is gone. */
  remoteAddress(exchange: FilteredExchange): string;
  /** Asks for the access-log line of this exchange. */
  wantAccessLog(exchange: FilteredExchange): void;
  /** Name of the listener the exchange came in by. */
  listenerName(exchange: FilteredExchange): string;
  readonly isTls: boolean;
}

/** Applies `set`, `add` and `remove` of the `headers` filter. */
export function changeFields(fields: FieldList, change: FieldChange): void {
  for (const name of change.remove) fields.remove(name);
  for (const [name, value] of change.set) fields.set(name, value);
  for (const [name, value] of change.add) fields.add(name, value);
}

export interface FieldChange {
  readonly set: readonly (readonly [name: string, value: string])[];
  readonly add: readonly (readonly [name: string, value: string])[];
  readonly remove: readonly string[];
}
