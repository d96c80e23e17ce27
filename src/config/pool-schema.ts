/** `pools`: endpoints that can stand in for one another, and how one of them is chosen, watched and retried. */
import * as z from 'zod';
import { readEndpointUrl } from './address.ts';
import { bootstrapPortShape, disaggregation } from './disaggregation-schema.ts';
import { choice, decimal, durationMs, field, flag, integer, list, optional, parsed, section } from './field.ts';
import { kvEvents, kvEventsEndpointShape } from './kv-events-schema.ts';
import { queue } from './queue-schema.ts';
import type { Reading } from './reading.ts';
import { filePath, hostName, isHeaderName, name, requestPath, secret, text } from './text-field.ts';

/** What a consistent hash is taken over: a request header (lower case), or a field of the body. */
export type HashSource =
  | { readonly source: 'header'; readonly name: string }
  | { readonly source: 'body'; readonly name: 'user' | 'model' };

function readHashSource(written: string): Reading<HashSource> {
  if (written === 'body:user' || written === 'body:model') {
    return { value: { source: 'body', name: written === 'body:user' ? 'user' : 'model' } };
  }
  const header = written.startsWith('header:') ? written.slice('header:'.length) : '';
  if (!isHeaderName(header)) return { complaint: 'must be header:NAME, body:user or body:model' };
  return { value: { source: 'header', name: header.toLowerCase() } };
}

export const endpointShape = {
  url: parsed(readEndpointUrl, 'URL', {
    doc: 'Where it listens: `http://` or `https://`, host, port, and a base path that is put before the path of each request.',
  }),
  weight: decimal({
    default: 1,
    min: 0,
    max: 1000,
    doc: 'Share of the traffic relative to the others of the pool; 0 keeps new work away.',
  }),
  sku: optional(
    text({
      doc: 'Accelerator it runs on, such as `h100-80g`. Only endpoints of one kind are compared with one another; `/status` sums them up.',
    }),
  ),
  quantization: optional(
    text({ doc: 'In which form it holds the weights, such as `fp8` or `bf16`. Targets of models may ask for it.' }),
  ),
  context_tokens: integer({
    default: 0,
    min: 0,
    max: 100_000_000,
    doc: 'Tokens of a prompt and its answer that it can hold; 0 is as it says itself (`max_model_len`). Prompts that seem longer go elsewhere, if they fit anywhere.',
  }),
  role: choice(['prefill', 'decode', 'both'], {
    default: 'both',
    doc: 'Which phase it serves, in a pool with `disaggregation`. With `vllm`, `both` serves either, or requests alone; with `sglang` it is an engine without a disaggregation mode, which serves them alone.',
  }),
  bootstrap_port: optional(
    integer({ ...bootstrapPortShape, doc: 'In place of `disaggregation.bootstrap_port`, for this endpoint.' }),
  ),
  ...kvEventsEndpointShape,
};

const endpoint = field(
  section(endpointShape, { doc: 'One endpoint.' }).transform(({ url, ...rest }) => ({ ...url, ...rest })),
  { doc: 'One endpoint.' },
  { type: 'section' },
);

const health = section(
  {
    path: requestPath({ default: '/health', doc: 'Answered with 2xx by a healthy endpoint.' }),
    interval_ms: durationMs({
      default: '2s',
      min: '100ms',
      max: '1h',
      doc: 'Time between two checks of one endpoint; half of it while it is unhealthy.',
    }),
    timeout_ms: durationMs({
      default: '1s',
      min: '10ms',
      max: '10m',
      doc: 'A check without an answer by then has failed.',
    }),
    unhealthy_after: integer({ default: 2, min: 1, max: 100, doc: 'Failed checks in a row that make it unhealthy.' }),
    healthy_after: integer({ default: 1, min: 1, max: 100, doc: 'Good checks in a row that make it healthy again.' }),
  },
  {
    doc: 'Active checks. Without this section there are some only where `engine` is a known one; every pool is judged by its answers too.',
  },
);

