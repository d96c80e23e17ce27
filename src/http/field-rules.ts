/**
 * Which fields go on to the other side, in both directions: the one table that the writers of heads go by. docs/fields.md
 * is its form for readers, test/wire/fields.test.ts goes through it row by row. A field without a row passes as it came.
 */

/**
 * Fields that end at this hop and are never forwarded, besides those a Connection field names (RFC 9110 section 7.6.1).
 * `te` goes with the trailers it asks for, which the gateway drops; `http2-settings` belongs to an upgrade (RFC 7540 section
 * 3.2.1), and clients forget to nominate it.
 */
export const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** What becomes of a request field on its way up. */
export const FieldRule = {
  /** Goes on. */
  plain: 0,
  /** Never: it ends here, or the gateway writes its own. */
  own: 1,
  /** A credential of the client: only where the pool passes them on. */
  credential: 2,
  /** Says who asked: the client's word counts only behind the `forwarded_headers` filter. */
  forwarded: 3,
  /** Steers or identifies: never as the client sent it, but as a filter set it. */
  steering: 4,
} as const;
export type FieldRule = (typeof FieldRule)[keyof typeof FieldRule];

export const requestRules: ReadonlyMap<string, FieldRule> = new Map<string, FieldRule>([
  ...rows(FieldRule.own, [...hopByHop, 'host', 'content-length', 'expect', 'via', 'x-request-id']),
  ...rows(FieldRule.credential, ['authorization', 'x-api-key', 'x-goog-api-key', 'api-key']),
  ...rows(FieldRule.forwarded, ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto']),
  ...rows(FieldRule.steering, [
    // Who asked, in forms the gateway does not write itself. Anybody can send them.
    'cf-connecting-ip',
    'client-ip',
    'forwarded',
    'true-client-ip',
    'x-client-ip',
    'x-cluster-client-ip',
    'x-forwarded',
    'x-forwarded-client-cert',
    'x-forwarded-path',
    'x-forwarded-port',
    'x-forwarded-prefix',
    'x-forwarded-scheme',
    'x-forwarded-server',
    'x-forwarded-ssl',
    'x-forwarded-uri',
    'x-original-forwarded-for',
    'x-real-ip',
    // Credentials for a proxy (RFC 9110 section 11.7.2); the gateway is none to its clients.
    'proxy-authorization',
    // Another method or path than the one that was judged (Symfony, IIS, Rails and others follow them).
    'x-http-method',
    'x-http-method-override',
    'x-method-override',
    'x-original-uri',
    'x-original-url',
    'x-rewrite-url',
    // Where a router behind the gateway sends the request: with a client's value that is a request forgery on its network.
    'helicone-target-url', // Helicone
    'x-data-parallel-host-port', // llm-d
    'x-data-parallel-rank', // vLLM
    'x-dynamo-worker-instance-id', // NVIDIA Dynamo
    'x-encoder-hosts-ports', // llm-d
    'x-envoy-original-dst-host', // Envoy
    'x-gateway-destination-endpoint', // Gateway API Inference Extension
    'x-gateway-destination-endpoint-subset', // as above
    'x-portkey-custom-host', // Portkey
    'x-prefill-instance-id', // NVIDIA Dynamo
    'x-prefiller-host-port', // llm-d
    'x-prefiller-url', // llm-d, before
    'x-smg-target-worker', // SGLang model gateway
    'x-worker-instance-id', // NVIDIA Dynamo
  ]),
]);

function rows(rule: FieldRule, names: Iterable<string>): [name: string, rule: FieldRule][] {
  return [...names].map((name) => [name, rule]);
}

/**
 * `name`: lower-case; `isClients`: as the client sent it, not as a filter set it.
 *
 * A client's name with `_` never goes on: CGI and WSGI servers turn `-` into `_`, so that `x_forwarded_for` would stand where
 * the field stands that the rules above keep away (nginx drops such names too).
 */
export function requestFieldRule(name: string, isClients: boolean): FieldRule {
  const rule = requestRules.get(name);
  if (rule !== undefined) return rule === FieldRule.steering && !isClients ? FieldRule.plain : rule;
  return isClients && name.includes('_') ? FieldRule.steering : FieldRule.plain;
}

/**
 * Whether a Connection field can take the field of that name out of a message. It must not name one that is meant for
 * all recipients of the content (RFC 9110 section 7.6.1): the gateway reads the body by its type and coding, so the
 * other side has to read it by the same.
 */
export function isNominable(name: string): boolean {
  return !name.startsWith('content-');
}

/** What of a response stays behind. */
export const responseFieldsDropped: ReadonlySet<string> = new Set([
  ...hopByHop,
  // Written by the gateway or its acceptor.
  'content-length',
  'date',
  'via',
  'x-request-id',
  // Of a proxy that is not there for the client (RFC 9110 section 11.7).
  'proxy-authenticate',
  'proxy-authentication-info',
  // Where else the endpoint's own origin can be reached (RFC 7838): the client did not ask that origin.
  'alt-svc',
]);
