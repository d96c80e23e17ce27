import { isIPv6 } from 'node:net';
import { RequestHead } from '../../../src/exchange/request-head.ts';
import {
  isCleanFieldValue,
  isCleanTarget,
  isSameToken,
  isToken,
  isValidHost,
  parseContentLength,
} from '../../../src/http/index.ts';
import { requestRules } from '../../../src/http/field-rules.ts';
import { HeadGuard } from '../../../src/listener/head-guard.ts';
import { writeRequestHead } from '../../../src/upstream/request-head-writer.ts';
import { readRequestWithNode } from '../oracles/node-http.ts';
import { plainLength, plainToken, plainTarget, plainHost, plainValue } from '../oracles/plain-head.ts';
import { agree, bytesOf, type FuzzTarget, hold } from '../target.ts';

const guard = new HeadGuard({
  headBytesMax: 2048,
  headerCountMax: 30,
  targetBytesMax: 512,
  bodyBytesMax: 64,
  acceptsChunked: true,
});
const head = new RequestHead();
const options = {
  authority: 'engine:8000',
  basePath: '/base',
  credentialLines: 'authorization: Bearer ours\r\n',
  passesAuthorization: false,
};

function checkRules(text: string): void {
  agree('token', isToken(text), plainToken(text));
  agree('value', isCleanFieldValue(text), plainValue(text));
  agree('length', parseContentLength(text), plainLength(text));
  agree('target', isCleanTarget(text), plainTarget(text));
  agree('host', isValidHost(text), plainHost(text, isIPv6));
  agree('same token', isSameToken(text, 'chunked'), /^[Cc][Hh][Uu][Nn][Kk][Ee][Dd]$/.test(text));
}

interface Field {
  readonly name: string;
  readonly value: string;
}

/** As the library hands them up: names in lower case, values trimmed and decoded as UTF-8. */
function fieldsOf(lines: readonly string[]): Field[] {
  return lines
    .filter((line) => line.includes(':'))
    .map((line) => {
      const colon = line.indexOf(':');
      const name = line.slice(0, colon).replace(/[A-Z]/g, (letter) => letter.toLowerCase());
      const value = bytesOf(line.slice(colon + 1)).toString('utf8');
      return { name, value: value.replace(/^[ \t]+|[ \t]+$/g, '') };
    });
}

/** The table is checked row by row elsewhere (test/wire/fields.test.ts); here it is what is done with it. */
function staysBehind(name: string): boolean {
  return requestRules.has(name) || name.includes('_');
}

/** The fields of the client that have to go up, by RFC 9110 section 7.6.1 and docs/fields.md, as latin1. */
function forwarded(fields: readonly Field[]): string[][] {
  const nominated = fields
    .filter(({ name }) => name === 'connection')
    .flatMap(({ value }) => value.split(',').map((member) => member.replace(/^[ \t]+|[ \t]+$/g, '').toLowerCase()));
  return fields
    .filter(({ name }) => !staysBehind(name) && (name.startsWith('content-') || !nominated.includes(name)))
    .map(({ name, value }) => [name, Buffer.from(value).toString('latin1')]);
}

interface Guarded {
  readonly method: string;
  readonly target: string;
  readonly query: string;
  readonly lines: readonly string[];
  readonly fields: readonly Field[];
  /** What the guard lets pass is in `head` until the next. */
  readonly isAccepted: boolean;
}

/** `input`: method, path and query (with its `?`) on a line each, then field lines. */
export function guarded(input: Buffer): Guarded {
  const [method = '', target = '', query = '', ...lines] = input.toString('latin1').split('\n');
  const fields = fieldsOf(lines);
  head.recycle();
  const refusal = guard.read(
    {
      getCaseSensitiveMethod: () => method,
      getUrl: () => target,
      getQuery: () => (query === '' ? undefined : query.slice(1)),
      forEach: (each) => fields.forEach(({ name, value }) => each(name, value)),
    },
    head,
  );
  return { method, target, query, lines, fields, isAccepted: refusal === null };
}