const metrics = section(
  {
    path: optional(
      requestPath({
        doc: 'Where the metrics are. Without it where `engine` has them: `/metrics`, `/prometheus/metrics` (TensorRT-LLM), `/v1/metrics` (NIM).',
      }),
    ),
    port: integer({
      default: 0,
      min: 0,
      max: 65_535,
      doc: 'Port of the metrics, where that is another than of the URL; 0 is the same. Triton has them at 8002.',
    }),
  },
  { default: {}, doc: 'What engines say of their load.' },
);

const retryCause = parsed(
  (written: string): Reading<string> =>
    /^(?:connect|reset|[45]\d\d)$/.test(written)
      ? { value: written }
      : { complaint: 'must be connect, reset or a status from 400 to 599' },
  'cause',
  { doc: '' },
);
/** A status is commonly written without quotes, which YAML reads as a number. */
const retryCauseOrNumber = z
  .preprocess((raw) => (typeof raw === 'number' ? String(raw) : raw), retryCause)
  .meta({ type: ['string', 'integer'] }) as z.ZodType<string>;

const retries = section(
  {
    attempts: integer({
      default: 2,
      min: 0,
      max: 10,
      doc: 'Further tries after the first has failed; 0 turns retries off.',
    }),
    on: list(retryCauseOrNumber, '`connect`, `reset` or statuses', {
      default: ['connect', 'reset', '502', '503', '429'],
      max: 64,
      doc: '`connect`: no connection, no byte sent. `reset`: lost before the response head, on inference endpoints only. A status: the endpoint refused.',
    }),
    budget_percent: integer({
      default: 20,
      min: 0,
      max: 100,
      doc: 'Retries for a hundred requests, over the last 5 to 10 seconds; what is beyond fails at once, so that an overloaded pool is not given more to do.',
    }),
    budget_min: integer({
      default: 3,
      min: 0,
      max: 10_000,
      doc: 'Retries that each shard may make in that time however few requests there were.',
    }),
  },
  { default: {}, doc: 'Tries at another endpoint, before anything of a response was relayed.' },
);

export const ejectionShape = {
  consecutive_failures: integer({
    default: 5,
    min: 1,
    max: 1000,
    doc: 'Faults in a row that take an endpoint out of the pick, altogether or for one model: no connection, a broken, late or truncated response, a 500, 502 or 504, an answer without JSON or without text, a stream that loops or comes at a sixth of the token rate of the other endpoints. health.md lists them.',
  }),
  base_ms: durationMs({
    default: '10s',
    min: '100ms',
    max: '1h',
    doc: 'How long the first time; each further time is twice as long. Then one request at a time probes it, until one goes well.',
  }),
  max_ms: durationMs({ default: '5m', min: '100ms', max: '24h', doc: 'The longest an endpoint stays out.' }),
  share_max_percent: integer({
    default: 50,
    min: 0,
    max: 100,
    doc: 'How much of the pool may be out for other faults than failed connects. Beyond it endpoints stay, whatever they answer.',
  }),
};

const ejection = section(ejectionShape, {
  default: {},
  doc: 'Passive checks: taking endpoints out by what they answer.',
});

const upstreamTls = section(
  {
    verify: flag({ default: true, doc: 'Whether certificates are checked.' }),
    ca_path: optional(
      filePath({ doc: 'PEM file of the authorities to trust in place of the built-in ones; relative to the file.' }),
    ),
    server_name: optional(hostName({ doc: 'Name to ask for and to check, in place of the host of the URL.' })),
  },
  { default: {}, doc: 'For `https://` endpoints.' },
);

const pickers = [
  'kv_aware',
  'least_load',
  'least_request',
  'round_robin',
  'random',
  'consistent_hash',
  'sglang',
  'blend',
  'sticky',
  'lmetric',
] as const;

