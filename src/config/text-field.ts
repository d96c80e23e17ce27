/** Rows that hold text: names, header fields, secrets, file paths. What may reach a header is checked here, once. */
import * as z from 'zod';
import { isHostName, isServerName } from './address.ts';
import { field, parsed } from './field.ts';
import type { Field, Row } from './field.ts';

/** RFC 9110 section 5.6.2. */
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9110 section 5.5 without obs-text: no control characters, so no CR, LF or NUL, and no space at either end. */
const headerValue = /^(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?$/;

/**
 * Framing and connection control belong to the gateway (RFC 9110 section 7.6.1); a filter that set them would desynchronise both
 * sides. The others it writes itself, so that a value given here would be lost without a word.
 */
const ownHeaders: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'via',
  'x-request-id',
]);

/** Two of them fit the largest head that any peer accepts without being asked. */
const headerValueLengthMax = 8192;
const headersMax = 64;

export function isHeaderName(name: string): boolean {
  return name.length <= 256 && token.test(name);
}

/** 1 to 128 visible ASCII characters: fits a header, a log line and a metric label unescaped. */
export function name(row: Row): Field<string> {
  const schema = z.string().regex(/^[\x21-\x7e]{1,128}$/, 'must be 1 to 128 visible ASCII characters');
  return field(schema, row, { type: 'name', bounds: '1 to 128 visible ASCII characters' });
}

export function text(row: Row): Field<string> {
  return field(z.string(), row, { type: 'text' });
}

/** A name clients ask for in the TLS handshake, in lower case. */
export function serverName(row: Row): Field<string> {
  const schema = z
    .string()
    .transform((name) => name.toLowerCase())
    .refine(isServerName, 'must be a host name, or one with `*` for its first label');
  return field(schema, row, { type: 'host name' });
}

/** A path on disk. Relative ones were resolved against the file's folder before this row is read. */
export function filePath(row: Row): Field<string> {
  return field(z.string().regex(/^[^\0]+$/, 'must name a file'), row, { type: 'file path' });
}

/** Sent in a header upstream or compared with one. The complaint never repeats the value. */
export function secret(row: Row): Field<string> {
  const schema = z
    .string()
    .regex(/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/, 'must be visible ASCII text, not empty, without a line break')
    .max(headerValueLengthMax, `must have at most ${headerValueLengthMax} characters`);
  return field(schema, { ...row, secret: true }, { type: 'secret' });
}

/** Not sent anywhere, so any text will do. */
export function passphrase(row: Row): Field<string> {
  return field(z.string().min(1, 'must not be empty'), { ...row, secret: true }, { type: 'secret' });
}

export function hostName(row: Row): Field<string> {
  return parsed(
    (host) => (isHostName(host) ? { value: host } : { complaint: 'must be a host name' }),
    'host name',
    row,
  );
}

/** A path sent upstream. */
export function requestPath(row: Row): Field<string> {
  const schema = z.string().regex(/^\/[\x21\x22\x24-\x7e]*$/, 'must start with / and hold no space or fragment');
  return field(schema, row, { type: 'request path' });
}

const sentHeaderName = z
  .string()
  .refine(isHeaderName, 'is not a header name')
  .refine((key) => !ownHeaders.has(key.toLowerCase()), 'is set by the gateway itself');

/** A header the gateway is to send or drop. */
export function headerName(row: Row): Field<string> {
  return field(sentHeaderName, row, { type: 'header name' });
}

const anyHeaderName = z.string().refine(isHeaderName, 'is not a header name');
const anyHeaderValue = z
  .string()
  .regex(headerValue, 'must be visible ASCII text without a line break')
  .max(headerValueLengthMax, `must have at most ${headerValueLengthMax} characters`);

/** The value of one header the gateway is to send. */
export function headerText(row: Row): Field<string> {
  return field(anyHeaderValue, row, { type: 'header value' });
}

function headerRecord(key: typeof anyHeaderName): z.ZodType<Record<string, string>> {
  const record = z.record(key, anyHeaderValue);
  return record.refine((value) => Object.keys(value).length <= headersMax, `must have at most ${headersMax} headers`);
}

/** Header name → value, for headers the gateway is to send. Names keep the case they are written in. */
export function headerMap(row: Row): Field<Readonly<Record<string, string>>> {
  return field(headerRecord(sentHeaderName), row, {
    type: 'map of header name to value',
  });
}

/** Header name → value, for headers that are only looked at. */
export function headerMatchMap(row: Row): Field<Readonly<Record<string, string>>> {
  return field(headerRecord(anyHeaderName), row, { type: 'map of header name to value or *' });
}