function run(input: Buffer): void {
  const { method, target, query, lines, fields, isAccepted } = guarded(input);
  for (const text of [method, target, ...lines]) checkRules(text);
  for (const { value } of fields) checkRules(value);
  if (!isAccepted) return;
  const bodyBytes = head.isChunked ? -1 : Math.max(0, head.contentLength);
  const body = head.isChunked ? '1\r\nx\r\n0\r\n\r\n' : 'x'.repeat(bodyBytes);
  const wire = Buffer.from(writeRequestHead(head, 'id', bodyBytes, options) + body);
  const { message, error } = readRequestWithNode(
    Buffer.concat([wire, bytesOf('GET /next HTTP/1.1\r\nhost: a\r\n\r\n')]),
  );
  hold(error === '', `Node refuses what we write: ${error} ${JSON.stringify(wire.toString('latin1'))}`);
  agree(
    'request line',
    [message?.method, message?.target],
    [method, `/base${target}${query === '' ? '' : `?${query.slice(1)}`}`],
  );
  agree('body', [message?.isComplete, message?.body], [true, head.isChunked ? 'x' : body]);
  const via = [
    ...fields.filter(({ name }) => name === 'via').map(({ value }) => Buffer.from(value).toString('latin1')),
    '1.1 penstock',
  ];
  const framing = head.isChunked
    ? [['transfer-encoding', 'chunked']]
    : bodyBytes > 0 || /^(?:POST|PUT|PATCH)$/.test(method)
      ? [['content-length', String(bodyBytes)]]
      : [];
  agree('fields', message?.fields, [
    ['host', 'engine:8000'],
    ...forwarded(fields),
    ['authorization', 'Bearer ours'],
    ['x-request-id', 'id'],
    ['via', via.join(', ')],
    ...framing,
  ]);
}

const seeds = [
  'GET\n/health\n\nhost: a.test:80\naccept: */*\nx-a: b\n',
  'POST\n/v1/chat/completions\n?a=b%20c\nhost: [::1]\ncontent-length: 5\ncontent-type: application/json\nauthorization: Bearer x',
  'POST\n/a/..b/%41;c\n\nhost: a\ntransfer-encoding: chunked\nconnection: close, x-drop\nx-drop: 1\nexpect: 100-continue',
  'DELETE\n/a\n\nHost: 127.0.0.1:65535\nVia: 1.0 x\nvia: 1.1 y\nx-forwarded-for: 1.2.3.4\nUpgrade: h2c\nTE: trailers',
  'HEAD\n/\n\nhost: [1:2:3:4:5:6:1.2.3.4]:\ncookie: a=b; c=d\nx-utf8: caf\xc3\xa9',
  'GET\n/a%2e/..;x\n?\nhost: a,b',
];
const words = [
  '\n',
  ':',
  ': ',
  'host',
  'content-length',
  'transfer-encoding',
  'chunked',
  'chun\xe2\x84\xaaed',
  'connection',
  'upgrade',
  'websocket',
  'expect',
  'via',
  'GET',
  'POST',
  'PUT',
  'HEAD',
  'DELETE',
  'OPTIONS',
  '/',
  '//',
  '..',
  '%2e',
  '%2f',
  '%5c',
  '%00',
  '%0d',
  '%3b',
  ';',
  '?',
  '#',
  '\\',
  '\r',
  '\r\n',
  '\x00',
  '\t',
  '\x7f',
  '\x80',
  '\xc3\xa9',
  '\xe4\xb8\x8a',
  '\xef\xbf\xbd',
  '[::1]',
  '[',
  ']',
  ':80',
  ':65536',
  '1',
  '99',
  '-',
  ',',
  ' ',
  '@',
  '_',
];

export const headRulesTarget: FuzzTarget = { name: 'head-rules', seeds: seeds.map(bytesOf), dictionary: words, run };