export const pool = section(
  {
    name: name({ doc: 'What targets and `default_pool` call the pool.' }),
    dialect: choice(['openai', 'anthropic', 'tgi', 'ollama', 'llamacpp', 'gemini'], {
      default: 'openai',
      doc: 'The API its endpoints speak.',
    }),
    engine: choice(['auto', 'vllm', 'sglang', 'trtllm', 'triton', 'tgi', 'llamacpp', 'nim', 'none'], {
      default: 'auto',
      doc: 'Whose `/metrics` names its endpoints use. `auto` asks them; `none` judges them by their answers alone.',
    }),
    picker: choice(pickers, {
      default: 'kv_aware',
      doc: 'How an endpoint is chosen. `kv_aware` sends a prompt to where its beginning is cached, unless others wait there; bodies are routed when they are complete then. [routing.md](routing.md) says what the others are for.',
    }),
    debug_headers: flag({
      default: false,
      doc: 'Adds `x-penstock-pick` to responses: the endpoint, and what every candidate was compared by. It tells clients the addresses of endpoints.',
    }),
    hash_on: list(parsed(readHashSource, 'source', { doc: '' }), '`header:NAME`, `body:user` or `body:model`', {
      default: ['header:x-session-id', 'header:x-user-id', 'body:user', 'body:model'],
      min: 1,
      max: 16,
      doc: 'For `consistent_hash`: the first of these that the request has is hashed.',
    }),
    endpoints: list(endpoint, 'endpoints', { min: 1, max: 1024, doc: 'The replicas. At most 1024 over all pools.' }),
    disaggregation: optional(disaggregation),
    kv_events: optional(kvEvents),
    health: optional(health),
    metrics,
    model_lists: flag({
      default: true,
      doc: 'Asks endpoints for their models (`GET /v1/models`) at start, after a restart and every 30 s, where the dialect has that and `engine` is not `none`. An endpoint that does not list the model of a request gets none of it while another lists it.',
    }),
    connections_max: integer({
      default: 0,
      min: 0,
      max: 1_000_000,
      doc: 'Connections to one endpoint; 0 is unlimited.',
    }),
    inflight_max: integer({
      default: 0,
      min: 0,
      max: 1_000_000,
      doc: 'Exchanges at one endpoint; 0 is unlimited. Beyond it requests queue, then spill or get 503.',
    }),
    pending_tokens_max: integer({
      default: 0,
      min: 0,
      max: 100_000_000,
      doc: 'Prompt tokens, as estimated (with pickers that go by prompts without those in its KV cache), that were sent to one endpoint and wait for their first token there; 0 is unlimited. An endpoint that has as many counts as full: requests queue, then spill or get 503. One that has fewer may be sent a prompt of any size.',
    }),
    pending_prefill_ms: durationMs({
      default: 0,
      min: 0,
      max: '1h',
      doc: 'As `pending_tokens_max`, in time: those tokens over the prompt tokens a second that the endpoint was seen to compute, so that a slow endpoint is full with fewer. 0 is unlimited.',
    }),
    completion_rate_max: integer({
      default: 0,
      min: 0,
      max: 100_000_000,
      doc: 'Completion tokens a second of all answers together from which on an endpoint of weight 1 counts as full: its requests times the tokens a second that each of them was seen to get of late. 0 is unlimited.',
    }),
    queue,
    keepalive_idle_ms: durationMs({
      default: '4s',
      min: 0,
      max: '1h',
      doc: 'How long an idle connection is kept. The default is below the 5 s of uvicorn, so that a request rarely meets a closing connection.',
    }),
    retries,
    ejection,
    slow_start_ms: durationMs({
      default: '5s',
      min: 0,
      max: '1h',
      doc: 'An endpoint that recovered, or came with a reload, begins with a tenth of its share, which grows to all in this time. 0 is at once; `consistent_hash` does so always.',
    }),
    credential: optional(
      secret({
        doc: 'Sent to the endpoints as the dialect wants it. The `authorization` of the client is dropped unless `pass_authorization` is on.',
      }),
    ),
    pass_authorization: flag({ default: false, doc: 'Sends the `authorization` of the client upstream.' }),
    tls: upstreamTls,
  },
  { doc: 'One pool.' },
);
