import { type CloseCode, type CloseReason, closeCodes, closeReasons } from './close-reasons.ts';

/**
 * docs/errors.md, made from the table of close reasons; a test holds the file to it. Only what an operator or a client's
 * author can see is in it.
 */
export function closeReasonsMarkdown(): string {
  const rows = closeCodes.map((code): readonly [CloseCode, CloseReason] => [code, closeReasons[code]]);
  const answered = rows.filter(([, { status }]) => status > 0).sort(([, a], [, b]) => a.status - b.status);
  const silent = rows.filter(([, { status }]) => status === 0);
  const lines = [
    ...intro,
    '## Error answers',
    '',
    '| Status | `code` | `type` | Whose doing | `retry-after` | Connection | When |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...answered.map(
      ([code, { status, type, origin, retryAfterSeconds, closesConnection, doc }]) =>
        `| ${status} | \`${code}\` | \`${type}\` | ${origins[origin]} | ${retryAfterSeconds > 0 ? `${retryAfterSeconds} s` : ''} | ${closesConnection ? 'closes' : 'stays'} | ${doc} |`,
    ),
    '',
    ...afterAnswers,
    '## Other ends',
    '',
    'These send no status of their own: the client has had one already, or is gone.',
    '',
    '| `reason` | Whose doing | What happened |',
    '| --- | --- | --- |',
    ...silent.map(([code, { origin, doc }]) => `| \`${code}\` | ${origins[origin]} | ${doc} |`),
    '',
    ...outro,
  ];
  return lines.join('\n');
}

const origins: Readonly<Record<CloseReason['origin'], string>> = {
  gateway: 'gateway',
  downstream: 'client',
  upstream: 'endpoint',
  policy: 'policy',
};

const intro = [
  '# Errors',
  '',
  '<!-- Made from src/exchange/close-reasons.ts by src/exchange/close-reasons-doc.ts: do not edit. UPDATE_DOCS=1 npx vitest run src/exchange writes it. -->',
  '',
  'Every exchange ends for exactly one reason. It is the `reason` label of `penstock_requests_total`, the `reason` of the access-log',
  'line and, where the gateway answers with an error, the `code` in the body:',
  '',
  '```json',
  '{"error":{"message":"The model \\"x\\" does not exist.","type":"invalid_request_error","param":null,"code":"model_not_found"}}',
  '```',
  '',
  'Paths under `/v1/messages` get the shape Anthropic’s clients read: `{"type":"error","error":{"type":"not_found_error","message":"..."},"request_id":"..."}`.',
  'Every answer has an `x-request-id`, the same as in the log. An error answer that an endpoint sent is relayed as it came; it has the',
  'reason `done`, a `via` field, and none of the codes below.',
  '',
] as const;

const afterAnswers = [
  '*Connection*: where its byte stream can no longer be trusted, or the gateway is going away, the connection closes after the answer.',
  'It also closes when the client asked for that, and after every request with a chunked body.',
  '',
  'Before a 502, or a status listed in `retries.on`, the request was tried on other endpoints and targets, as far as `retries` and',
  '`models[].targets` allow. A request whose body was no longer held in full was not tried again; `penstock_replay_skipped_total`',
  'counts those. After `first_byte_timeout` nothing is tried again: the endpoint may be working on the prompt still.',
  '',
] as const;

const outro = [
  '## After the response head',
  '',
  'Once the head of a response has been relayed there is no other status to send. The response is ended so that nobody can take it for',
  'complete: a body of known length stops short of it, a chunked body lacks its last chunk, and the connection is cut. An event stream',
  'has one more event before that,',
  '',
  '```',
  'data: {"error":{"message":"The upstream ended its response early.","type":"upstream_error","code":"stream_truncated"}}',
  '```',
  '',
  '(`event: error` with Anthropic’s shape under `/v1/messages`), and no `[DONE]`. The reason is then `stream_truncated`, `stream_timeout`',
  'or `draining`.',
  '',
] as const;
