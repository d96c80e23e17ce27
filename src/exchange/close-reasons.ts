/**
 * Every exchange ends with exactly one of these. The table feeds the status and body of a gateway error, the `reason`
 * label of `penstock_requests_total`, the access log and docs/errors.md.
 */
export interface CloseReason {
  /** Whose doing it was. */
  readonly origin: 'gateway' | 'downstream' | 'upstream' | 'policy';
  /** Sent when no response head was relayed yet; 0 = none is sent. */
  readonly status: number;
  /** `type` in the error body. */
  readonly type: string;
  /** Seconds for `retry-after`; 0 = the field is not sent. */
  readonly retryAfterSeconds: number;
  /** True when the byte stream of the connection can no longer be trusted, so it closes after the answer. */
  readonly closesConnection: boolean;
  readonly doc: string;
}

const invalidRequest = 'invalid_request_error';
const upstreamError = 'upstream_error';
const overloaded = 'overloaded_error';

function row(
  origin: CloseReason['origin'],
  status: number,
  type: string,
  doc: string,
  extra: { retryAfterSeconds?: number; closesConnection?: boolean } = {},
): CloseReason {
  return {
    origin,
    status,
    type,
    retryAfterSeconds: extra.retryAfterSeconds ?? 0,
    closesConnection: extra.closesConnection ?? false,
    doc,
  };
}

export const closeReasons = {
  done: row('gateway', 0, '', 'Both halves reached done.'),
  answered: row('policy', 0, '', 'The gateway answered itself: the model list, or a filter.'),
  client_gone: row('downstream', 0, '', 'The client closed the connection before the answer was complete.'),
  client_stalled: row(
    'downstream',
    0,
    '',
    'The client took nothing of its response for timeouts.downstream_write_ms. The connection is cut.',
  ),
  head_invalid: row(
    'downstream',
    400,
    invalidRequest,
    'Malformed or ambiguous head or framing (RFC 9112 section 6.3). The connection closes.',
    { closesConnection: true },
  ),
  body_invalid: row(
    'downstream',
    400,
    invalidRequest,
    'The body is not what the route needs: not JSON, a duplicate key, a wrong type, more than 128 brackets deep.',
  ),
  not_allowed: row(
    'policy',
    403,
    invalidRequest,
    'A filter refused the request, or the listener requires a client certificate.',
  ),
  model_not_found: row('downstream', 404, invalidRequest, 'No model of that name, and no default_pool.'),
  not_found: row('downstream', 404, invalidRequest, 'Nothing is served at this path.'),
  request_timeout: row(
    'downstream',
    408,
    invalidRequest,
    'The client stopped sending its request (timeouts.request_idle_ms), or sends it slower than limits.upload_rate_min_bytes.',
    { closesConnection: true },
  ),
  length_required: row('downstream', 411, invalidRequest, 'A body without a usable length.', {
    closesConnection: true,
  }),
  body_too_large: row('downstream', 413, invalidRequest, 'The body is longer than limits.body_bytes_max.'),
  target_too_long: row(
    'downstream',
    414,
    invalidRequest,
    'The request target is longer than limits.target_bytes_max.',
    { closesConnection: true },
  ),
  shed: row(
    'policy',
    429,
    overloaded,
    'Refused to protect the requests already running: the shard is behind (limits.shed_delay_ms), or memory is short (limits.shed_memory_percent). Or given up in a full queue for a request of higher priority.',
    { retryAfterSeconds: 1 },
  ),
  head_too_large: row(
    'downstream',
    431,
    invalidRequest,
    'Header section over limits.head_bytes_max or limits.header_count_max.',
    { closesConnection: true },
  ),
  internal_error: row(
    'gateway',
    500,
    'server_error',
    'A filter threw, or an invariant of ours did not hold. Counted in penstock_bug_total or logged.',
  ),
  not_implemented: row(
    'downstream',
    501,
    invalidRequest,
    'Unknown method, transfer coding, content coding or protocol upgrade.',
    { closesConnection: true },
  ),
  connect_failed: row(
    'upstream',
    502,
    upstreamError,
    'No endpoint could be connected to; no byte of the request was sent.',
  ),
  upstream_reset: row('upstream', 502, upstreamError, 'The endpoint closed the connection before its response head.'),
  upstream_invalid: row(
    'upstream',
    502,
    upstreamError,
    'The endpoint sent a response that is not valid HTTP/1.1 or is ambiguous.',
  ),
  no_endpoint: row('upstream', 503, overloaded, 'No target has a healthy endpoint.', { retryAfterSeconds: 1 }),
  saturated: row(
    'policy',
    503,
    overloaded,
    'Every endpoint is at its limit and the queue is full or its time is over; or limits.requests_max, limits.buffered_bytes_max or the file descriptors of the process are used up.',
    { retryAfterSeconds: 1 },
  ),
  draining: row('policy', 503, overloaded, 'The gateway is shutting down.', {
    retryAfterSeconds: 1,
    closesConnection: true,
  }),
  first_byte_timeout: row(
    'upstream',
    504,
    upstreamError,
    'No response head in timeouts.first_byte_ms; the prefill may already be paid for.',
  ),
  stream_timeout: row('upstream', 504, upstreamError, 'timeouts.stream_idle_ms or timeouts.total_ms went by.'),
  stream_truncated: row(
    'upstream',
    0,
    upstreamError,
    'The endpoint ended its response early, or its stream without the end of a stream, after the head was relayed.',
  ),
} as const satisfies Record<string, CloseReason>;

export type CloseCode = keyof typeof closeReasons;

export const closeCodes = Object.keys(closeReasons) as readonly CloseCode[];
